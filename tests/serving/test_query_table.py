"""Blocks of queries, without Ray: every query is in the answers or in the errors."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from musicrec import schema
from musicrec.artists.ranking import POPULARITY, VOTES, Ranking, relation_matrix
from musicrec.audio import AudioError, decode, extract_features
from musicrec.extraction.index import INDEX, build_index
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import outstanding
from musicrec.features.columns import AudioReader
from musicrec.features.lyrics import Vocabulary
from musicrec.features.vectors import compute_vector, vector_length
from musicrec.features.wide_statistics import wide_statistics
from musicrec.serving.folder import of_folder
from musicrec.serving.query_table import (
    ANSWERS,
    AnswerBlocks,
    Answerer,
    with_places,
    write_queries,
)
from musicrec.serving.recommender import (
    ARTISTS,
    ENSEMBLE,
    Features,
    MissingInput,
    Query,
    Recommender,
)
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.store import Store

OUTPUTS = 8
ARTIST_IDS = [f"artist-{number}" for number in range(5)]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    """Return two small submodels and an ensemble with random weights."""
    torch.manual_seed(0)
    words = Vocabulary(("one", "two", "three"), (0.5, 0.3, 0.2), cut=False)
    sizes = {"hidden": [8, 8, 8]}
    submodels = {
        "mfcc.large_rnn": SubmodelSpec(
            "mfcc.large_rnn", "large_rnn", OUTPUTS, "mfcc", sizes, pool=(1, 8)
        ),
        "lyrics": SubmodelSpec(
            "lyrics", "lyrics", OUTPUTS, sizes={"embedding_size": 8, **sizes}, vocabulary=words
        ),
    }
    head = {"branch_hidden": 16, "branch_outputs": 8, "location_hidden": 8, "head": [16]}
    ranges = {"year": (1600.0, 2000.0), "latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0)}
    ensemble = EnsembleSpec(
        OUTPUTS, ("mfcc", "lyrics", "location", "year"), head, ranges, needs_all=False
    )
    models = {name: spec.build() for name, spec in {**submodels, ENSEMBLE: ensemble}.items()}
    vectors = (
        np.random.default_rng(0).standard_normal((len(ARTIST_IDS), OUTPUTS)).astype(np.float32)
    )
    artists = schema.conform(
        pa.table({"artist_id": ARTIST_IDS, "vector": list(vectors)}), ARTISTS, "artists"
    )
    return Recommender(ensemble, submodels, models, artists, "librosa")


def sound(number: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(number).standard_normal(2 * 22050)
    soundfile.write(
        stream,
        0.1 * np.sin(np.arange(2 * 22050) * (0.05 + 0.02 * number)) + 0.01 * noise,
        22050,
        format="FLAC",
    )
    return stream.getvalue()


def test_a_batch_gets_the_same_answers_as_single_queries(recommender: Recommender) -> None:
    queries = [
        Query(audio=sound(0), lyrics="one two", year=1800),
        Query(audio=sound(1)),
        Query(audio=b"no music", year=1800),
        Query(lyrics="three two one one", latitude=50, longitude=10),
        Query(lyrics="unheard"),
        Query(lyrics="two one"),
        Query(year=1700),
    ]
    vectors, failures = recommender.embed_many(queries, threads=2)
    assert [type(failure) for failure in failures] == [type(None)] * 2 + [
        AudioError,
        type(None),
        MissingInput,
    ] + [type(None)] * 2
    for query, vector, failure in zip(queries, vectors, failures, strict=True):
        if failure is None:
            np.testing.assert_allclose(recommender.embed(query), vector, atol=1e-5)
        else:
            assert not vector.any()
            with pytest.raises(type(failure)):
                recommender.embed(query)
    assert (
        len({tuple(vector) for vector in vectors}) == 6
    )  # five answers, and the zeros of the other two


def test_a_longer_recording_gets_the_mean_over_its_windows(
    recommender: Recommender,
) -> None:
    class Heard(torch.nn.Module):
        """An ensemble whose output is that of one submodel."""

        def forward(
            self, vectors: dict[str, torch.Tensor], present: dict[str, torch.Tensor]
        ) -> torch.Tensor:
            return vectors["mfcc.large_rnn"]

    minutes = [np.tile(decode(sound(number), minimum_seconds=1.0).samples, 15) for number in (0, 1)]
    stream = io.BytesIO()
    soundfile.write(stream, np.concatenate(minutes), 22050, format="FLAC", subtype="PCM_24")
    query = Query(audio=stream.getvalue(), lyrics="one")
    listening = copy.copy(recommender)
    listening.models = {**recommender.models, ENSEMBLE: Heard()}
    features: list[Features | None] = [
        {"mfcc": (extract_features(half, ("mfcc",))["mfcc"], None)} for half in minutes
    ]
    halves, _ = listening.embed_many([Query(), Query()], features)
    assert np.abs(halves[0] - halves[1]).max() > 1e-3
    np.testing.assert_allclose(
        listening.embed(query), halves[0], atol=1e-4
    )  # the first 30 s, as the thesis
    listening.segments = 2
    spread, failures = listening.embed_many([query, Query(audio=sound(2))])
    assert failures == [None, None]
    np.testing.assert_allclose(spread[0], halves.mean(axis=0), atol=1e-4)
    listening.segments = 1
    np.testing.assert_allclose(spread[1], listening.embed(Query(audio=sound(2))), atol=1e-5)


def test_given_features_replace_the_audio(recommender: Recommender) -> None:
    feature = extract_features(decode(sound(0), minimum_seconds=1.0).samples, ("mfcc",))["mfcc"]
    given, failures = recommender.embed_many(
        [Query(audio="nowhere.mp3"), Query(audio=sound(1))], [{"mfcc": (feature, None)}, None]
    )
    assert failures == [None, None]
    np.testing.assert_allclose(
        given, recommender.embed_many([Query(audio=sound(0)), Query(audio=sound(1))])[0], atol=1e-6
    )


def test_a_query_gets_its_vector_by_the_function_that_training_used(
    recommender: Recommender,
) -> None:
    length = vector_length("statistics", ("chroma", "mfcc"))
    spec = SubmodelSpec(
        *("statistics", "mlp", OUTPUTS, "statistics", {"hidden": [4]}),
        standardise="per_feature_bin",
        bins=((-1.0,) * length, (3.0,) * length),
        computed_from=("chroma", "mfcc"),
    )
    spec = SubmodelSpec.from_json(json.loads(json.dumps(spec.as_json())))
    ensemble = EnsembleSpec(
        *(OUTPUTS, ("statistics", "year"), {"branch_hidden": 4, "branch_outputs": 4, "head": [8]}),
        {"year": (1600.0, 2000.0)},
        needs_all=False,
    )
    torch.manual_seed(1)
    models = {"statistics": spec.build(), ENSEMBLE: ensemble.build()}
    artists = recommender.artists.append_column("vector", pa.array(list(recommender.table)))
    by_statistics = Recommender(ensemble, {"statistics": spec}, models, artists, "librosa")
    assert by_statistics.features == ["chroma", "mfcc"]
    features = extract_features(decode(sound(0), minimum_seconds=1.0).samples, ("chroma", "mfcc"))
    inputs = spec.prepare(compute_vector("statistics", features))
    np.testing.assert_allclose(
        inputs, (wide_statistics(features)[:, None] + 1) / 3, rtol=1e-5, atol=1e-5
    )
    with torch.no_grad():
        output = models["statistics"].eval()(torch.from_numpy(inputs)[None, None])
        inputs_of_head = {"statistics": output, "year": torch.zeros(1)}
        expected = models[ENSEMBLE](inputs_of_head, {"year": torch.zeros(1)}).numpy()
    stored: Features = {name: (feature, None) for name, feature in features.items()}
    embedded, failures = by_statistics.embed_many([Query(audio=sound(0)), Query()], [None, stored])
    assert failures == [None, None]
    np.testing.assert_allclose(embedded, np.repeat(expected, 2, axis=0), atol=1e-4)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Write five clips into two folders, a broken file and a text."""
    for number in range(5):
        path = tmp_path / "music" / f"disc {number % 2}" / f"{number}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound(number))
    (tmp_path / "music" / "broken.OGG").write_bytes(b"")
    (tmp_path / "music" / "notes.txt").write_text("no query")
    return tmp_path / "music"


