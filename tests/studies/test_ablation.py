from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, preset
from musicrec.studies.ablation import plan, read_study, with_overrides

STUDIES = Path(__file__).parents[2] / "tune" / "ablations"
STUDY = """
title: a study
base:
  what: the rules of old
  change: {models.*.weight_decay: 0, ensemble.sizes.dropout: 0}
rows:
  masks: {what: masked frames, change: {models.*.*.time_mask: 0.3}}
  folds: {what: out of fold, change: {train.folds: 2}}
  clip: {what: each clip, change: {models.mel.*.standardise: per_clip}}
best: [masks, folds]
"""


def differing(one: Config, other: Config) -> dict[str, Any]:
    """Return the keys of ``other`` whose value differs in ``one``."""

    def flat(value: Any, key: str = "") -> dict[str, Any]:
        if not isinstance(value, dict) or not value:
            return {key: value}
        return {
            name: result
            for part, inner in value.items()
            for name, result in flat(inner, f"{key}.{part}".strip(".")).items()
        }

    before = flat(dataclasses.asdict(other))
    return {
        key: value
        for key, value in flat(dataclasses.asdict(one)).items()
        if key not in before or before[key] != value
    }


def test_each_row_changes_the_base_and_the_best_has_all_of_its_rows() -> None:
    rows = {row.name: row for row in plan(read_study(STUDY, "study.yaml"), preset("demo"))}
    assert list(rows) == [
        "base",
        "masks",
        "folds",
        "clip",
        "best",
        "best without masks",
        "best without folds",
    ]
    assert [row.baseline for row in rows.values()] == [
        None,
        "base",
        "base",
        "base",
        "base",
        "best",
        "best",
    ]
    base = rows["base"].config
    models = preset("demo").models
    decays = {f"models.{name}.weight_decay": 0 for name in models}
    assert differing(base, preset("demo")) == decays | {"ensemble.sizes.dropout": 0}
    masks = {f"models.{name}.time_mask": 0.3 for name in models if "." in name}
    assert differing(rows["masks"].config, base) == masks
    assert differing(rows["clip"].config, base) == {
        "models.mel.time.standardise": "per_clip",
        "models.mel.freq.standardise": "per_clip",
    }
    assert differing(rows["best"].config, base) == masks | {"train.folds": 2}
    assert differing(rows["best without masks"].config, base) == {"train.folds": 2}
    assert (rows["masks"].differs, rows["best"].differs) == ("masked frames", "masks + folds")


def test_rows_that_are_named_bring_what_they_are_compared_with() -> None:
    study = read_study(STUDY, "study.yaml")
    assert [row.name for row in plan(study, preset("demo"), ("best without folds",))] == [
        "base",
        "best",
        "best without folds",
    ]
    assert [row.name for row in plan(study, preset("demo"), ("clip",))] == ["base", "clip"]
    with pytest.raises(
        ConfigError, match=r"--rows mask: the study has no such row \(did you mean 'masks'\?\)"
    ):
        plan(study, preset("demo"), ("mask",))


def test_a_change_can_add_a_model() -> None:
    added = {"architecture": "mlp", "feature": "statistics", "standardise": "per_feature_bin"}
    changed = with_overrides(preset("thesis-webapi"), {"models.numbers": added}, "row")
    assert changed.models["numbers"].architecture == "mlp"
    assert {*changed.models} == {*preset("thesis-webapi").models, "numbers"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"models.bass.*.pool": [1, 1]},
            r"row: models.bass.\*.pool matches none of the models: mel.time",
        ),
        (
            {"models.*.weight_decai": 0},
            r"row: models.mel.time.weight_decai: unknown key \(did you mean 'weight_decay'\?\)",
        ),
        ({"train.folds": 1}, r"out-of-fold predictions need at least 2 folds"),
        ({"trane.folds": 2}, r"row: trane: unknown key"),
    ],
)
def test_an_invalid_change_names_its_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_overrides(preset("demo"), change, "row")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\nbase: {what: b}\nrows: {c: {change: {}}}", r"study.yaml: rows.c.what: "),
        (
            "title: a\nbase: {what: b}\nrows: {}\nbest: [c]",
            r"study.yaml: best names 'c', which is not a row",
        ),
        ("title: a\nbase: {what: b}\nrows: {best: {what: c}}", r"a row is called 'best'"),
        ("title: [", r"study.yaml: not readable as YAML"),
    ],
)
def test_an_invalid_study_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_study(text, "study.yaml")


def test_the_preset_best_differs_from_the_thesis_only_in_rows_of_the_ablation() -> None:
    study = read_study((STUDIES / "demo.yaml").read_text(encoding="utf-8"), "demo.yaml")
    changes = {key: value for name in study.best for key, value in study.rows[name].change.items()}
    assert preset("best") == with_overrides(preset("thesis-webapi"), changes, "best")


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_row_of_a_study_of_ours_can_be_configured_and_changes_something(path: Path) -> None:
    rows = plan(read_study(path.read_text(encoding="utf-8"), path.name), preset("demo"))
    by_name = {row.name: row.config for row in rows}
    assert all(
        differing(row.config, by_name[row.baseline]) or differing(by_name[row.baseline], row.config)
        for row in rows
        if row.baseline
    )
