from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from musicrec.config.help import option_help
from musicrec.config.jobs import Config, RecommendConfig, TrainConfig
from musicrec.config.load import (
    EXIT_CONFIG,
    ConfigError,
    from_yaml,
    parse,
    preset,
    presets,
    resolved,
    with_preset_of,
)
from musicrec.config.sections import FRACTIONS
from musicrec.storage.store import fingerprint

ROOT = Path(__file__).parents[2]
TABLE_PRESETS = {
    "3": "thesis-fma-medium",
    "4": "thesis-cifar100",
    "5": "thesis-fma-large",
    "6": "thesis-webapi",
}
# What takes seconds to import, or starts something.
HEAVY = (
    "torch",
    "ray",
    "mlflow",
    "numba",
    "librosa",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
    "numpy",
)
SECONDS_TO_ANSWER = 30  # a bound against hanging, not a measurement: the machine may be busy


def mistake(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        from_yaml(text, "run.yaml")
    return str(caught.value)


def exit_of(arguments: list[str], kind: type = Config, default: object = None) -> int:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, "A job.", kind, default)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("Seed: 1", "Seed", "seed"),
        ("ensembel: {}", "ensembel", "ensemble"),
        ("extract: {precisoin: uint8}", "extract.precisoin", "precision"),
        ("catalog_rules: {demo_clip: 3}", "catalog_rules.demo_clip", "demo_clips"),
        (
            "models: {a: {architecture: time, feature: mel, learning_rate: [1.0]}}",
            "models.a.learning_rate",
            "learning_rates",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    text: str, key: str, meant: str
) -> None:
    assert mistake(text) == f"run.yaml: {key}: unknown key (did you mean '{meant}'?)"


def test_an_unknown_key_like_no_other_is_named() -> None:
    assert mistake("extract: {zzz: 1}") == "run.yaml: extract.zzz: unknown key"


