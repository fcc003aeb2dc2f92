"""The cluster files against what they speak of: pyproject's versions, the jobs and their options,
Ray's schema, our metrics."""

from __future__ import annotations

import json
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import (
    CLUSTER,
    IMAGE_ROOT,
    ROOT,
    Started,
    documents,
    objects,
    of_kind,
    pods,
    readme_jobs,
    settings,
    started,
    walk,
)
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import musicrec.runtime.job
from musicrec.config.jobs import Config
from musicrec.config.load import parse, presets
from musicrec.telemetry.metrics import METRICS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = {
    requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])
}
DOCKERFILE = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")
KUSTOMIZATIONS = sorted(
    path.parent.relative_to(ROOT).as_posix() for path in CLUSTER.rglob("kustomization.yaml")
)
RAYUP = ("aws", "gcp")
named = pytest.mark.parametrize


def exact(package: str) -> str:
    """The version that pyproject.toml fixes."""
    (specifier,) = REQUIRED[package].specifier
    assert specifier.operator == "=="
    return specifier.version


@named("package", ["torch", "torchaudio", "torchvision"])
def test_the_image_has_pyprojects_torch(package: str) -> None:
    assert re.findall(rf"^ARG {package.upper()}_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE) == [
        exact(package)
    ]


def test_images_have_a_python_that_the_project_takes() -> None:
    versions = re.findall(r"^ARG PYTHON_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    versions += re.findall(
        r"^FROM python:([\d.]+)", (CLUSTER / "mlflow/Dockerfile").read_text(), re.MULTILINE
    )
    versions += [
        version
        for name in RAYUP
        for version in re.findall(
            r"python(\d\.\d+) -m venv", (CLUSTER / f"rayup/{name}.yaml").read_text()
        )
    ]
    assert len(versions) == 4
    assert [
        version
        for version in versions
        if f"{version}.99" not in SpecifierSet(PROJECT["requires-python"])
    ] == []


def test_ray_clusters_say_pyprojects_ray() -> None:
    found = [
        value for _, each in objects() for path, value in walk(each) if path.endswith("/rayVersion")
    ]
    assert found == [exact("ray")]  # written once; the jobs' clusters are copies


@named("name", RAYUP)
def test_ray_up_installs_pyprojects_versions(name: str) -> None:
    commands = " ".join(documents()[f"rayup/{name}.yaml"][0]["setup_commands"])
    pinned = dict(re.findall(r"([a-z]+)(?:\[[a-z,]+\])?==([\d.]+)", commands))
    assert pinned == {
        package: exact(package) for package in ("ray", "torch", "torchaudio", "torchvision")
    }
    extras = re.search(r"ray\[([a-z,]+)\]", commands)
    assert extras is not None
    assert set(extras[1].split(",")) == REQUIRED["ray"].extras


def test_the_mlflow_server_is_of_the_clients_release() -> None:
    version = re.search(r"mlflow==(\S+)", (CLUSTER / "mlflow/Dockerfile").read_text())
    assert version is not None
    assert version[1] in REQUIRED["mlflow"].specifier
    (image,) = (
        each
        for each in documents()["mlflow/kustomization.yaml"][0]["images"]
        if each["name"] == "musicrec-mlflow"
    )
    assert image["newTag"] == version[1]


def test_image_tags_are_the_projects_version() -> None:
    images = documents()["kuberay/components/images/kustomization.yaml"][0]["images"]
    assert {each["name"] for each in images} == {"musicrec-cpu", "musicrec-gpu"}
    assert {each["newTag"] for each in images} == {PROJECT["version"]}


def test_what_the_images_copy_is_there_and_not_ignored() -> None:
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    ]
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert {*sources} == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []


@named("file", ["Dockerfile", "mlflow/Dockerfile"])
def test_images_end_as_a_numbered_user_who_is_not_root(file: str) -> None:
    lines = (CLUSTER / file).read_text().splitlines()
    users = [line for line in lines if line.startswith(("USER", "FROM"))]
    assert users[-1] == "USER 1000:1000"


def test_the_image_builds_for_cpus_and_for_gpus_from_a_fixed_index() -> None:
    assert "https://download.pytorch.org/whl/cpu" in DOCKERFILE
    assert re.findall(r"^ARG (DEVICE)=cpu$", DOCKERFILE, re.MULTILINE) == ["DEVICE"]
    assert not re.search(r"^(ENTRYPOINT|CMD).*(pip|curl|wget|apt)", DOCKERFILE, re.MULTILINE)


