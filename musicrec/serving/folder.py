"""Find the audio files of a folder, by their ending or, where it is unknown, by their content."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pyarrow as pa
import pyarrow.fs

from musicrec import schema
from musicrec.audio import container
from musicrec.serving.query_table import QUERIES
from musicrec.storage.store import resolve

# Endings of audio only: such a file is always a query, so that a damaged one gets an error. Others
# (.mp4, .3gp, .bin, none) belong to audio, video and anything else.
AUDIO_SUFFIXES = (
    *(".mp3", ".mp2", ".mpga", ".flac", ".ogg", ".oga", ".opus", ".wav", ".wave", ".w64", ".aif"),
    *(".aiff", ".aifc", ".m4a", ".m4b", ".aac", ".au", ".caf"),
)
# Two MPEG frames are within these first bytes.
HEAD_BYTES = 1 << 16
# MP4's container without audio: HEIF and AVIF images, raw images of cameras.
IMAGE_BRANDS = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    *(b"avif", b"avis", b"crx "),
)
READERS = 16
ENDINGS_SHOWN = 5
NO_ENDING = "no ending"
NOT_UTF8 = "name not UTF-8"


def of_folder(root: str) -> tuple[pa.Table, Counter[str]]:
    """Return a query for every audio file under a folder; its item is the file's URI.

    The second value counts the files that were left out by their ending.
    """
    filesystem, base = resolve(root)
    names = sorted(_files(filesystem, base))
    paths = [path for path in names if _is_utf8(path)]
    others = [path for path in paths if not path.lower().endswith(AUDIO_SUFFIXES)]
    with ThreadPoolExecutor(READERS) as pool:
        are_audio = pool.map(lambda path: _is_audio(filesystem, path), others)
        left_out = {path for path, is_audio in zip(others, are_audio, strict=True) if not is_audio}
    uris = [root + path.removeprefix(base) for path in paths if path not in left_out]
    table = pa.table({"item": pa.array(uris, pa.string()), "uri": pa.array(uris, pa.string())})
    endings = Counter(posixpath.splitext(path)[1].lower() or NO_ENDING for path in left_out)
    endings.update([NOT_UTF8] * (len(names) - len(paths)))
    return schema.conform(table, QUERIES, "queries"), endings


def _files(filesystem: pa.fs.FileSystem, base: str) -> Iterator[str]:
    """Yield the files under a folder, and those that links in it lead to.

    A local folder is walked once, however many links lead to it or to a folder above it.
    """
    if not isinstance(filesystem, pa.fs.LocalFileSystem):
        files = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
        yield from (file.path for file in files if file.type == pyarrow.fs.FileType.File)
        return
    walked = {os.path.realpath(base)}

    def is_new(folder: str) -> bool:
        real = os.path.realpath(folder)
        return real not in walked and not walked.add(real)

    for parent, folders, names in os.walk(base, onerror=_raised, followlinks=True):
        folders[:] = [name for name in sorted(folders) if is_new(f"{parent}/{name}")]
        yield from (
            path for name in names if os.path.isfile(path := f"{parent.rstrip('/')}/{name}")
        )


def _is_utf8(path: str) -> bool:
    """Return whether a name can be stored as text; others have surrogates in place of bytes."""
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _raised(error: OSError) -> NoReturn:
    raise error


def left_out_sentence(endings: Counter[str]) -> str:
    """Return the number of files that were left out, and their most frequent endings."""
    shown = [
        f"{number} {ending[:20]}"
        for ending, number in sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    ]
    others = len(shown) - ENDINGS_SHOWN
    more = f" and {others} other ending{'s' * (others > 1)}" if others > 0 else ""
    listed = f"({', '.join(shown[:ENDINGS_SHOWN])}{more})"
    if endings.total() == 1:
        return f"1 file was left out: its content is not audio {listed}"
    return f"{endings.total()} files were left out: their content is not audio {listed}"


def looks_like_audio(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a format that can be decoded."""
    if head.startswith(b"ID3"):
        return True  # the tag may be longer than these bytes
    if head[4:8] == b"ftyp" and head[8:12] in IMAGE_BRANDS:
        return False
    identified = container.inspect(head)
    if identified is None or identified.reason == "not_audio":
        return False
    if identified.kind != "mpeg":
        return True
    # Text in UTF-16 begins like one MPEG frame, and two may follow by chance among other bytes.
    length = container.frame_length(head, 0)
    return length > 0 and container.frame_length(head, length) > 0


def _is_audio(filesystem: pa.fs.FileSystem, path: str) -> bool:
    try:
        with filesystem.open_input_file(path) as file:
            return looks_like_audio(file.read(HEAD_BYTES))
    except OSError:
        if not isinstance(filesystem, pa.fs.LocalFileSystem):
            raise  # the storage failed
        return True  # it is a query, whose error names the reason
