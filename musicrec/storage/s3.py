"""S3 access: pyarrow's file system for tables and files, boto3 for what pyarrow lacks.

Endpoint, region and credentials come from the standard environment variables, profiles or roles.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.fs

CONNECT_TIMEOUT_SECONDS = 10
REQUEST_TIMEOUT_SECONDS = 60
ATTEMPTS = 10
SECONDS_BEFORE_RETRY = 0.025  # doubled each time, as the SDK does
OVERFLOW = "Failed to flush response stream"
NO_BUCKET = ("NoSuchBucket", "404")


class S3Error(OSError):
    """S3 refused a request, or did not answer within all retries."""


class _FileSystem(pa.fs.S3FileSystem):
    """A file system that retries where pyarrow's does not: short reads, and in other processes."""

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_File(super().open_input_file(path)), mode="r")

    def open_input_stream(
        self, path: str, compression: None = None, buffer_size: None = None
    ) -> pa.PythonFile:
        return self.open_input_file(path)

    def __reduce__(self) -> tuple[Callable[..., pa.fs.S3FileSystem], tuple[str | None, str | None]]:
        return filesystem_of, (endpoint(), region())  # pyarrow's own pickles leave the retries out


class _File:
    """An object whose reads are retried.

    Where S3 answers a read with an error longer than the requested bytes, the SDK fails over its
    own full buffer and gives up.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    @property
    def closed(self) -> bool:
        return self._file.closed

    def read(self, count: int | None = None) -> bytes:
        start = self._file.tell()
        for attempt in range(ATTEMPTS - 1):
            try:
                return self._file.read(count)
            except OSError as error:
                if OVERFLOW not in str(error):
                    raise
            time.sleep(SECONDS_BEFORE_RETRY * 2**attempt)
            self._file.seek(start)
        return self._file.read(count)


def filesystem() -> pa.fs.S3FileSystem:
    """Return the file system of the environment's endpoint and region, the same for each call."""
    return filesystem_of(endpoint(), region())


@functools.lru_cache(maxsize=8)
def filesystem_of(endpoint: str | None, region: str | None) -> pa.fs.S3FileSystem:
    """Return a file system with time-outs and retries.

    The SDK's "standard" strategy stops retrying for a client whose requests failed too often, and
    waits up to 20 s before a retry: with every fourth request failing, 190 operations took 40 s.
    With its older strategy 1,500 operations took 16 s, and none failed.
    """
    return _FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        request_timeout=REQUEST_TIMEOUT_SECONDS,
        retry_strategy=pa.fs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # one request for a small object instead of a multipart's three
    )


def endpoint() -> str | None:
    """Return the endpoint URL that the environment sets, or None."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def region() -> str | None:
    """Return the region that the environment sets, or None."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


def create(path: str, content: bytes) -> bool:
    """Write an object (``bucket/key``) unless it exists, and return whether it was written.

    Of several concurrent writers, exactly one succeeds.
    """
    import botocore.exceptions

    bucket, _, key = path.partition("/")
    client = _client()
    with _as_s3_errors(f"s3://{path}"):
        for _ in range(ATTEMPTS):
            try:
                client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            except botocore.exceptions.ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412:
                    break
                if status != 409:  # a concurrent writer, which may yet fail
                    raise
            else:
                return True
    # After a lost response the client's own retry is refused although the first attempt was ours:
    # then the object has our bytes. pyarrow reads it, since boto3 does not retry a truncated body.
    with filesystem().open_input_file(path) as stream:
        return stream.read() == content


def _client() -> Any:
    """Return a new client: one that lives long stops retrying after many retries."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=REQUEST_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    return boto3.client("s3", endpoint_url=endpoint(), region_name=region(), config=config)


@contextlib.contextmanager
def _as_s3_errors(uri: str) -> Iterator[None]:
    """Raise boto3's errors as an OSError that names the object."""
    import botocore.exceptions

    try:
        yield
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise S3Error(f"{uri}: {error}") from error


def access_problems(uri: str, write: bool) -> list[str]:
    """Return what prevents reading, or writing, under ``s3://bucket/prefix``: a line per problem.

    Raises
    ------
    S3Error
        The storage does not answer, which may be temporary.
    """
    import botocore.exceptions

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    key = f"{prefix.rstrip('/')}/.preflight-{uuid.uuid4().hex}".lstrip("/")
    client, at_endpoint = _client(), f" at {endpoint()}" if endpoint() else ""

    def list_and_read() -> None:
        response = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        for each in response.get("Contents", []):
            client.head_object(Bucket=bucket, Key=each["Key"])

    def write_and_delete() -> None:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
        client.delete_object(Bucket=bucket, Key=key)

    problems = []
    with _as_s3_errors(uri):
        probes = (("list and read", list_and_read), ("write and delete", write_and_delete))
        for right, probe in probes[: 1 + write]:
            try:
                probe()
            except botocore.exceptions.NoCredentialsError:
                return [
                    f"{uri}: there are no S3 credentials: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give a role"
                ]
            except botocore.exceptions.ClientError as error:
                code, status = (
                    error.response["Error"]["Code"],
                    error.response["ResponseMetadata"]["HTTPStatusCode"],
                )
                if code in NO_BUCKET:
                    return [
                        f"{uri}: there is no bucket '{bucket}'{at_endpoint}: create it, or correct "
                        "the name, AWS_ENDPOINT_URL or AWS_REGION"
                    ]
                if status not in (400, 401, 403):
                    raise
                problems.append(
                    f"{uri}: these S3 credentials may not {right} there ({code}): "
                    "grant their user or role that right"
                )
    return problems
