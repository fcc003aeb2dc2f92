"""Every command line of the README and of the jobs' docstrings is one that the job takes, and each
job has both of its own."""

from __future__ import annotations

import argparse
import ast
import runpy
import sys
from typing import Any

import pytest
from manifests import ROOT, Started, documented_jobs
from test_manifests import asked_for

JOBS = sorted(path.name for path in (ROOT / "jobs").glob("*.py"))
# They have an argparse of their own.
WITHOUT_CONFIGURATION = {"benchmark.py", "inspect_audio.py"}


class Parsed(Exception):
    """The command line was taken."""


@pytest.mark.parametrize("name", JOBS)
def test_a_docstring_has_the_command_for_a_machine_and_for_a_cluster(name: str) -> None:
    lines = (ast.get_docstring(ast.parse((ROOT / "jobs" / name).read_text())) or "").splitlines()
    assert any(f" python jobs/{name}" in line and "ray job submit" not in line for line in lines)
    assert any(
        line.startswith(f"On a cluster:       ray job submit --working-dir . -- python jobs/{name}")
        for line in lines
    )


@pytest.mark.parametrize(
    "job", documented_jobs(), ids=lambda job: f"{job.file} {' '.join(job.arguments)}"
)
def test_a_documented_command_line_is_taken(job: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = tuple(
        "demo" if "/KEY/" in argument else argument for argument in job.arguments
    )  # what only a search makes
    script = job.script.rpartition("/")[2]
    if script not in WITHOUT_CONFIGURATION:
        asked_for(Started(job.file, job.script, arguments), monkeypatch)
        return
    parse_args = argparse.ArgumentParser.parse_args

    def parsed(self: argparse.ArgumentParser, *given: Any) -> None:
        parse_args(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    with pytest.raises(Parsed):
        runpy.run_path(str(ROOT / job.script), run_name="__main__")


def test_all_jobs_are_documented() -> None:
    assert {job.script.rpartition("/")[2] for job in documented_jobs()} == {*JOBS}