@pytest.mark.parametrize(
    ("text", "key", "rule"),
    [
        ("seed: abc", "seed = 'abc'", "integer"),
        ("train: {workers: 0}", "train.workers = 0", "greater than or equal to 1"),
        (
            "ensemble: {modality_dropout: 1.5}",
            "ensemble.modality_dropout = 1.5",
            "less than or equal to 1",
        ),
        (
            "extract: {maximum_failed_share: -0.1}",
            "extract.maximum_failed_share = -0.1",
            "greater than or equal to 0",
        ),
        (
            "extract: {artwork_pixels: 8}",
            "extract.artwork_pixels = 8",
            "greater than or equal to 32",
        ),
        (
            "extract: {features: [mel, mell]}",
            "extract.features.1 = 'mell'",
            "'mel', 'cqt', 'chroma', 'mfcc' or 'cifar'",
        ),
        ("ensemble: {branches: [mood]}", "ensemble.branches.0 = 'mood'", "'chroma'"),
        ("extract: 3", "extract = 3", "ExtractSettings"),
        (
            "embed: {learning_rates: [0.0, 1.0, 1.0]}",
            "embed.learning_rates.0 = 0.0",
            "greater than 0",
        ),
        ("embed: {learning_rates: [.nan, 1.0, 1.0]}", "embed.learning_rates.0 = nan", "finite"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(text: str, key: str, rule: str) -> None:
    message = mistake(text)
    assert message.startswith(f"run.yaml: {key}: ")
    assert rule in message


def test_every_violation_has_a_line() -> None:
    lines = mistake("seed: x\ntrain: {worker: 2, workers: 0}").split("\n")
    assert sorted(re.match(r"run\.yaml: ([\w.]+)", line)[1] for line in lines) == [
        "seed",
        "train.worker",
        "train.workers",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", r"run\.yaml: expected keys and values at the top, found list"),
        ("a: [", r"run\.yaml: not readable as YAML: .*line 1"),
        (
            "a: !!python/object/apply:os.getcwd []",
            r"run\.yaml: not readable as YAML: .*could not determine a constructor",
        ),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(text: str, message: str) -> None:
    assert re.match(message, mistake(text))
    assert "\n" not in mistake(text)


MODELS = "models: {a: {architecture: time, feature: mel}}\nensemble: {branches: [year]}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models: {a: {architecture: time, feature: mel, learning_rates: [0.1, 0.01]}}",
            "models.a.learning_rates has 2 phases and models.a.patience has 1: give one patience per phase",
        ),
        (
            "ensemble: {branches: [year], patience: [1, 2]}",
            "ensemble.learning_rates has 1 phases and ensemble.patience has 2",
        ),
        ("embed: {patience: [1, 1]}", "embed.learning_rates has 1 phases and embed.patience has 2"),
        (
            "embed: {objective: thesis, temperature: 0.1}",
            "embed.temperature is 0.1, which the thesis' objective does not have",
        ),
        (
            "embed: {objective: thesis, metric: euclidean}",
            "embed.metric is euclidean, which the thesis' objective does not have: set embed.objective to",
        ),
        (
            "embed: {metric: euclidean}",
            "embed.metric is euclidean, which the pagerank objective does not have: set embed.objective to "
            "contrastive, or leave it out",
        ),
        (
            "embed: {objective: contrastive, restart: 0.5}",
            "embed.restart is 0.5, which the contrastive objective does not have: set embed.objective to "
            "pagerank, or leave it out",
        ),
        (
            "embed: {held_out: 0}",
            "embed.select_by is held_out and embed.held_out is 0: give a share to hold out, or select by",
        ),
        (
            "embed: {artists_per_step: [1, 1]}",
            "embed.artists_per_step and embed.patience must have one value per phase",
        ),
        (
            "models: {a: {architecture: time}}",
            "models.a.feature is None, but architecture 'time' reads another input: give one of stft,",
        ),
        (
            "models: {a: {architecture: lyrics, feature: mel}}",
            "models.a.feature is mel, but architecture 'lyrics' reads another input",
        ),
        (
            "models: {a: {architecture: time, feature: mel}}\nextract: {features: [cqt]}",
            "models.a.feature is 'mel', which extract.features does not list: add it there",
        ),
        (
            MODELS.replace("year", "year, mel"),
            "ensemble.branches has 'mel', which needs models.mel.time: add that model, or leave the branch",
        ),
    ],
)
def test_rules_that_span_keys(text: str, message: str) -> None:
    assert mistake(text).startswith(message)


def test_absent_keys_keep_their_defaults() -> None:
    config = from_yaml(MODELS + "seed: 5\nextract: {rows_per_block: 4}", "run.yaml")
    assert (config.seed, config.extract.rows_per_block) == (5, 4)
    assert config.extract.features == Config().extract.features
    assert config.models["a"].patience == (10,)
    assert config.ensemble.branches == ("year",)


def test_an_exponent_without_a_dot_is_a_number() -> None:
    # YAML 1.1 reads 1e-3 as text.
    config = from_yaml(
        "models: {a: {architecture: time, feature: mel, learning_rates: [1e-3]}}\nensemble: {branches: [year]}",
        "run.yaml",
    )
    assert config.models["a"].learning_rates == (0.001,)


def test_a_number_is_the_same_in_a_file_and_on_the_command_line(tmp_path: Path) -> None:
    text = MODELS.replace("feature: mel", "feature: mel, mixup: 1, sizes: {batch_norm_momentum: 0}")
    (tmp_path / "run.yaml").write_text(
        text.replace("mixup: 1", "mixup: 2").replace("momentum: 0", "momentum: 1")
    )
    values = ["--models.a.mixup", "1.0", "--models.a.sizes.batch-norm-momentum", "0.0"]
    overridden = parse(["--config", str(tmp_path / "run.yaml"), *values], "A job.")
    assert fingerprint(resolved(overridden)) == fingerprint(resolved(from_yaml(text, "run.yaml")))


def test_the_sizes_that_are_fractions_are_those_of_the_architectures() -> None:
    from musicrec.models.build import OTHER, SPECTRAL, STACKS, VECTOR

    arguments = [
        argument
        for model in (SPECTRAL | VECTOR | OTHER | STACKS).values()
        for argument in inspect.signature(model).parameters.values()
    ]
    assert {argument.name for argument in arguments if argument.annotation == "float"} == {
        *FRACTIONS
    }


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_says_how_to_run_it(name: str) -> None:
    assert preset(name).models
    text = (ROOT / "musicrec" / "config" / "presets" / f"{name}.yaml").read_text()
    header = text[: re.search(r"^[^#]", text, re.MULTILINE).start()]
    commands = [
        line.removeprefix("#   ").split()[2:]
        for line in header.splitlines()
        if line.startswith("#   python jobs/")
    ]
    for command in commands:
        named = with_preset_of("--table", TABLE_PRESETS, command)
        assert named[named.index("--preset") + 1] == name
    assert commands and "Hardware:" in header


@pytest.mark.parametrize(("table", "name"), TABLE_PRESETS.items())
def test_a_table_stands_for_its_preset_unless_another_is_named(table: str, name: str) -> None:
    assert with_preset_of("--table", TABLE_PRESETS, ["--table", table, "--seed", "3"])[:2] == [
        "--preset",
        name,
    ]
    for own in (["--preset", "demo"], ["--config", "my.yaml"]):
        assert with_preset_of("--table", TABLE_PRESETS, ["--table", table, *own]) == [
            "--table",
            table,
            *own,
        ]
    task = preset(name).task
    assert {"3": "single_genre", "4": "single_genre", "5": "many_genres", "6": "embedding"}[
        table
    ] == task


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stacks: {both: {architecture: time_freq, submodels: [mel.tme]}}",
            "stacks.both.submodels has 'mel.tme'",
        ),
        (
            "stacks: {mel.time: {architecture: time_freq_avg, submodels: [mel.time]}}",
            "stacks.mel.time: a model has the same name",
        ),
        ("stacks: {both: {architecture: time_freq, submodels: []}}", "stacks.both.submodels = []"),
        ("train: {folds: 1}", "train.folds is 1"),
        (
            "train: {workers: 2, minimum_workers: 3}",
            "train.minimum_workers is 3 and train.workers is 2",
        ),
        ("train: {precision: bfloat16}", "train.precision is bfloat16, which needs a GPU"),
    ],
)
def test_rules_of_stacks_and_trainings(text: str, message: str) -> None:
    models = "task: single_genre\nmodels: {mel.time: {architecture: time, feature: mel}}\n"
    assert message in mistake(models + text)


