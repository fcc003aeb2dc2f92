"""Extraction with torch (``extract.device``): through Ray's actors, and refused without a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from small_catalog import UserCatalog
from small_run import tiny_config

from musicrec.config.errors import UserError
from musicrec.config.jobs import Config
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import Actors, run_blocks
from musicrec.features.columns import AudioReader
from musicrec.features.reader import decode_feature, read_stored
from musicrec.features.torch_reader import TorchAudioReader
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import audio_blocks, extract
from musicrec.storage.store import Store

RECORDINGS = Path(__file__).parents[1] / "data" / "audio"
SETTINGS = ("float16", "librosa", 0.5)
NAMES = [f"chord.{kind}" for kind in ("mp3", "wav", "ogg")] + ["music.flac", "none.flac"]


@pytest.fixture
def config(catalog_of_users: UserCatalog, tmp_path: Path) -> Config:
    catalog = str(tmp_path / "catalog")
    catalog_of_users.of_artists("organ-0", "organ-3", "fiddle-0", "fiddle-2").write(catalog)
    return tiny_config(str(tmp_path / "store"), catalog)


def on_cuda(config: Config) -> Config:
    return dataclasses.replace(config, extract=dataclasses.replace(config.extract, device="cuda"))


def test_actors_commit_what_the_kernels_compute(ray_session: None, tmp_path: Path) -> None:
    blocks = Blocks(Store(str(tmp_path)), "features/key")
    items = pa.table({"item": NAMES, "uri": [str(RECORDINGS / name) for name in NAMES]})
    manifest = blocks.extend(items, ["mel"], rows_per_block=2)
    counts = run_blocks(
        blocks,
        manifest,
        TorchAudioReader(*SETTINGS, device="cpu", threads=2),
        "extract",
        maximum_failed_share=0.5,
        actors=Actors(count=1, cpus=1, gpus=0),
    )
    assert (counts["rows"], counts["errors"]) == (5, 1)
    outcomes = blocks.outcomes()
    assert outcomes.column("item").to_pylist() == NAMES
    parts = blocks.part_uris(outcomes.column("block")).to_pylist()
    stored = read_stored(list(zip(parts, outcomes.column("row").to_pylist(), strict=True)), "mel")
    expected = decode_feature(AudioReader(*SETTINGS)(manifest), "mel")
    assert [value is None for value in stored] == [False] * 4 + [True]
    for value, kernels in zip(stored[:4], expected[:4], strict=True):
        np.testing.assert_allclose(value[0], kernels[0], atol=0.12)


def test_cuda_has_blocks_of_its_own(config: Config) -> None:
    folders = [audio_blocks(open_run(each))[0].folder for each in (config, on_cuda(config))]
    assert folders[0] != folders[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused_before_any_work(ray_session: None, config: Config) -> None:
    run = open_run(on_cuda(config))
    with pytest.raises(UserError, match=r"extract\.device is cuda, but no node .* set .* to cpu"):
        extract(run)
    assert audio_blocks(run)[0].manifest_names() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_computes_what_the_kernels_compute() -> None:
    rows = pa.table(
        {
            "block": ["0"] * 4,
            "item": NAMES[:4],
            "uri": [str(RECORDINGS / name) for name in NAMES[:4]],
            "columns": [["stft", "mel", "cqt", "mfcc"]] * 4,
        }
    )
    read = TorchAudioReader(*SETTINGS, device="cuda", threads=4)(rows)
    kernels = AudioReader(*SETTINGS)(rows)
    for name in ("stft", "mel", "cqt", "mfcc"):
        pairs = zip(decode_feature(read, name), decode_feature(kernels, name), strict=True)
        for value, expected in pairs:
            np.testing.assert_allclose(value[0], expected[0], atol=0.17, err_msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cluster_with_a_gpu_extracts_on_it(ray_session: None, config: Config) -> None:
    outcome = extract(open_run(on_cuda(config)))
    assert outcome.record["rows_out"] == outcome.record["rows_in"] > 0
