from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from musicrec.audio import FEATURE_SHAPES
from musicrec.config.sections import ExtractSettings, SubmodelSettings
from musicrec.extraction.manifest import OUTCOME_FIELDS, ROW_GROUP_ROWS, Blocks
from musicrec.features import codec
from musicrec.features.artwork import ArtworkReader, load_artwork
from musicrec.features.columns import HALVED_STATISTICS, halve
from musicrec.features.lyrics import build_vocabulary
from musicrec.features.standardise import standardise
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.checksums import VerifiedParquet
from musicrec.storage.store import Store
from musicrec.training.inputs import ArtworkRows, FeatureRows, LyricsRows, StoredRows, pictures

CHROMA = SubmodelSpec("chroma.large_rnn", "large_rnn", 8, feature="chroma", standardise="none")
GROUP_BYTES = ROW_GROUP_ROWS * 4 * 12 * 643


def chroma(track: int) -> np.ndarray:
    """Return a chroma of which every value identifies its track."""
    return np.full(FEATURE_SHAPES["chroma"], track / 8, np.float32)


def part_uri(blocks: Blocks, block: str) -> str:
    return blocks.store.uri(f"{blocks.folder}/parts/{block}.parquet")


def written(
    root: str, tracks: int = 20, rows_per_block: int = 10, failed: tuple[int, ...] = ()
) -> tuple[Blocks, list[str], np.ndarray]:
    """Parts with the chroma of each track, and where each track lies."""
    blocks = Blocks(Store(root), "features/key")
    names = [str(track) for track in range(tracks)]
    plan = blocks.extend(pa.table({"item": names, "uri": names}), ["chroma"], rows_per_block)
    schema = pa.schema(
        [
            ("track_id", pa.string()),
            codec.field("chroma", FEATURE_SHAPES["chroma"], "float16"),
            *OUTCOME_FIELDS,
        ]
    )
    for block in dict.fromkeys(plan.column("block").to_pylist()):
        members = [int(row["item"]) for row in plan.to_pylist() if row["block"] == block]
        rows = [
            {"track_id": str(track), "reason": "truncated"}
            if track in failed
            else {"track_id": str(track), "chroma": codec.encode(chroma(track), "float16")}
            for track in members
        ]
        blocks.commit(block, pa.Table.from_pylist(rows, schema=schema))
    outcomes = blocks.outcomes()
    return (
        blocks,
        [part_uri(blocks, block) for block in outcomes.column("block").to_pylist()],
        outcomes.column("row").to_numpy(),
    )


class Counted(FeatureRows):
    """Counts the row groups that are read."""

    reads = 0

    def prepared(self, table: pa.Table) -> list[np.ndarray | None]:
        self.reads += 1
        return super().prepared(table)


def tracks_read(rows: StoredRows, wanted: list[int]) -> list[int]:
    (batch,) = rows.read(np.array(wanted), None)
    assert batch.shape[:2] == (len(wanted), 1)
    assert batch.dtype == torch.float32
    return (batch.mean(dim=(1, 2, 3)) * 8).round().int().tolist()


def test_the_right_row_is_read_for_each_place(store_root: str) -> None:
    _, parts, places = written(store_root)
    rows = FeatureRows(CHROMA, parts, places, cache_bytes=1e9)
    order = np.random.default_rng(0).permutation(20).tolist()
    assert tracks_read(rows, order) == order
    assert tracks_read(rows, [19, 0, 19]) == [19, 0, 19]


def test_examples_need_not_be_all_rows_of_a_part(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path))
    kept = [3, 17, 9, 12]
    rows = FeatureRows(CHROMA, [parts[track] for track in kept], places[kept], cache_bytes=1e9)
    assert tracks_read(rows, [0, 1, 2, 3]) == kept


def test_failed_rows_beside_them_do_not_shift_the_good_ones(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path), failed=(0, 4, 11))
    rows = FeatureRows(CHROMA, parts, places, cache_bytes=1e9)
    assert tracks_read(rows, [1, 3, 5, 10, 12]) == [1, 3, 5, 10, 12]


def test_rows_that_are_stored_together_are_one_group(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path))
    rows = FeatureRows(CHROMA, parts, places, cache_bytes=1e9)
    groups = [group.tolist() for group in rows.groups(np.array([15, 1, 9, 0, 18, 8]))]
    assert groups == [
        [15],
        [1, 0],
        [9, 8],
        [18],
    ]  # row groups of 8 in parts of 10: 0-7, 8-9, 10-17, 18-19