def answer(
    recommender: Recommender,
    out: Store,
    queries: pa.Table,
    neighbours: int = 3,
    rows_per_block: int = 2,
    popularity: bool = True,
) -> AnswerBlocks:
    write_queries(out, queries, rows_per_block)
    blocks = AnswerBlocks(out, "blocks")
    plan = blocks.extend(queries.select(["item", "uri"]), [ANSWERS], rows_per_block)
    for block in outstanding(blocks, plan).column("block").to_pylist():
        blocks.commit(
            block,
            Answerer(recommender, out, neighbours=neighbours, popularity=popularity)(
                plan.filter(pa.compute.equal(plan.column("block"), block))
            ),
        )
    return blocks


def answers(out: Store) -> list[dict]:
    return [
        row
        for name in out.names(ANSWERS)
        for row in out.read_table(f"{ANSWERS}/{name}", schema.RECOMMENDATIONS).to_pylist()
    ]


def test_every_query_is_in_the_answers_or_in_the_errors(
    recommender: Recommender, music: Path, store_root: str
) -> None:
    queries, out = of_folder(str(music))[0], Store(store_root)
    assert queries.num_rows == 6
    outcomes = answer(recommender, out, queries).outcomes()
    (failed,) = outcomes.filter(outcomes.column("reason").is_valid()).to_pylist()
    assert (failed["item"], failed["reason"]) == (str(music / "broken.OGG"), "empty")
    rows = answers(out)
    good = [name for name in queries.column("item").to_pylist() if name != failed["item"]]
    assert [(row["query"], row["rank"]) for row in rows] == [
        (name, rank) for name in good for rank in (1, 2, 3)
    ]
    for start in range(0, len(rows), 3):
        expected = recommender.recommend(Query(audio=rows[start]["query"]), 3)
        assert [row["artist_id"] for row in rows[start : start + 3]] == [
            ARTIST_IDS[row] for row in expected.artists
        ]
        np.testing.assert_allclose(
            [row["similarity"] for row in rows[start : start + 3]], expected.similarity, atol=1e-5
        )


