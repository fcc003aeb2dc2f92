"""What the tests of the cluster files look at: every manifest, its objects, its pods and the jobs
that it starts."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
IMAGE_ROOT = "/opt/musicrec/"
SETTINGS = "musicrec-settings"


@cache
def documents() -> dict[str, list[Any]]:
    """The YAML documents of every file under cluster/, by the file's name there."""
    files = sorted([*CLUSTER.rglob("*.yaml"), *CLUSTER.rglob("*.yml")])
    return {
        path.relative_to(CLUSTER).as_posix(): list(
            yaml.safe_load_all(path.read_text(encoding="utf-8"))
        )
        for path in files
    }


@cache
def objects() -> list[tuple[str, dict[str, Any]]]:
    """Kubernetes objects, kustomizations apart: (file and kind, object)."""
    found = [
        (f"{file}: {each['kind']}", each)
        for file, many in documents().items()
        for each in many
        if "kind" in each
    ]
    return [
        (name, each) for name, each in found if each["kind"] not in ("Kustomization", "Component")
    ]


def of_kind(*kinds: str) -> list[tuple[str, dict[str, Any]]]:
    return [(name, each) for name, each in objects() if each["kind"] in kinds]


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value at any depth with its path."""
    yield path, value
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from walk(child, f"{path}/{key}")


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The specifications of all pods."""
    return [
        (f"{name}{path}", value)
        for name, each in objects()
        for path, value in walk(each)
        if path and _is_pod(value)
    ]


def _is_pod(value: Any) -> bool:
    return isinstance(value, dict) and "containers" in value


@dataclass(frozen=True)
class Started:
    """A job as a manifest starts it, its variables filled in."""

    file: str
    script: str
    arguments: tuple[str, ...]

    def option(self, name: str) -> str | None:
        return self.arguments[self.arguments.index(name) + 1] if name in self.arguments else None


def settings() -> dict[str, str]:
    (found,) = (
        each["data"] for _, each in of_kind("ConfigMap") if each["metadata"]["name"] == SETTINGS
    )
    return found


def ray_jobs() -> list[tuple[str, dict[str, Any]]]:
    """The specifications of all RayJobs, those that a schedule starts included."""
    jobs = [(name, each["spec"]) for name, each in of_kind("RayJob")]
    return jobs + [(name, each["spec"]["jobTemplate"]) for name, each in of_kind("RayCronJob")]


def started() -> list[Started]:
    """What the RayJobs start."""
    jobs = []
    for name, spec in ray_jobs():
        interpreter, script, *arguments = shlex.split(_filled(spec["entrypoint"]))
        assert interpreter == "python", f"{name}: the image has it on PATH"
        jobs.append(Started(name, script, tuple(arguments)))
    return jobs


def _filled(command: str) -> str:
    """A command line with the variables of the settings; an unknown one is a KeyError."""
    return re.sub(r"\$(\w+)", lambda found: settings()[found[1]], command)


def readme_jobs() -> list[Started]:
    """The jobs on the command lines of this folder's README."""
    return _on_lines("README.md", _shell(CLUSTER / "README.md"))


def documented_jobs() -> list[Started]:
    """Return the jobs on the command lines of all READMEs and of the jobs' docstrings."""
    found = []
    for path in [ROOT / "README.md", *sorted(ROOT.glob("[jmt]*/**/README.md"))]:
        found += _on_lines(path.relative_to(ROOT).as_posix(), _shell(path))
    for path in sorted((ROOT / "jobs").glob("*.py")):
        document = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        # An indented line continues the command before it.
        found += _on_lines(f"jobs/{path.name}", re.sub(r"\n {10,}", " ", document))
    return found


def _shell(readme: Path) -> str:
    """The shell blocks of a README, each command on one line."""
    return "\n".join(
        re.findall(r"```bash\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    ).replace("\\\n", " ")


def _on_lines(file: str, text: str) -> list[Started]:
    lines = re.findall(
        r"python (\S*jobs/\w+\.py)([^\n#|&;]*)", re.sub(r"[\[\]]", "", text)
    )  # brackets: an option may be left out
    return [
        Started(f"{file}: {script}", script, tuple(shlex.split(_filled(rest))))
        for script, rest in lines
    ]