def asked_for(job: Started, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The configuration that a job would run with: its own class, read as the job reads it."""
    asked: dict[str, Any] = {}

    def capture(
        document: str,
        work: Any,
        arguments: Any = None,
        kind: type = Config,
        default: Any = None,
        sections: Any = None,
    ) -> None:
        asked.update(description=document, kind=kind, default=default, sections=sections)

    script = ROOT / job.script[job.script.index("jobs/") :]
    assert script.is_file(), f"{job.file} starts {job.script}, which is not there"
    monkeypatch.setattr(musicrec.runtime.job, "run_job", capture)
    monkeypatch.setattr(sys, "path", [str(script.parent), str(ROOT), *sys.path])
    runpy.run_path(str(script), run_name="__main__")
    return parse(list(job.arguments), **asked)


@named("job", started(), ids=lambda job: job.file)
def test_manifests_start_jobs_with_options_that_they_take(
    job: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job.script.startswith(f"{IMAGE_ROOT}jobs/")
    config = asked_for(job, monkeypatch)
    assert (config.store, config.catalog) == (
        settings()["MUSICREC_STORE"],
        settings()["MUSICREC_CATALOG"],
    )
    assert config.train.gpu == ("extract" not in job.script)
    assert job.option("--preset") in presets()
    files = [word for word in job.arguments if word.startswith(IMAGE_ROOT)]
    assert [word for word in files if not (ROOT / word.removeprefix(IMAGE_ROOT)).is_file()] == []


@named("job", readme_jobs(), ids=lambda job: job.file)
def test_the_readme_starts_jobs_with_options_that_they_take(
    job: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for(job, monkeypatch)
    assert job.option("--preset") in {*presets(), None}


def test_every_kind_of_job_is_there() -> None:
    assert {Path(job.script).name for job in started()} == {
        "extract.py",
        "train.py",
        "retrain.py",
        "tune.py",
    }
    assert len(readme_jobs()) >= 2


def test_a_wrong_option_would_be_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked_for(
            Started("test", f"{IMAGE_ROOT}jobs/extract.py", ("--train.gpus", "1")), monkeypatch
        )
    assert "gpus" in "".join(capsys.readouterr())


@named(
    "job", [job for job in started() if "--train.gpu" in job.arguments], ids=lambda job: job.file
)
def test_the_workers_of_a_training_fit_the_cluster(job: Started) -> None:
    ((_, cluster),) = of_kind("RayCluster")
    (group,) = (
        group for group in cluster["spec"]["workerGroupSpecs"] if group["groupName"] == "gpu"
    )
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (
        int(job.option("--train.workers") or 1) * int(job.option("--train.parallel-runs") or 1)
        <= group["maxReplicas"]
    )
    assert float(job.option("--train.cpus-per-worker") or 1) <= float(limits["cpu"])
    assert limits["nvidia.com/gpu"] == "1"


@named("name", RAYUP)
def test_ray_up_files_keep_rays_schema(name: str) -> None:
    from ray.autoscaler._private.util import validate_config

    config = documents()[f"rayup/{name}.yaml"][0]
    validate_config(config)
    with pytest.raises(Exception, match="Additional properties"):
        validate_config(config | {"setup_command": []})


@named("name", RAYUP)
def test_ray_up_has_a_pool_for_extraction_and_one_for_training(name: str) -> None:
    config = documents()[f"rayup/{name}.yaml"][0]
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert types["cpu"]["resources"]["CPU"] > 0 and "GPU" not in types["cpu"]["resources"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["cpu"]["max_workers"] + types["gpu"]["max_workers"] <= config["max_workers"]


@named("name", RAYUP)
def test_ray_up_starts_ray_with_real_options_a_token_and_a_private_dashboard(name: str) -> None:
    from ray.scripts.scripts import start

    config = documents()[f"rayup/{name}.yaml"][0]
    known = {option for parameter in start.params for option in parameter.opts}
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        command = config[key][-1]
        assert "RAY_AUTH_MODE=token" in command and "RAY_USAGE_STATS_ENABLED=0" in command
        assert {*re.findall(r"(--[a-z-]+)", command)} <= known
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_the_mlflow_server_is_started_with_real_options() -> None:
    from mlflow.cli import server

    (container,) = (pod["containers"][0] for name, pod in pods() if "Deployment" in name)
    known = {
        option
        for parameter in server.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    assert container["command"] == ["mlflow", "server"]
    assert {argument.partition("=")[0] for argument in container["args"]} <= known
    destination = next(
        argument
        for argument in container["args"]
        if argument.startswith("--artifacts-destination=")
    )
    assert destination.partition("=")[2].startswith("s3://")


def test_the_dashboard_shows_our_metrics_by_their_exported_names() -> None:
    dashboard = json.loads((CLUSTER / "grafana/dashboard.json").read_text(encoding="utf-8"))
    queries = [
        target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])
    ]
    shown = {name for query in queries for name in re.findall(r"ray_musicrec_\w+", query)}
    assert shown == {definition.exported(name) for name, definition in METRICS.items()}
    labels = {
        name
        for query in queries
        for group in re.findall(r"by \(([^)]+)\)", query)
        for name in group.split(", ")
    }
    assert labels == {"run", "SessionName"} | {definition.label for definition in METRICS.values()}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_dashboards_other_metrics_are_rays_own() -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    text = (CLUSTER / "grafana/dashboard.json").read_text(encoding="utf-8")
    others = {name for name in re.findall(r"\bray_(\w+)", text) if not name.startswith("musicrec_")}
    assert others and others <= {*METRICS_GAUGES}


def test_the_readme_names_files_that_are_there() -> None:
    text = (CLUSTER / "README.md").read_text(encoding="utf-8")
    paths = {path.rstrip(".") for path in re.findall(r"\bcluster/[\w./-]+", text)}
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    applied = set(re.findall(r"apply -k ([\w/-]+)", text))
    assert len(applied) > 4 and applied <= {*KUSTOMIZATIONS}