def test_more_neighbours_than_artists_are_all_artists(
    recommender: Recommender, music: Path, tmp_path: Path
) -> None:
    out = Store(str(tmp_path / "out"))
    answer(recommender, out, of_folder(str(music))[0], neighbours=50)
    assert {row["rank"] for row in answers(out)} == {1, 2, 3, 4, 5}


def test_rows_of_a_block_may_be_read_one_by_one(
    recommender: Recommender, music: Path, tmp_path: Path
) -> None:
    """A block that killed its worker is read row by row."""
    queries, out = of_folder(str(music))[0], Store(str(tmp_path / "out"))
    whole = answer(recommender, out, queries, rows_per_block=3)
    before, plan = answers(out), whole.manifest().slice(3, 3)
    single = [Answerer(recommender, out, neighbours=3)(plan.slice(row, 1)) for row in range(3)]
    whole.commit("0000-000001", pa.concat_tables(single))
    after = answers(out)
    assert [(row["query"], row["artist_id"]) for row in after] == [
        (row["query"], row["artist_id"]) for row in before
    ]


def test_stored_features_are_used_if_complete(
    recommender: Recommender, music: Path, tmp_path: Path
) -> None:
    queries, store = of_folder(str(music))[0], Store(str(tmp_path / "store"))
    features, reader = Blocks(store, "features/key"), AudioReader("float16", "librosa", 1.0)
    items = queries.select(["item", "uri"]).slice(0, 4)
    for block in dict.fromkeys(
        (plan := features.extend(items, ["mfcc"], 3)).column("block").to_pylist()
    ):
        features.commit(block, reader(plan.filter(pa.compute.equal(plan.column("block"), block))))
    index, _ = build_index(features, items, ("mfcc",), "extract")
    placed = with_places(queries, index, recommender.features)
    assert [place is None for place in placed.column("mfcc").to_pylist()] == [
        name not in index.column("track_id").to_pylist()
        for name in queries.column("item").to_pylist()
    ]
    outs = Store(str(tmp_path / "stored")), Store(str(tmp_path / "decoded"))
    answer(recommender, outs[1], queries)
    for path in items.column("item").to_pylist():
        Path(path).unlink()  # stored features are enough
    answer(recommender, outs[0], placed)
    stored, decoded = answers(outs[0]), answers(outs[1])
    assert [row["query"] for row in stored] == [row["query"] for row in decoded]
    np.testing.assert_allclose(
        [row["similarity"] for row in stored], [row["similarity"] for row in decoded], atol=2e-2
    )
    assert with_places(queries, INDEX.empty_table(), ["mfcc"]).column("mfcc").null_count == 6


def test_the_answers_have_the_share_of_popularity_which_can_be_switched_off(
    recommender: Recommender, music: Path, store_root: str
) -> None:
    ranked = copy.copy(recommender)
    pairs = np.array([range(5), [3] * 5])  # all name the fourth artist
    ranked.ranking = Ranking(
        {VOTES: 0.5, POPULARITY: 50.0},
        1,
        ranked.table[:1],
        np.array([0]),
        relation_matrix(pairs, 5),
    )
    queries = of_folder(str(music))[0]
    answer(ranked, Store(f"{store_root}/on"), queries)
    answer(ranked, Store(f"{store_root}/off"), queries, popularity=False)
    on, off = answers(Store(f"{store_root}/on")), answers(Store(f"{store_root}/off"))
    assert {row["artist_id"] for row in on if row["rank"] == 1} == {"artist-3"}
    assert all(row["prior"] > 0.8 for row in on if row["rank"] == 1)
    assert not any(row["prior"] for row in off)
    one = ranked.recommend(Query(audio=off[0]["query"]), 3, popularity=False)
    assert [row["artist_id"] for row in off[:3]] == [ARTIST_IDS[row] for row in one.artists]
