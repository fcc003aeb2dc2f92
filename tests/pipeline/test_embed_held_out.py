"""Embeddings chosen by held-out relations through the stage: trials, record, interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicrec import schema
from musicrec.benchmarks.planted import planted_graph
from musicrec.config.jobs import Config
from musicrec.config.sections import EmbedSettings
from musicrec.pipeline.base import Outcome
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.embed import TABLE, embed
from musicrec.pipeline.held_out import TRIALS, describe
from musicrec.storage.store import Store

SETTINGS = {
    "dimensions": 16,
    "artists_per_step": (64,),
    "maximum_passes": 4,
    "neighbourhood": 40,
    "temperatures": (0.1, 5.0),
}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write(folder, 200)
    return folder


def write(folder: Path, artists: int) -> None:
    """Write the first ``artists`` of 210 planted ones, a track each, and their relations."""
    planted = planted_graph(210, 8, clusters=8, wrong=0.1)
    known = set(planted.artist_ids[:artists])
    rows = zip(planted.artist_id, planted.related_artist_id, planted.rank, strict=True)
    related = [f"{a},{b},{rank}" for a, b, rank in rows if {a, b} <= known]
    tracks = [f"{artist},{artist},{artist}.mp3" for artist in sorted(known)]
    for name, header, lines in (
        ("tracks", "track_id,artist_id,audio", tracks),
        ("related", "artist_id,related_artist_id,rank", related),
    ):
        (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")


def embedded(catalog: Path, store: Path, **settings: Any) -> Outcome:
    section = EmbedSettings(**SETTINGS | settings)
    return embed(open_run(Config(store=str(store), catalog=str(catalog), embed=section)))


def vectors(outcome: Outcome) -> np.ndarray:
    table = outcome.stage.store.read_table(outcome.stage.path(TABLE), schema.EMBEDDINGS)
    return np.stack(table.column("vector").to_numpy())


@pytest.fixture(scope="module")
def chosen(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return embedded(catalog, tmp_path_factory.mktemp("store"))


def test_the_temperature_that_finds_most_trains_on_all_relations(chosen: Outcome) -> None:
    record = chosen.record
    facts = record["held_out"]
    assert (facts["by"], facts["share"]) == ("edge", 0.1)
    assert 40 < facts["relations"] < 250
    assert [trial["temperature"] for trial in facts["trials"]] == [0.1, 5.0]
    best = max(facts["trials"], key=lambda trial: trial["ndcg"])
    assert best["temperature"] == facts["chosen"]["temperature"] == 0.1
    assert facts["ndcg"] == best["ndcg"] > facts["trials"][1]["ndcg"] + 0.02
    assert list(facts["baselines"]) == ["common neighbours", "Adamic-Adar", "PageRank"]
    assert record["passes"] == sum(count for _, count in best["passes"])
    assert record["jaccard"] > record["jaccard_chance"]
    line = describe(facts)
    assert line.startswith(f"NDCG@200 of held-out relations {facts['ndcg']:.3f} (common neighbours")
    json.dumps(record, allow_nan=False)


def test_an_interrupted_choice_repeats_no_trial(
    catalog: Path, tmp_path: Path, chosen: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from musicrec.artists import selection

    settings, run_trial, ran = [], selection.run_trial, []

    def interrupted(seen: Any, held: Any, trial: Any, *rest: Any) -> Any:
        settings.append(trial.temperature)
        if len(settings) == 2:
            raise KeyboardInterrupt
        return run_trial(seen, held, trial, *rest)

    monkeypatch.setattr(selection, "run_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embedded(catalog, tmp_path)
    monkeypatch.setattr(
        selection,
        "run_trial",
        lambda seen, held, trial, *rest: (
            ran.append(trial.temperature) or run_trial(seen, held, trial, *rest)
        ),
    )
    outcome = embedded(catalog, tmp_path)
    assert ran == [5.0]
    np.testing.assert_array_equal(vectors(outcome), vectors(chosen))
    assert not [
        name for name in outcome.stage.store.names(outcome.stage.folder) if "trial-" in name
    ]
    assert len(outcome.stage.store.read_json(outcome.stage.path(TRIALS))["trials"]) == 2


def test_a_damaged_list_of_trials_is_made_again(
    catalog: Path, tmp_path: Path, chosen: Outcome
) -> None:
    Store(str(tmp_path)).write(chosen.stage.path(TRIALS), b"{")
    outcome = embedded(catalog, tmp_path)
    assert len(outcome.record["held_out"]["trials"]) == 2
    np.testing.assert_array_equal(vectors(outcome), vectors(chosen))


def test_a_grown_catalog_keeps_the_choice_and_says_where_it_was_measured(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    folder.mkdir()
    write(folder, 200)
    first = embedded(folder, tmp_path / "store")
    write(folder, 210)
    second = embedded(folder, tmp_path / "store")
    assert second.record["started_from"] == first.stage.key
    facts = second.record["held_out"]
    assert facts == first.record["held_out"] | {"measured_on": first.stage.key}
    assert second.record["passes"] == first.record["passes"]


def test_the_thesis_objective_is_measured_and_its_vectors_stay_the_same(
    catalog: Path, tmp_path: Path
) -> None:
    thesis = {
        "objective": "thesis",
        "select_by": "jaccard",
        "neighbourhood": 400,
        "temperatures": EmbedSettings().temperatures,
    }
    measured = embedded(catalog, tmp_path / "measured", **thesis)
    without = embedded(catalog, tmp_path / "without", held_out=0, **thesis)
    assert measured.record["held_out"]["chosen"] is None
    assert 0 < measured.record["held_out"]["ndcg"] < 1
    assert without.record["held_out"] is None
    np.testing.assert_array_equal(vectors(measured), vectors(without))


def test_a_catalog_with_too_few_relations_is_embedded_without_a_choice(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text(
        "track_id,artist_id,audio\n1,a,1.mp3\n2,b,2.mp3\n3,c,3.mp3\n"
    )
    (tmp_path / "related.csv").write_text("artist_id,related_artist_id,rank\na,b,1\n")
    outcome = embedded(tmp_path, tmp_path / "store")
    assert outcome.record["held_out"] is None
    assert outcome.record["passes"] == SETTINGS["maximum_passes"]


def test_another_share_is_another_key(catalog: Path, tmp_path: Path, chosen: Outcome) -> None:
    other = embedded(catalog, tmp_path, held_out_by="artist", held_out=0.4)
    assert other.stage.key != chosen.stage.key
    assert other.record["held_out"]["by"] == "artist"