def test_an_unknown_preset_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(
        ConfigError, match=r"--preset dmo: .*did you mean 'demo'\?.*choose from .*thesis-webapi"
    ):
        preset("dmo")


def test_the_command_line_overrides_the_preset() -> None:
    config = parse(
        [
            "--seed",
            "7",
            "--preset",
            "demo",
            "--extract.rows-per-block",
            "3",
            "--models.mel.time.batch-size",
            "2",
        ],
        "A job.",
    )
    assert (config.seed, config.extract.rows_per_block, config.models["mel.time"].batch_size) == (
        7,
        3,
        2,
    )
    assert config.models["mel.freq"] == preset("demo").models["mel.freq"]
    assert parse(["--extract.retry-errors"], "A job.").extract.retry_errors


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(MODELS + "seed: 5\nstore: here")
    config = parse(["--config", str(tmp_path / "run.yaml"), "--seed", "6"], "A job.")
    assert (config.seed, config.store, list(config.models)) == (6, "here", ["a"])


def test_a_job_with_more_settings_takes_the_same_files() -> None:
    config = parse(["--preset", "demo", "--submodels", "mel.time,lyrics"], "A job.", TrainConfig)
    assert isinstance(config, TrainConfig)
    assert config.submodels == "mel.time,lyrics"
    assert config.models == preset("demo").models


def test_a_resolved_configuration_reads_back_as_itself() -> None:
    import yaml

    for name in presets():
        plain = yaml.safe_dump(yaml.safe_load(yaml.safe_dump(_plain(resolved(preset(name))))))
        assert from_yaml(plain, "config.json") == preset(name)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "dmo"],
            "error: --preset dmo: unknown preset (did you mean 'demo'?)",
        ),
        (
            ["--config", "none.yaml"],
            "error: --config none.yaml: there is no such file",
        ),
        (
            ["--train.workers", "0"],
            "error: the command line: train.workers = 0: Input should be greater than or equal to 1",
        ),
        (
            ["--ensemble.learning-rates", "1.0", "2.0"],
            "error: ensemble.learning_rates has 2 phases",
        ),
        (["--sead", "1"], "--seed INT"),
        (["--preset", "demo", "--config", "run.yaml"], "not allowed with argument --preset"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(arguments) == EXIT_CONFIG == 2
    captured = capsys.readouterr()
    assert message in captured.err + captured.out


def test_coordinates_off_the_globe_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        exit_of(["--audio", "a.mp3", "--latitude", "100"], RecommendConfig, RecommendConfig()) == 2
    )
    assert "latitude = 100.0: Input should be less than or equal to 90" in capsys.readouterr().err