def test_a_row_group_is_read_once_where_it_fits(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path))
    rows = Counted(CHROMA, parts, places, cache_bytes=4 * GROUP_BYTES)
    for _ in range(3):
        tracks_read(rows, list(range(20)))
    assert rows.window() == 4
    assert rows.reads == 4


@pytest.mark.parametrize(
    ("cache_bytes", "capacity"), [(0, 2), (2 * GROUP_BYTES, 2), (3 * GROUP_BYTES, 3)]
)
def test_no_more_is_kept_than_the_memory_allows(
    tmp_path: Path, cache_bytes: float, capacity: int
) -> None:
    _, parts, places = written(str(tmp_path), tracks=60)
    rows = Counted(CHROMA, parts, places, cache_bytes)
    for track in np.random.default_rng(0).permutation(60).tolist():
        assert tracks_read(rows, [track]) == [track]
        held = sum(array.nbytes for group in rows._cache.values() for array in group)
        assert held <= capacity * GROUP_BYTES
    assert rows.window() == capacity
    assert rows.reads > 12  # six parts of two groups


def test_an_epoch_in_windows_reads_each_group_once(tmp_path: Path) -> None:
    from musicrec.training.batching import batches, epoch_order

    _, parts, places = written(str(tmp_path), tracks=60)
    rows = Counted(CHROMA, parts, places, cache_bytes=3 * GROUP_BYTES)
    order = epoch_order(rows.groups(np.arange(60)), seed=0, epoch=0, window=rows.window())
    for batch in batches(order, 4, 0, 1):
        rows.read(batch, None)
    assert (
        rows.reads <= 12 + 4 * 2
    )  # twelve groups; a batch over the edge of two of the four windows may bring one or two back


def test_the_least_recently_used_group_is_given_up(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path))
    rows = Counted(CHROMA, parts, places, cache_bytes=2 * GROUP_BYTES)
    for track in (0, 8, 1, 10, 2):  # groups a, b, a, c, a
        tracks_read(rows, [track])
    assert rows.reads == 3
    tracks_read(rows, [9])
    assert rows.reads == 4


def test_inputs_are_prepared_as_the_model_was_told(tmp_path: Path) -> None:
    blocks = Blocks(Store(str(tmp_path)), "features/key")
    values = np.random.default_rng(0).uniform(-80, 0, FEATURE_SHAPES["cqt"]).astype(np.float32)
    schema = pa.schema([("track_id", pa.string()), codec.field("cqt", values.shape, "float16")])
    blocks.commit(
        "0000-000000",
        pa.table({"track_id": ["a"], "cqt": [codec.encode(values, "float16")]}, schema=schema),
    )
    spec = SubmodelSpec("cqt.time", "time", 8, feature="cqt", pool=(2, 4))
    (batch,) = FeatureRows(spec, [part_uri(blocks, "0000-000000")], np.array([0]), 1e9).read(
        np.array([0]), None
    )
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    pooled = np.stack(
        [standard[:, frame : frame + 4].mean(axis=1) for frame in range(0, 640, 4)], axis=1
    )
    np.testing.assert_allclose(batch[0, 0], (pooled[::2] + pooled[1::2]) / 2, atol=2e-3)


def test_bins_are_standardised_by_the_numbers_of_the_specification(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path), tracks=4)
    mean, deviation = np.arange(12, dtype=np.float32) / 8, np.arange(1, 13, dtype=np.float32)
    settings = SubmodelSettings(
        architecture="large_rnn", feature="chroma", standardise="per_feature_bin", pool=(1, 4)
    )
    spec = SubmodelSpec.from_settings(
        "chroma.large_rnn", settings, 8, ExtractSettings(), bins=(mean, deviation)
    )
    assert SubmodelSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
    (batch,) = FeatureRows(spec, parts, places, cache_bytes=1e9).read(np.array([3]), None)
    np.testing.assert_allclose(
        batch[0, 0], np.repeat((3 / 8 - mean) / deviation, 160).reshape(12, 160), rtol=1e-5
    )


