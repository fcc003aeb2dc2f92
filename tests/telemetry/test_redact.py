"""No credential leaves the process: not in texts, logs, records, parameters of MLflow, or
results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from musicrec.catalog.tables import CatalogError
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, from_yaml, parse, resolved
from musicrec.config.sections import CatalogSettings, RegistrySettings
from musicrec.pipeline.catalog import open_run
from musicrec.registry.runs import flattened
from musicrec.storage.store import resolve
from musicrec.storage.uri import StoreError
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

ROOT = Path(__file__).parents[2]
SECRET = "wJalrXUtnFEMI"
URIS = [
    f"s3://AKIDEXAMPLE:{SECRET}@bucket/catalog",
    f"s3://AKIDEXAMPLE:{SECRET}/K7MDENG+b@bucket/catalog",  # secret keys hold slashes
    f"http://me:{SECRET}@mlflow:5000",
    f"s3://me:p@{SECRET}@bucket/catalog",
    f"https://me@here.org:{SECRET}/a@b@host/x",
    f"postgresql://me:{SECRET}@database/mlflow",
    f"https://host/a.mp3?X-Amz-Signature={SECRET}&X-Amz-Date=20260101",
    f"https://account.blob.core.windows.net/c/a.mp3?sv=2025&sig={SECRET}",
    f"hdfs://host/path?api_key={SECRET}",
]
WITH_PASSWORD = URIS[:2]


@pytest.mark.parametrize("uri", URIS)
def test_a_uri_loses_its_credentials_and_nothing_else(uri: str) -> None:
    said = redacted({"a": [f"no object at {uri}, and more"]})["a"][0]
    assert SECRET not in said
    assert "***" in said
    assert said.startswith("no object at ")
    assert said.endswith(", and more") or "?" in uri


def test_errors_of_several_lines_lose_their_credentials() -> None:
    error = OSError(f"failed\n  s3://me:p@{SECRET}@host/x\nand then me@home")
    expected = "failed\n  s3://***@host/x\nand then me@home"
    assert redacted({"error": error, "text": str(error)}) == dict.fromkeys(
        ("error", "text"), expected
    )


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/a:b/c.mp3",
        "http://mlflow:5000",
        "gs://bucket/me@home.mp3",
        "/music/a@b:c.mp3",
        "design=1",
    ],
)
def test_other_texts_stay(uri: str) -> None:
    assert redacted(uri) == uri


@pytest.mark.parametrize("uri", WITH_PASSWORD)
@pytest.mark.parametrize("key", ["store", "catalog", "catalog_rules.allowed_roots"])
def test_a_configuration_with_credentials_is_refused_without_showing_them(
    uri: str, key: str
) -> None:
    text = f"{key}: {uri}" if "." not in key else f"catalog_rules: {{allowed_roots: ['{uri}']}}"
    with pytest.raises(
        ConfigError, match=rf"{key} = s3://\*\*\*@bucket/catalog: .*environment variables"
    ) as caught:
        from_yaml(text, "run.yaml")
    assert SECRET not in str(caught.value)


def test_a_wrong_command_line_does_not_repeat_credentials(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse(["--store", WITH_PASSWORD[0]], "A job.")
    said = capsys.readouterr()
    assert "store = s3://***@bucket/catalog" in said.err
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("uri", WITH_PASSWORD)
def test_a_catalog_with_credentials_is_refused_without_showing_them(
    uri: str, tmp_path: Path
) -> None:
    rows = [f"{number},{artist},{uri}/{number}.mp3" for number, artist in enumerate("abc")]
    (tmp_path / "tracks.csv").write_text("\n".join(["track_id,artist_id,audio", *rows]) + "\n")
    (tmp_path / "related.csv").write_text("artist_id,related_artist_id,rank\na,b,1\n")
    rules = CatalogSettings(allowed_roots=("s3://bucket",))
    with pytest.raises(
        CatalogError,
        match=r"tracks row 1, audio 's3://\*\*\*@bucket/catalog/0.mp3': credentials in a URI",
    ) as caught:
        open_run(Config(store=str(tmp_path / "store"), catalog=str(tmp_path), catalog_rules=rules))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", URIS)
def test_logs_records_and_parameters_are_without_credentials(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    event("register", f"sent to {uri}", tracking_uri=uri)
    config = Config(registry=RegistrySettings(tracking_uri=uri))
    said = capsys.readouterr().out + json.dumps(resolved(config)) + str(flattened(resolved(config)))
    assert SECRET not in said
    assert said.count("***") == 4


def test_an_unusable_location_is_named_without_credentials() -> None:
    with pytest.raises(
        StoreError, match=r"'nowhere://\*\*\*@host/a' is not a usable location"
    ) as caught:
        resolve(f"nowhere://me:{SECRET}@host/a")
    assert SECRET not in str(caught.value)


def test_an_error_that_nobody_expected_is_printed_without_credentials() -> None:
    program = f"""
from musicrec.runtime.job import run_job
def work(config): raise OSError("no answer from {URIS[2]}")
run_job("A job.", work, [])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "OSError: no answer from http://***@mlflow:5000" in done.stderr
    assert SECRET not in done.stderr
