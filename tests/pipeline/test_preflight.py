from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from musicrec import schema
from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, preset
from musicrec.pipeline.base import Run
from musicrec.pipeline.preflight import check_names, check_sizes, fit_to_catalog
from musicrec.storage.store import Store


def run_of(tmp_path: Path, config: Config, **columns: list) -> Run:
    """Make a run on six tracks of three artists, two tracks in each split, with these columns."""
    tracks = {
        "track_id": [f"t{n}" for n in range(6)],
        "artist_id": ["a", "a", "b", "b", "c", "c"],
        "audio": [f"t{n}.mp3" for n in range(6)],
        "genres": [[]] * 6,
        "split": ["train", "train", "validation", "validation", "test", "test"],
    }
    on_artists = {name: columns.pop(name) for name in ("latitude", "longitude") if name in columns}
    artists = {"artist_id": ["a", "b", "c"], "genres": [[]] * 3} | on_artists
    catalog = Catalog(
        str(tmp_path),
        schema.conform(pa.table(tracks | columns), schema.TRACKS, "tracks"),
        schema.conform(pa.table(artists), schema.ARTISTS, "artists"),
        schema.RELATED.empty_table(),
    )
    return Run(config, Store(str(tmp_path)), catalog, "key")


def test_audio_only_leaves_the_audio_branches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = fit_to_catalog(run_of(tmp_path, preset("demo"))).config
    assert fitted.ensemble.branches == ("chroma", "mfcc", "cqt", "mel", "statistics")
    assert set(fitted.models) == {
        "statistics",
        "mel.time",
        "mel.freq",
        "cqt.time",
        "cqt.freq",
        "chroma.large_rnn",
        "mfcc.large_rnn",
    }
    output = capsys.readouterr().out
    assert all(
        f"'{name}' is left out" in output for name in ("lyrics", "albums", "location", "year")
    )


def test_an_input_must_exist_in_training_and_validation(tmp_path: Path) -> None:
    sung = ["la la", None, "la la", None, None, None]
    only_trained = [
        "la la",
        "la la",
        "[Chorus]",
        "x2",
        None,
        None,
    ]  # directions and repeat marks are not words
    assert "lyrics" in fit_to_catalog(run_of(tmp_path, preset("demo"), lyrics=sung)).config.models
    assert (
        "lyrics"
        not in fit_to_catalog(run_of(tmp_path, preset("demo"), lyrics=only_trained)).config.models
    )


def test_a_branch_of_two_columns_needs_both(tmp_path: Path) -> None:
    everything = {"year": [1800] * 6, "artwork": ["x.png"] * 6, "lyrics": ["la"] * 6}
    placed = run_of(
        tmp_path, preset("demo"), **everything, latitude=[1.0, 2.0, 3.0], longitude=[1.0, 2.0, 3.0]
    )
    assert fit_to_catalog(placed).config == preset("demo")
    half = run_of(tmp_path, preset("demo"), **everything, latitude=[1.0, 2.0, 3.0])
    assert "location" not in fit_to_catalog(half).config.ensemble.branches


def test_a_run_that_needs_every_input_is_not_fitted(tmp_path: Path) -> None:
    demo = preset("demo")
    strict = dataclasses.replace(
        demo, ensemble=dataclasses.replace(demo.ensemble, modality_dropout=0.0)
    )
    assert fit_to_catalog(run_of(tmp_path, strict)).config == strict


@pytest.mark.parametrize(
    ("model", "change", "message"),
    [
        (
            "mel.freq",
            {"pool": (4, 4)},
            "models.mel.freq (sizes, pool): a valid kernel of 9 does not fit an axis of 8",
        ),
        (
            "lyrics",
            {"sizes": {"hiden": [8]}},
            "models.lyrics (sizes, pool): 'lyrics' has no size 'hiden'",
        ),
    ],
)
def test_a_size_that_does_not_fit_is_reported_early(model: str, change: dict, message: str) -> None:
    demo = preset("demo")
    check_sizes(demo)
    changed = dataclasses.replace(
        demo, models=demo.models | {model: dataclasses.replace(demo.models[model], **change)}
    )
    with pytest.raises(ConfigError) as caught:
        check_sizes(changed)
    assert str(caught.value).startswith(message)


def test_an_unknown_submodel_is_reported_with_a_suggestion() -> None:
    check_names(preset("demo"), ["mel.time", "lyrics"])
    with pytest.raises(ConfigError, match=r"--submodels mel\.tine: .* no such model.*mel\.time"):
        check_names(preset("demo"), ["mel.time", "mel.tine"])