@pytest.mark.parametrize("how", ["per_frame", "per_clip", "none"])
def test_the_halved_transform_is_the_same_from_the_whole_and_alone(
    tmp_path: Path, how: str
) -> None:
    stft = np.random.default_rng(0).uniform(-80, 0, FEATURE_SHAPES["stft"]).astype(np.float32)
    stft[1024:] -= 40  # the upper half differs, so that halving before standardising would show
    halved, statistics = halve(stft)
    stored = {
        name: [values.astype("<f4").tobytes()]
        for name, values in zip(HALVED_STATISTICS, statistics, strict=True)
    }
    columns = {
        "whole": {"stft": [codec.encode(stft, "float16")]},
        "alone": {"stft_halved": [codec.encode(halved, "float16")]} | stored,
    }
    fields = {
        "whole": [codec.field("stft", stft.shape, "float16")],
        "alone": [
            codec.field("stft_halved", halved.shape, "float16"),
            *((name, pa.large_binary()) for name in HALVED_STATISTICS),
        ],
    }
    spec = SubmodelSpec("stft_halved.time", "time", 8, feature="stft_halved", standardise=how)
    read = {}
    for name, cells in columns.items():
        blocks = Blocks(Store(str(tmp_path)), name)
        blocks.commit("0000-000000", pa.table(cells, schema=pa.schema(fields[name])))
        (read[name],) = FeatureRows(
            spec, [part_uri(blocks, "0000-000000")], np.array([0]), 1e9
        ).read(np.array([0]), None)
    assert read["whole"].shape == (1, 1, *FEATURE_SHAPES["stft_halved"])
    np.testing.assert_allclose(read["whole"], read["alone"], atol=2e-3)
    if how == "per_frame":
        np.testing.assert_allclose(read["alone"][0, 0], standardise(stft)[:1024], atol=2e-3)


def test_only_the_models_own_column_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parts, places = written(str(tmp_path))
    asked: list[list[str]] = []
    read_row_group = VerifiedParquet.read_row_group

    def watched(self: VerifiedParquet, number: int, columns: list[str]) -> pa.Table:
        asked.append(columns)
        return read_row_group(self, number, columns)

    monkeypatch.setattr(VerifiedParquet, "read_row_group", watched)
    tracks_read(FeatureRows(CHROMA, parts, places, 1e9), [0])
    assert asked == [["chroma"]]


def test_masks_are_drawn_in_training_only_and_never_kept(tmp_path: Path) -> None:
    _, parts, places = written(str(tmp_path))
    rows = FeatureRows(CHROMA, parts, places, 1e9, masks=(0.5, 0.5))
    wanted = np.arange(8, 16)
    drawn = [rows.read(wanted, np.random.default_rng(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert all((values == 0).any() for values in drawn)
    assert tracks_read(rows, wanted.tolist()) == wanted.tolist()


def test_pictures_are_read_in_the_range_and_axes_of_the_model(tmp_path: Path) -> None:
    for track in range(10):
        Image.new("RGB", (40, 40), (track, 100, 255)).save(tmp_path / f"{track}.png")
    uris = [str(tmp_path / f"{track}.png") for track in range(10)]
    blocks = Blocks(Store(str(tmp_path / "store")), "artwork/key")
    plan = blocks.extend(pa.table({"item": uris, "uri": uris}), ["artwork"], 10)
    blocks.commit("0000-000000", ArtworkReader(32)(plan))
    rows = ArtworkRows("artwork", 32, [part_uri(blocks, "0000-000000")] * 10, np.arange(10), 1e9)
    (batch,) = rows.read(np.array([9, 2]), None)
    assert batch.shape == (2, 3, 32, 32)
    assert batch.is_contiguous()
    np.testing.assert_allclose(
        batch[:, :, 0, 0], np.array([[9, 100, 255], [2, 100, 255]]) / 255, atol=1e-6
    )
    torch.testing.assert_close(batch[0], pictures(load_artwork(uris[9], 32)[None])[0])


def test_lyrics_are_thinned_out_in_training_only() -> None:
    texts = ["the " * 500 + "moon", "moon over the sea", "never heard words"]
    vocabulary = build_vocabulary(texts[:2])
    rows = LyricsRows(vocabulary, texts)
    assert [group.tolist() for group in rows.groups(np.array([1, 0]))] == [[1, 0]]
    (whole,) = rows.read(np.array([0, 1]), None)
    assert whole.shape == (2, 501)
    assert whole.dtype == torch.int64
    assert whole[1, :-4].tolist() == [0] * 497
    (thinned,) = rows.read(np.array([0, 1]), np.random.default_rng(0))
    assert thinned.shape[1] < 100
    again = rows.read(np.array([0, 1]), np.random.default_rng(1))[0]
    assert thinned.shape != again.shape or not torch.equal(thinned, again)
    assert rows.read(np.array([2]), None)[0].tolist() == [[0]]
