"""Who may import whom, and what lies where (the rules that keep Ray and MLflow at the edges and the
core in plain Python)."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "musicrec"
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("musicrec", "jobs", "tune")
    for path in (ROOT / folder).rglob("*.py")
)

# Ray moves data and processes; what is computed knows nothing of it. The benchmark is of Ray
# itself.
RAY = (
    "musicrec/extraction/pipeline.py",
    "musicrec/runtime/cluster.py",
    "musicrec/extraction/isolation.py",
    "musicrec/training/distributed.py",
    "musicrec/telemetry/metrics.py",
    "musicrec/relations/shards.py",
    "musicrec/benchmarks/pipeline.py",
    "musicrec/benchmarks/train.py",
)
RAY_FOLDERS = ("jobs/", "tune/")
MLFLOW = ("musicrec/pipeline/register.py",)
MLFLOW_FOLDERS = ("musicrec/registry/",)
# They import nothing of ours but each other.
PLAIN = (
    "musicrec.audio",
    "musicrec.models",
    "musicrec.evaluation.metrics",
    "musicrec.schema",
    "musicrec.config.inputs",
    "musicrec.config.names",
)
TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".github",
    ".gitignore",
    ".rayignore",
    "LICENSE",
    "README.md",
    "cluster",
    "jobs",
    "musicrec",
    "pyproject.toml",
    "tests",
    "tune",
}


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, tree: ast.AST | None = None) -> Iterator[str]:
    """The full names of all modules that a file imports, at any depth; ``from a import b`` counts
    as a.b, which may be a module."""
    package = (
        module_of(path).split(".")
        if path.endswith("/__init__.py")
        else module_of(path).split(".")[:-1]
    )
    for node in ast.walk(tree or ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*package[: len(package) - node.level + 1], node.module or ""]).strip(".")
                if node.level
                else node.module
            )
            yield from (f"{base}.{name.name}" for name in node.names)


def imported_at_once(path: str) -> set[str]:
    """The packages that importing a file imports: those not inside a function."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            node.body = []
    return {name.partition(".")[0] for name in imports(path, tree)}


def importers(package: str) -> set[str]:
    return {
        path for path in SOURCES if any(name.split(".")[0] == package for name in imports(path))
    }


def tracked() -> list[str]:
    """The repository's files: those that git knows or would take; all of a copy without git."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs to the repository is known to git alone")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_rules_are_about_files_that_are_there() -> None:
    assert len(SOURCES) > 50
    assert {*RAY, *MLFLOW} <= {*SOURCES}
    assert "ray.data" in imports("musicrec/extraction/pipeline.py")
    assert "musicrec.models.layers.initialise" in imports(
        "musicrec/models/__init__.py"
    )  # relative imports are resolved


def test_ray_is_imported_where_work_is_distributed_alone() -> None:
    assert {
        path for path in importers("ray") if path not in RAY and not path.startswith(RAY_FOLDERS)
    } == set()


def test_mlflow_is_imported_by_the_registry_alone() -> None:
    assert {
        path
        for path in importers("mlflow")
        if path not in MLFLOW and not path.startswith(MLFLOW_FOLDERS)
    } == set()


@pytest.mark.parametrize("path", ["musicrec/pipeline/register.py", *RAY])
def test_what_is_slow_to_import_is_imported_where_it_is_used(path: str) -> None:
    assert not imported_at_once(path) & {"ray", "mlflow"}


@pytest.mark.parametrize("plain", PLAIN)
def test_plain_parts_import_nothing_of_ours_but_each_other(plain: str) -> None:
    members = [path for path in SOURCES if f"{module_of(path)}.".startswith(f"{plain}.")]
    assert members
    foreign = {
        (path, name)
        for path in members
        for name in imports(path)
        if name.split(".")[0] in ("musicrec", "jobs", "tune", "tests")
        and not any(f"{name}.".startswith(f"{allowed}.") for allowed in PLAIN)
    }
    assert foreign == set()


def test_nothing_of_the_package_imports_what_stands_around_it() -> None:
    foreign = {
        path
        for path in SOURCES
        if path.startswith("musicrec/")
        and {n.split(".")[0] for n in imports(path)} & {"jobs", "tune", "tests"}
    }
    assert foreign == set()


def room_of(name: str) -> str | None:
    """Return the first-level package under musicrec that a module belongs to, if any."""
    parts = name.split(".")
    is_room = len(parts) > 1 and parts[0] == "musicrec" and (PACKAGE / parts[1]).is_dir()
    return parts[1] if is_room else None


def rooms_imported() -> dict[str, set[str]]:
    """Return the rooms that each room imports, at any depth and for type checking too."""
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        if (room := room_of(module_of(path))) is None:
            continue
        others = {room_of(name) for name in imports(path)}
        graph.setdefault(room, set()).update(others - {room, None})
    return graph


def test_the_rooms_import_each_other_without_a_cycle() -> None:
    graph = rooms_imported()
    assert {"telemetry", "storage", "config", "pipeline"} <= {*graph}
    assert "audio" in graph["features"]  # the graph is not empty by mistake
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, naming the rooms


def test_the_lowest_rooms_are_layers() -> None:
    graph, below = rooms_imported(), set()
    for room in ("telemetry", "storage", "config", "runtime"):
        assert graph.get(room, set()) <= below
        below.add(room)


def test_the_package_holds_rooms_and_the_schema() -> None:
    held = {name.split("/")[1] for name in tracked() if name.startswith("musicrec/")}
    files = {name for name in held if not (PACKAGE / name).is_dir()}
    assert files <= {"__init__.py", "schema.py", "README.md"}


def test_stages_know_their_inputs_by_tables_and_not_each_other() -> None:
    # A stage may take a name or a contract of the stage before it; what it runs is its own. Only
    # these files join stages.
    joining = {f"musicrec/pipeline/{name}.py" for name in ("retrain", "summary")}
    stages = {path for path in SOURCES if path.startswith("musicrec/pipeline/")} - joining
    called = {
        "extract",
        "embed",
        "label",
        "train",
        "stack",
        "ensemble",
        "statistics",
        "evaluate",
        "evaluate_genres",
        "report",
        "register",
    }
    joined = {
        (path, name)
        for path in stages
        for name in imports(path)
        if name.startswith("musicrec.pipeline.") and name.split(".")[-1] in called
    }
    assert joined == set()


def test_the_top_level_holds_what_the_map_shows() -> None:
    assert {name.partition("/")[0] for name in tracked()} - TOP_LEVEL == set()


def test_no_file_names_this_machine() -> None:
    machine = {str(ROOT), sys.prefix if sys.prefix != sys.base_prefix else str(ROOT)}
    machine = {
        path for path in machine if len(Path(path).parts) > 2
    }  # /app, say, is as good in a container's recipe as anywhere
    found = [
        (name, path)
        for name in tracked()
        for path in machine
        if path.encode() in (ROOT / name).read_bytes()
    ]
    assert found == []


def test_tests_leave_their_files_in_the_folder_for_them() -> None:
    fixed = [name for name in tracked() if name.startswith("tests/") and name.endswith(".py")]
    folder = tempfile.gettempdir() + "/"
    assert [
        name for name in fixed if f'"{folder}' in (ROOT / name).read_text(encoding="utf-8")
    ] == []
