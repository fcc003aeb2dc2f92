"""The Kubernetes objects: KubeRay's fields, what pods may, how jobs end, what the kustomizations
make of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from fields import mistakes
from manifests import CLUSTER, ROOT, objects, of_kind, pods, ray_jobs, walk

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
# A day, in which the nightly run has to be over.
DAY_SECONDS = 86_400
named = pytest.mark.parametrize


def names(pairs: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in pairs]


@named(("name", "value"), objects(), ids=names(objects()))
def test_objects_have_known_fields_of_the_right_types(name: str, value: dict[str, Any]) -> None:
    assert list(mistakes(value, value["kind"])) == []


@named(
    ("path", "value", "complaint"),
    [
        (("spec", "ttlSecondsAfterFinish"), 1, "unknown field"),
        (("spec", "backoffLimit"), "two", "is not integer"),
        (("spec", "submissionMode"), "JobMode", "is not 'K8sJobMode'"),
        (("spec", "rayClusterSpec"), {"rayVersion": "2"}, "'headGroupSpec' is required"),
    ],
)
def test_a_wrong_field_would_be_found(path: tuple[str, str], value: Any, complaint: str) -> None:
    job = json.loads(json.dumps(of_kind("RayJob")[0][1]))
    job[path[0]][path[1]] = value
    (found,) = mistakes(job, "RayJob")
    assert complaint in found


@named(("name", "pod"), pods(), ids=names(pods()))
def test_no_pod_runs_as_root_or_gains_rights(name: str, pod: dict[str, Any]) -> None:
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0 and security["runAsGroup"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_requests_equal_limits() -> None:
    resources = [
        (name + path, value)
        for name, each in objects()
        for path, value in walk(each)
        if path.endswith("/resources")
    ]
    containers = [each for each in resources if "volumeClaimTemplates" not in each[0]]
    assert (
        len(containers) == 7
    )  # head, two kinds of worker, autoscaler, submitter, MLflow, PostgreSQL
    assert [name for name, value in containers if value["requests"] != value["limits"]] == []
    assert [name for name, value in containers if not {"cpu", "memory"} <= {*value["limits"]}] == []


@named(("name", "spec"), ray_jobs(), ids=names(ray_jobs()))
def test_jobs_end_and_leave_nothing_behind(name: str, spec: dict[str, Any]) -> None:
    assert spec["shutdownAfterJobFinishes"] is True and spec["ttlSecondsAfterFinished"] > 0
    assert spec["submissionMode"] == "K8sJobMode" and spec["submitterConfig"]["backoffLimit"] >= 0
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    assert 0 < spec["backoffLimit"] <= 3


def test_the_nightly_run_is_over_before_the_next() -> None:
    ((_, cron),) = of_kind("RayCronJob")
    minute, hour, *days = cron["spec"]["schedule"].split()
    assert 0 <= int(minute) < 60 and 0 <= int(hour) < 24 and days == ["*", "*", "*"]
    template = cron["spec"]["jobTemplate"]
    assert (template["backoffLimit"] + 1) * template["activeDeadlineSeconds"] < DAY_SECONDS


def test_the_cluster_scales_within_bounds_and_asks_for_a_token() -> None:
    ((_, cluster),) = of_kind("RayCluster")
    spec = cluster["spec"]
    assert spec["authOptions"]["mode"] == "token"
    assert spec["enableInTreeAutoscaling"] is True and spec["autoscalerOptions"]["version"] == "v2"
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    assert {*groups} == {"cpu", "gpu"} and groups["gpu"]["minReplicas"] == 0
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"] <= 100
        assert any(
            "spot" in toleration["key"] for toleration in group["template"]["spec"]["tolerations"]
        )
        assert group["template"]["spec"]["automountServiceAccountToken"] is False
    assert any(
        toleration["key"] == "nvidia.com/gpu"
        for toleration in groups["gpu"]["template"]["spec"]["tolerations"]
    )
    head = spec["headGroupSpec"]
    assert "tolerations" not in head["template"]["spec"]
    assert head["serviceType"] == "ClusterIP" and head["rayStartParams"]["num-cpus"] == "0"


def test_pods_carry_the_labels_by_which_policies_and_monitors_find_them() -> None:
    labels = [
        value["metadata"]["labels"]
        for _, each in objects()
        for _, value in walk(each)
        if _is_template(value)
    ]
    selectors = [each["spec"]["podSelector"]["matchLabels"] for _, each in of_kind("NetworkPolicy")]
    selectors += [
        each["spec"]["selector"]["matchLabels"]
        for _, each in of_kind("PodMonitor", "Deployment", "StatefulSet")
    ]
    selectors += [each["spec"]["selector"] for _, each in of_kind("Service")]
    assert len(labels) == 6
    assert [
        selector
        for selector in selectors
        if not any(selector.items() <= found.items() for found in labels)
    ] == []
    ports = {
        port["name"]
        for _, pod in pods()
        for container in pod["containers"]
        for port in container.get("ports", [])
    }
    ((_, monitor),) = of_kind("PodMonitor")
    assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports


def _is_template(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("spec"), dict)
        and "containers" in value["spec"]
    )


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict[str, Any]]]:
    """What each kustomization applies; rendering needs kubectl and no cluster."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl renders kustomizations, and is not on PATH")
    folders = sorted(
        path.parent.relative_to(ROOT).as_posix() for path in CLUSTER.rglob("kustomization.yaml")
    )
    folders = [folder for folder in folders if "/components/" not in folder]
    texts = {
        f: subprocess.run(
            [kubectl, "kustomize", f], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for f in folders
    }
    return {folder: list(yaml.safe_load_all(text)) for folder, text in texts.items()}


def test_kustomizations_render_into_valid_objects_of_one_namespace(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    every = [each for many in rendered.values() for each in many]
    assert [line for each in every for line in mistakes(each, each["kind"])] == []
    assert {each["metadata"].get("namespace") for each in every if each["kind"] != "Namespace"} == {
        "musicrec"
    }
    images = {value for each in every for path, value in walk(each) if path.endswith("/image")}
    assert {image for image in images if image.partition(":")[2] in ("", "latest")} == set()


def test_each_job_brings_its_own_copy_of_the_cluster_and_nothing_else(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    (cluster,) = rendered["cluster/kuberay/raycluster"]
    jobs = {folder: many for folder, many in rendered.items() if "/jobs/" in folder}
    assert len(jobs) == len(ray_jobs())
    for many in jobs.values():
        (job,) = many
        spec = job["spec"].get("jobTemplate", job["spec"])
        assert spec["rayClusterSpec"] == cluster["spec"]
        assert spec["submitterPodTemplate"]["spec"]["containers"][0]["image"].endswith(
            f"/musicrec-cpu:{VERSION}"
        )


def test_secrets_are_referred_to_and_never_written() -> None:
    assert of_kind("Secret") == []
    telling = re.compile(r"(password|secret|token|credential|access_?key)", re.IGNORECASE)
    variables = [
        value
        for _, each in objects()
        for _, value in walk(each)
        if isinstance(value, dict) and {"name", "value"} <= {*value}
    ]
    assert [variable for variable in variables if telling.search(variable["name"])] == []
    assert [
        key for _, each in of_kind("ConfigMap") for key in each["data"] if telling.search(key)
    ] == []
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in CLUSTER.rglob("*") if path.is_file()
    )
    # AWS key ids, private keys, and URLs with a password that is not a variable.
    assert (
        re.findall(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:]+:(?!\$\()[^/\s@]+@", text)
        == []
    )
