"""Read the lines of a range of bytes in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from musicrec.config.errors import UserError
from musicrec.relations.files import Shard, decompressed, is_compressed
from musicrec.storage.store import resolve

# A piece and what is parsed of it take some 150 MB of a worker.
PIECE_BYTES = 16 << 20


def line_pieces(shard: Shard) -> Iterator[bytes]:
    """Yield whole lines of a shard, at most ``PIECE_BYTES`` and a line at a time.

    A line belongs to the shard in which its first byte is, so that each is read exactly once.

    Raises
    ------
    UserError
        A line is longer than ``PIECE_BYTES``, or the file cannot be decompressed.
    """
    filesystem, path = resolve(shard.uri)
    if is_compressed(path):
        with filesystem.open_input_stream(path, compression=None) as raw:
            stream = decompressed(raw, path)
            try:
                _read_all(stream, shard.start)
                yield from _pieces(stream, shard, None)
            except OSError as error:
                raise UserError(f"{shard.uri} cannot be decompressed: {error}") from error
        return
    with filesystem.open_input_file(path) as stream:
        start = shard.start
        if shard.first is None:  # the line that holds the byte before belongs to the shard before
            stream.seek(start - 1)
            start += _to_line_end(stream, shard)
        stream.seek(start)
        if start < shard.end:
            yield from _pieces(stream, shard, shard.end - start)


def _read_all(stream: Any, count: int) -> None:
    """Skip bytes of a stream that cannot seek."""
    while count > 0:
        content = stream.read(min(count, PIECE_BYTES))
        if not content:
            return
        count -= len(content)


def _to_line_end(stream: Any, shard: Shard) -> int:
    """Return how far after the shard's start its first own line begins."""
    passed = -1
    while content := stream.read(1 << 16):
        place = bytes(content).find(b"\n")
        if place >= 0:
            return passed + place + 1
        passed += len(content)
        _check_length(passed, shard)
    return max(passed, 0)


def _pieces(stream: Any, shard: Shard, left: int | None) -> Iterator[bytes]:
    """Yield pieces that end with a line; the last line may reach beyond ``left`` bytes."""
    rest = b""
    while left is None or left > 0:
        content = bytes(stream.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES)))
        if not content:
            break
        left = None if left is None else left - len(content)
        whole, newline, end = content.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = end
        else:
            rest += content
        _check_length(len(rest), shard)
    if rest:
        while not rest.endswith(b"\n") and (content := bytes(stream.read(1 << 16))):
            line, newline, _ = content.partition(b"\n")
            rest += line + newline
            _check_length(len(rest), shard)
        yield rest


def _check_length(length: int, shard: Shard) -> None:
    if length > PIECE_BYTES:
        raise UserError(
            f"{shard.uri} has a line longer than {PIECE_BYTES >> 20} MiB: it is not a text file of "
            "the given form; choose another --form"
        )
