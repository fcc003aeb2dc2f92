"""One bad row costs one error, with every real reader: a hang, a crash, an exception."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from musicrec.extraction.isolation import Reader, read_bounded
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.rows import failures
from musicrec.features.artwork import ArtworkReader
from musicrec.features.columns import AudioReader
from musicrec.features.torch_reader import TorchAudioReader
from musicrec.serving.query_table import ANSWER, VECTORS, Answerer, QueryEmbedder
from musicrec.storage.store import Store

RECORDING = Path(__file__).parents[1] / "data" / "audio" / "music.flac"
# Each hangs: the first lets other threads run, the second (a regular expression that tries 2^60
# ways) holds Python's lock.
WAITS = "threading.Event().wait()"
LOOPS = "re.fullmatch('(a+)+b', 60 * 'a')"
PROGRAM = """
import re, threading
import pyarrow as pa
from musicrec.extraction import isolation
isolation.SECONDS_TO_GIVE_UP = 0.5
rows = pa.table({{"block": ["0"], "item": ["a"], "uri": ["a.mp3"], "columns": [[]]}})
print("began", flush=True)
print("outcome", isolation.{function}(rows, lambda row: {hang}, 0.5), flush=True)
"""


def run(function: str, hang: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(function=function, hang=hang)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize(
    ("function", "hang"), [("read_bounded", WAITS), ("read_bounded", LOOPS), ("read_alone", LOOPS)]
)
def test_the_process_ends_with_a_traceback(function: str, hang: str) -> None:
    done = run(function, hang)
    assert done.returncode == 1
    assert done.stdout == "began\n"
    assert "Timeout" in done.stderr
    assert "in <lambda>" in done.stderr


def test_a_row_read_in_a_process_of_its_own_is_given_up() -> None:
    done = run("read_alone", WAITS)
    assert (done.returncode, done.stdout) == (0, "began\noutcome None\n")


AUDIO = AudioReader("float16", "librosa", 2.0)
TORCH = TorchAudioReader("float16", "librosa", 2.0, device="cpu")


def manifest(folder: Path, columns: list[str], *uris: str) -> tuple[Blocks, pa.Table]:
    """Return blocks with one block of the given files, and its rows."""
    blocks = Blocks(Store(str(folder / "store")), "features/key")
    names = [f"t{number}" for number in range(len(uris))]
    items = pa.table({"item": names, "uri": list(uris)})
    return blocks, blocks.extend(items, columns, len(uris))


@pytest.mark.parametrize("reader", [AUDIO, TORCH], ids=["audio", "torch"])
@pytest.mark.parametrize("columns", [["mfcc"], ["stft_halved", "mel"]], ids="+".join)
def test_a_failed_recording_is_committed_with_good_ones(
    reader: AudioReader, columns: list[str], tmp_path: Path
) -> None:
    good = str(shutil.copy(RECORDING, tmp_path))
    blocks, rows = manifest(tmp_path, columns, good, good)
    read = reader(rows.slice(0, 1))
    failed = reader.failed(rows.slice(1), "timed_out", "too slow")
    blocks.commit(rows.column("block")[0].as_py(), pa.concat_tables([read, failed]))
    (row,) = failures(blocks.outcomes()).to_pylist()
    assert (row["item"], row["reason"], row["detail"]) == ("t1", "timed_out", "too slow")
    assert blocks.outcomes().column("reason").null_count == 1


def test_a_failed_image_is_committed_with_good_ones(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    reader, good = ArtworkReader(32), str(tmp_path / "good.png")
    blocks, rows = manifest(tmp_path, ["artwork"], good, good)
    failed = reader.failed(rows.slice(1), "killed_worker", "crashed")
    outcome = pa.concat_tables([reader(rows.slice(0, 1)), failed])
    blocks.commit(rows.column("block")[0].as_py(), outcome)
    (row,) = failures(blocks.outcomes()).to_pylist()
    assert (row["item"], row["reason"]) == ("t1", "killed_worker")


@pytest.mark.parametrize(
    ("kind", "outcome"), [(QueryEmbedder, VECTORS), (Answerer, ANSWER)], ids=["vectors", "answers"]
)
def test_a_failed_query_has_the_schema_of_answered_ones(
    kind: type, outcome: pa.Schema, tmp_path: Path
) -> None:
    more = {"neighbours": 3} if kind is Answerer else {}
    reader = kind(recommender=None, store=Store(str(tmp_path)), **more)
    _, rows = manifest(tmp_path, ["vector"], "a.mp3", "b.mp3")
    failed = reader.failed(rows, "timed_out", "too slow")
    assert failed.schema == outcome
    assert pa.concat_tables([outcome.empty_table(), failed]).num_rows == 2


class RaisesAt:
    """Raises at one recording, and leaves the others to the real reader."""

    def __init__(self, item: str, error: Exception) -> None:
        self.item, self.error = item, error
        self.failed = AUDIO.failed

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self.item in rows.column("item").to_pylist():
            raise self.error
        return AUDIO(rows)


@pytest.mark.parametrize("as_batch", [False, True])
def test_what_a_decoder_raises_is_an_error_of_its_row(as_batch: bool, tmp_path: Path) -> None:
    good = str(shutil.copy(RECORDING, tmp_path))
    _, rows = manifest(tmp_path, ["mfcc"], good, good, good)
    reader: Reader = RaisesAt("t1", AssertionError("no palette"))
    outcome = read_bounded(rows, reader, 60, as_batch)
    assert outcome.column("track_id").to_pylist() == ["t0", "t1", "t2"]
    assert outcome.column("reason").to_pylist() == [None, "reader_failed", None]
    assert outcome.column("detail")[1].as_py() == f"{good}: AssertionError: no palette"


@pytest.mark.parametrize("error", [OSError("no answer"), ModuleNotFoundError("no module")])
def test_what_no_file_causes_is_raised(error: Exception, tmp_path: Path) -> None:
    _, rows = manifest(tmp_path, ["mfcc"], "a.flac")
    with pytest.raises(type(error)):
        read_bounded(rows, RaisesAt("t0", error), 60)


def png(color_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of 8 x 8 pixels made of the given chunks, with right checksums."""
    header = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, color_type, 0, 0, 0))
    written = b"\x89PNG\r\n\x1a\n"
    for name, content in (header, *chunks, (b"IEND", b"")):
        checksum = zlib.crc32(name + content)
        written += struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    return written


@pytest.mark.parametrize(
    "content",
    [
        png(3, (b"IDAT", zlib.compress(bytes(9 * 8)))),  # a palette image without a palette
        png(3, (b"PLTE", b""), (b"IDAT", zlib.compress(bytes(9 * 8)))),
        png(3, (b"PLTE", bytes(7)), (b"IDAT", zlib.compress(bytes(9 * 8)))),
        png(2, (b"IDAT", b"no zlib stream")),
        png(6, (b"tRNS", b"\x00"), (b"IDAT", zlib.compress(b""))),
    ],
    ids=["no palette", "empty palette", "odd palette", "no stream", "no pixels"],
)
def test_a_broken_image_never_ends_a_block(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    _, rows = manifest(
        tmp_path, ["artwork"], str(tmp_path / "broken.png"), str(tmp_path / "good.png")
    )
    broken, good = ArtworkReader(32)(rows).column("reason").to_pylist()
    assert broken in ("unreadable", "not_image", None)  # Pillow reads some of them
    assert good is None
