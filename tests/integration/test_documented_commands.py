"""Every command line of the READMEs and of the jobs' docstrings is run as it is written, with a
small catalog and a finished store in place of its placeholders, or has a reason why not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from manifests import Started, documented_jobs
from small_run import REPOSITORY, Retrained, run_job_here, run_job_process, tiny_yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Jobs without presets: they run on the defaults.
ON_DEFAULTS = {"recommend", "status", "errors", "inspect_audio", "validate", "relate"}
# What is written as it is needs hours; with these arguments behind it a benchmark takes seconds.
# One whose target is missed on so little ends with 1.
SMALLEST = {"storage": ["--count", "1"]}
NEEDS = {
    "s3://": "needs a bucket; test_every_job runs every job on one",
    "FMA_FOLDER": "needs the published FMA; test_reproduce runs a small one",
    "CIFAR_FOLDER": "needs the published CIFAR-100; test_reproduce runs a small one",
    "thesis-": "needs a published data set; test_reproduce runs small ones",
    "MUSIC": "needs a folder of tagged files; test_retrain_folder retrains on one",
    "/KEY/": "needs the preset that a search wrote; test_tune runs one",
}
TRAINS = {
    "tune": "trains many trials; test_tune runs a small search",
    "ablate": "trains many runs; test_ablate runs a small study",
    "hold_out": "trains many runs; test_hold_out runs two small ones",
}
MEASURES = "measures for minutes, at sizes that are its subject"


def reason(job: Started) -> str | None:
    """Return why a command is not run here, or None."""
    line, script = " ".join(job.arguments), Path(job.script).stem
    for part, why in NEEDS.items():
        if part in line:
            return why
    if script == "benchmark":
        return None if job.arguments[0] in SMALLEST else MEASURES
    if "seeds" in job.arguments:
        return "needs the stores of three whole runs of the demo"
    if "mel.time,mel.freq" in job.arguments:
        return "needs the submodels of the demo's preset; test_retrain trains small ones"
    return TRAINS.get(script)


# A command that several documents show is run once.
JOBS = {f"{Path(job.script).stem} {' '.join(job.arguments)}": job for job in documented_jobs()}
HERE = {name: job for name, job in JOBS.items() if reason(job) is None}


@pytest.fixture(scope="module")
def folder(retrained: Retrained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the names that the commands use."""
    folder = tmp_path_factory.mktemp("documented")
    shutil.copytree(retrained.store, folder / "musicrec-store")
    catalog = Path(retrained.config.catalog)
    audio = min((catalog / "audio").glob("*.mp3"))
    shutil.copy(audio, folder / "song.mp3")
    shutil.copy(audio, folder / "FILE")
    plays = [f"user-{user},artist-{artist}" for user in range(3) for artist in range(4)]
    (folder / "plays.csv").write_text("\n".join(["user,item", *plays]))
    (folder / "tune").symlink_to(REPOSITORY / "tune")
    (folder / "tiny.yaml").write_text(tiny_yaml("musicrec-store", retrained.config.catalog))
    return folder


def filled(job: Started, folder: Path, catalog: str) -> list[str]:
    """Return the arguments with files of the folder in place of placeholders."""
    values = {
        ("--catalog", "FOLDER"): catalog,
        ("--folder", "FOLDER"): f"{catalog}/audio",
        ("--store", "FOLDER"): "musicrec-store",
        ("--store", "STORE"): "musicrec-store",
        ("--artwork", "FILE"): str(min((Path(catalog) / "artwork").iterdir())),
    }
    pairs = zip(("", *job.arguments), job.arguments, strict=False)
    arguments = [values.get(pair, pair[1]) for pair in pairs]
    script = Path(job.script).stem
    if script == "benchmark":
        return [*arguments, *SMALLEST[job.arguments[0]]]
    return arguments if script in ON_DEFAULTS else [*arguments, "--config", "tiny.yaml"]


@pytest.mark.parametrize("name", HERE)
def test_a_documented_command_ends_well(
    name: str, folder: Path, retrained: Retrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = HERE[name]
    script = Path(job.script).stem
    arguments = filled(job, folder, retrained.config.catalog)
    monkeypatch.chdir(folder)
    if script == "benchmark":
        done = run_job_process(script, *arguments, timeout=300)
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout
        return
    out = folder / arguments[arguments.index("--out") + 1] if "--out" in arguments else None
    if script == "recommend" and out is not None:
        shutil.rmtree(out, ignore_errors=True)  # of another command, whose tracks are others
    assert run_job_here(monkeypatch, script, *arguments) == 0
    assert out is None or out.is_file() or any(out.iterdir())


def test_each_reason_is_needed() -> None:
    reasons = {reason(job) for job in JOBS.values()}
    assert {*NEEDS.values(), *TRAINS.values(), MEASURES} <= reasons
    assert len(HERE) > len(JOBS) / 3
