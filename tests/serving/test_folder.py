"""Folders of queries: which files are audio, and what is reported of the others."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from musicrec.audio import decode
from musicrec.config.jobs import RecommendConfig
from musicrec.config.load import ConfigError, parse
from musicrec.pipeline import recommend
from musicrec.serving.folder import HEAD_BYTES, left_out_sentence, looks_like_audio, of_folder
from musicrec.storage.store import Store

NOISE = np.random.default_rng(0).standard_normal(22050) * 0.1
# The content is what libsndfile writes for the format.
FILES = {
    "a.mp3": "MP3",
    "b.mp2": "MP3",
    "no_ending": "MP3",
    "c.oga": "OGG",
    "d.weird": "OGG",
    "e.AIFF": "AIFF",
    "f.aif": "AIFF",
    "g.bin": "WAV",
    "h.flac.bak": "FLAC",
}


def sound(kind: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, NOISE, 22050, format=kind)
    return stream.getvalue()


def m4a() -> bytes:
    av = pytest.importorskip("av")
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as file:
        track = file.add_stream("aac", rate=22050, layout="mono")
        frame = av.AudioFrame.from_ndarray(NOISE[None].astype(np.float32), "fltp", "mono")
        frame.rate = 22050
        for packet in (*track.encode(frame), *track.encode(None)):
            file.mux(packet)
    return stream.getvalue()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(stream, format=kind)
    return stream.getvalue()


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    (folder / "deeper").mkdir(parents=True)
    for name, kind in FILES.items():
        (folder / "deeper" / name).write_bytes(sound(kind))
    return folder


def uris(root: Path) -> list[str]:
    return of_folder(str(root))[0].column("uri").to_pylist()


def test_files_are_queries_by_their_content(music: Path) -> None:
    assert uris(music) == sorted(str(music / "deeper" / name) for name in FILES)
    assert all(decode(uri).samples.size for uri in uris(music))


def test_mp4_files_are_queries_under_any_ending(music: Path) -> None:
    others = [str(music / name) for name in ("d.mp4", "e.m4b", "g.3gp")]
    for name in others:
        Path(name).write_bytes(m4a())
    assert set(others) <= set(uris(music))
    assert all(decode(name).samples.size for name in others)


def test_other_files_are_counted_by_their_ending(music: Path) -> None:
    contents = {
        "cover.jpg": picture("JPEG"),
        "cover.png": picture("PNG"),
        "photo.avif": picture("AVIF"),
        "notes.txt": b"ignored\n" * 1000,
        "utf16.txt": "ignored".encode("utf-16"),
        "empty": b"",
        "zeros.bin": bytes(10_000),
        "x.unlikely_long_ending_of_a_file": b"x",
    }
    for name, content in contents.items():
        (music / name).write_bytes(content)
    queries, left_out = of_folder(str(music))
    assert queries.num_rows == len(FILES)
    assert left_out_sentence(left_out) == (
        "8 files were left out: their content is not audio "
        "(2 .txt, 1 .avif, 1 .bin, 1 .jpg, 1 .png and 2 other endings)"
    )
    assert left_out_sentence(Counter({"no ending": 1})) == (
        "1 file was left out: its content is not audio (1 no ending)"
    )


def test_a_damaged_file_with_an_audio_ending_is_a_query(music: Path) -> None:
    for name in ("broken.mp3", "text.aif"):
        (music / name).write_bytes(name.partition(".")[2].encode() * (name == "text.aif"))
    assert {str(music / "broken.mp3"), str(music / "text.aif")} <= set(uris(music))


@pytest.mark.parametrize("size", [100, 3000, HEAD_BYTES])
def test_random_bytes_are_not_audio(size: int) -> None:
    rng = np.random.default_rng(size)
    assert not any(looks_like_audio(rng.bytes(size)) for _ in range(200))


def test_an_s3_folder_is_read_by_content(s3_server: Any) -> None:
    root = s3_server.fresh()
    Store(root).write("d.weird", sound("OGG"))
    Store(root).write("notes.txt", b"text")
    queries, left_out = of_folder(root)
    assert queries.column("uri").to_pylist() == [f"{root}/d.weird"]
    assert left_out == Counter({".txt": 1})


@pytest.mark.parametrize("job", [recommend.recommend_one, recommend.recommend_many])
@pytest.mark.parametrize(
    ("store", "text"),
    [("typo", "no such store: "), ("music", r"has no registered model \(mlflow.db\)")],
)
def test_a_mistyped_store_is_an_error_and_is_not_created(
    job: Callable[[RecommendConfig], None],
    store: str,
    text: str,
    music: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = RecommendConfig(
        store=str(tmp_path / store),
        audio=str(music / "deeper" / "a.mp3"),
        folder=str(music),
        out=str(tmp_path / "out"),
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=text):
        job(config)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("option", ["--year=99999", "--latitude=116.4", "--longitude=nan"])
def test_a_year_or_place_out_of_range_is_refused_on_the_command_line(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--audio=x.mp3", option], "", RecommendConfig, RecommendConfig())
    assert ended.value.code == 2
    assert option[2:].partition("=")[0] in capsys.readouterr().err