def run_job(name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", str(ROOT / "jobs" / f"{name}.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_ANSWER,
        check=False,
    )


def imported(stderr: str) -> set[str]:
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in stderr.splitlines()
        if line.startswith("import time:")
    }


def test_a_broken_file_ends_a_job_at_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("extract:\n  precisoin: uint8\n")
    done = run_job("retrain", "--config", str(broken))
    assert done.returncode == EXIT_CONFIG
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert said == [f"error: {broken}: extract.precisoin: unknown key (did you mean 'precision'?)"]
    assert {"musicrec", "yaml"} <= imported(done.stderr)
    assert not imported(done.stderr) & {*HEAVY}


@pytest.mark.parametrize("job", sorted(path.stem for path in (ROOT / "jobs").glob("*.py")))
def test_every_job_explains_itself_before_it_imports_anything_heavy(job: str) -> None:
    done = run_job(job, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout
    assert f"jobs/{job}.py" in done.stdout
    assert not imported(done.stderr) & {"torch", "ray", "mlflow"}


def job_settings(job: str) -> tuple[type, object, tuple[str, ...] | None]:
    """Return what a job hands to run_job: its configuration class, its defaults, its sections."""
    import importlib.util

    from musicrec.runtime import job as runner

    spec = importlib.util.spec_from_file_location(job, ROOT / "jobs" / f"{job}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tree = ast.parse((ROOT / "jobs" / f"{job}.py").read_text())
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == runner.run_job.__name__
    )
    given = {word.arg: word.value for word in call.keywords}
    kind = getattr(module, ast.unparse(given["kind"])) if "kind" in given else Config
    sections = getattr(module, "SECTIONS", None)
    assert (sections is None) == ("sections" not in given)
    return kind, (kind() if "default" in given else kind(**vars(preset("demo")))), sections


JOBS_WITH_SETTINGS = sorted(
    path.stem for path in (ROOT / "jobs").glob("*.py") if "run_job(" in path.read_text()
)


@pytest.mark.parametrize("job", JOBS_WITH_SETTINGS)
def test_every_option_has_a_sentence_of_help(job: str) -> None:
    kind, default, sections = job_settings(job)
    kinds = {kind: default}
    for field in dataclasses.fields(kind):
        value = getattr(default, field.name)
        values = value.values() if isinstance(value, dict) else [value]
        kinds |= {type(one): one for one in values if dataclasses.is_dataclass(one)}
    assert {*(sections or ())} <= {f.name for f in dataclasses.fields(kind)}
    for one, value in kinds.items():
        for field in dataclasses.fields(one):
            if dataclasses.is_dataclass(getattr(value, field.name)):
                continue
            text = option_help(one).get(field.name, "")
            assert re.fullmatch(r"[A-Z1].*[.:]", text), f"{one.__name__}.{field.name}: {text!r}"


@pytest.mark.parametrize(("width", "lines"), [("80", 120), ("", 120)])
def test_help_fits_and_shows_the_job_s_own_sections(width: str, lines: int) -> None:
    done = run_job("extract", "--help", COLUMNS=width)
    assert len(done.stdout.splitlines()) <= lines
    assert max(len(line) for line in done.stdout.splitlines() if line.startswith(("│", "╭"))) <= 80
    shown = re.findall(r"─ ([a-z-]+) options ─", done.stdout)
    assert shown == ["extract", "catalog-rules", "lock", "ray"]
    assert len([line for line in done.stdout.splitlines() if "--models." in line]) == 1
    everything = run_job("extract", "--help-all").stdout
    assert "--models.mel.time.batch-size" in everything
    assert "--registry.model" in everything


def test_an_option_that_help_leaves_out_can_be_set() -> None:
    config = parse(["--registry.model", "mine"], "A job.", sections=("extract",))
    assert config.registry.model == "mine"


@pytest.mark.parametrize("text", [f"seed: {2**70}", f"seed: {2**32}", "seed: -1"])
def test_a_seed_that_no_generator_takes_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^run\.yaml: seed = "):
        from_yaml(text, "run.yaml")


@pytest.mark.parametrize("key", ["store", "catalog"])
def test_a_location_with_a_nul_is_named(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} = 'a\\x00b': .*NUL"):
        from_yaml(f'{key}: "a\\0b"', "run.yaml")
