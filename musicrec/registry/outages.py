"""Tell an outage of MLflow from a mistake, and wait for the end of one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

T = TypeVar("T")
# What cannot do without MLflow, the registration, waits so long for it: more than a restart or a
# move of a server takes. MLflow's own retries take 14 s of each attempt.
OUTAGE_SECONDS = 300
LONGEST_PAUSE_SECONDS = 30
TRANSIENT = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "ABORTED")
# Packages of MLflow's clients for HTTP and S3, whose errors are outages, except for these.
CLIENTS = ("requests", "urllib3", "botocore", "boto3", "s3transfer")
MISTAKES = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "MissingSchema",
    "InvalidSchema",
    "InvalidURL",
)


def is_outage(error: BaseException) -> bool:
    """Return whether an error of a call to MLflow or its artifact store may pass by itself.

    True for a server that cannot be reached, does not answer in time, or answers with a status of
    429 or from 500 on; False for a request that it refused, and for errors that are not MLflow's.
    """
    chain = list(_chain(error))
    statuses = [status for each in chain if (status := _status(each)) is not None]
    if statuses:
        return any(status == 429 or status >= 500 for status in statuses)
    if any(type(each).__name__ in MISTAKES for each in chain):
        return False
    return any(_is_transient(each) for each in chain)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of a response of boto3 or requests that an error holds, or None."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(response, "status_code", None)


def _is_transient(error: BaseException) -> bool:
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, RestException):
        return error.error_code in TRANSIENT
    if isinstance(error, MlflowException):
        return str(error).startswith("API request to") and error.error_code in TRANSIENT
    package = type(error).__module__.partition(".")[0]
    return package in CLIENTS or isinstance(error, ConnectionError | TimeoutError)


def until_reachable(work: Callable[[], T], label: str) -> T:
    """Return what ``work`` returns; after an outage it is called again, up to ``OUTAGE_SECONDS``.

    ``work`` continues what an earlier call left, as that of a restarted job does.
    """
    deadline, pause = time.monotonic() + OUTAGE_SECONDS, 0.0
    while True:
        try:
            return work()
        except Exception as error:
            if not is_outage(error) or time.monotonic() + pause > deadline:
                raise
            event(label, f"MLflow does not answer, trying again: {short(error)}")
        time.sleep(pause)
        pause = min(max(1.0, 2 * pause), LONGEST_PAUSE_SECONDS)


def short(error: BaseException) -> str:
    """Return the first line of an error, without credentials and of at most 200 characters."""
    return redacted(str(error).partition("\n")[0])[:200]
