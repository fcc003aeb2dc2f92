"""Files that are small but expand to gigabytes, take very long, or declare absent content."""

from __future__ import annotations

import functools
import io
import itertools
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
from damage import LARGEST, pick
from PIL import Image
from samples import TRACKS, sound_files

Bomb = Callable[[np.random.Generator], bytes]


def size(rng: np.random.Generator) -> int:
    """Draw the bytes of a bomb: up to the largest, mostly some hundred thousand."""
    return (LARGEST - 200_000) >> int(rng.integers(0, 8))  # room for headers


# --- recordings


@functools.cache
def _silence(container: str, rate: int, channels: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros((rate, channels), np.float32), rate, format=container)
    return stream.getvalue()


def _frames_of_flac(rng: np.random.Generator) -> tuple[bytes, bytes]:
    """Return metadata and frames of a FLAC file of silence, which compresses 2,000 to 1."""
    content = _silence("FLAC", pick(rng, (8_000, 48_000, 192_000)), int(rng.integers(1, 9)))
    position = 4
    while True:
        header = content[position]
        position += 4 + int.from_bytes(content[position + 1 : position + 4])
        if header & 0x80:
            return content[:position], content[position:]


def flac_of_hours(rng: np.random.Generator) -> bytes:
    """Repeat frames many times under a header without their number, or with that of one second."""
    head, frames = _frames_of_flac(rng)
    if rng.integers(2):
        head = head[:21] + bytes([head[21] & 0xF0]) + bytes(4) + head[26:]
    return head + frames * (size(rng) // len(frames))


def flac_with_a_wrong_length(rng: np.random.Generator) -> bytes:
    """Write a header of 2^36 - 1 samples, or of other numbers, over one second."""
    head, frames = _frames_of_flac(rng)
    count = pick(rng, (2**36 - 1, 2**33, 2**31, 1))
    return (
        head[:21]
        + bytes([head[21] & 0xF0 | count >> 32])
        + struct.pack(">I", count & 0xFFFFFFFF)
        + head[26:]
        + frames
    )


def mp3_of_hours(rng: np.random.Generator) -> bytes:
    """Repeat the smallest frames of MPEG 2.5, 8 kilobits per second."""
    frame = bytes([0xFF, 0xE3, 0x18, 0xC4]) + bytes(68)
    return frame * (size(rng) // len(frame))


def mp3_after_a_tag(rng: np.random.Generator) -> bytes:
    """Write an ID3 tag of megabytes, of the declared length or shorter."""
    stated = size(rng)
    written = stated if rng.integers(2) else int(rng.integers(stated))
    digits = bytes(stated >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + digits + bytes(written) + sound_files("mp3")[0]


def many_tags(rng: np.random.Generator) -> bytes:
    """Write tag after tag."""
    return b"ID3\x04\x00\x00\x00\x00\x00\x00" * (size(rng) // 10) + sound_files("mp3")[0]


def marks_without_frames(rng: np.random.Generator) -> bytes:
    """Write only bytes that look like the beginning of a frame."""
    return pick(rng, (b"\xff\xfb\x90\x00", b"\xff\xf1\x50\x80", b"\xff")) * (size(rng) // 4)


def ogg_of_many_streams(rng: np.random.Generator) -> bytes:
    """Concatenate complete streams, which the format allows."""
    one = sound_files(pick(rng, ("ogg", "opus")))[0]
    return one * max(1, size(rng) // 4 // len(one))


def ogg_of_empty_pages(rng: np.random.Generator) -> bytes:
    """Write a valid beginning, then pages without content."""
    one = sound_files(pick(rng, ("ogg", "opus")))[0]
    page = b"OggS" + bytes(23)
    return one[: rng.integers(200, len(one))] + page * (size(rng) // len(page))


def wav_that_lies(rng: np.random.Generator) -> bytes:
    """Write impossible channels, rate, width and sizes."""
    channels, bits = (pick(rng, (0, 1, 2, 255, 65535)), pick(rng, (0, 1, 8, 16, 24, 64, 65535)))
    rate = pick(rng, (0, 1, 1_000, 44_100, 2**31, 2**32 - 1))
    code = pick(rng, (0, 1, 2, 3, 6, 7, 17, 49, 0xFFFE))
    layout = struct.pack(
        "<HHIIHH",
        code,
        channels,
        rate,
        rate * channels & 0xFFFFFFFF,
        pick(rng, (0, 1, 4, 65535)),
        bits,
    )
    return _wav(layout, size(rng), pick(rng, (0, 2**31 - 1, 2**32 - 1, 2**32 - 5)))


def _wav(layout: bytes, count: int, stated: int) -> bytes:
    """Write ``count`` bytes of silence under a header that states another number."""
    chunks = (
        b"fmt ",
        struct.pack("<I", len(layout)),
        layout,
        b"data",
        struct.pack("<I", stated),
        bytes(count),
    )
    return b"".join([b"RIFF", struct.pack("<I", min(stated + 36, 2**32 - 1)), b"WAVE", *chunks])


def chunks_without_end(rng: np.random.Generator) -> bytes:
    """Write millions of empty chunks before the samples."""
    form = b"FORM\x00\xff\xff\xffAIFF" if rng.integers(2) else b"RIFF\xff\xff\xff\x00WAVE"
    return form + b"JUNK\x00\x00\x00\x00" * (size(rng) // 8)


def hours_of_wav(rng: np.random.Generator) -> bytes:
    """Write a valid file of hours: one byte per sample, a thousand samples per second."""
    count = size(rng)
    return _wav(struct.pack("<HHIIHH", 1, 1, 1_000, 1_000, 1, 8), count, count)


# --- images


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + _chunk(b"IDAT", rows)
        + _chunk(b"IEND", b"")
    )


def png_with_a_wrong_size(rng: np.random.Generator) -> bytes:
    """Declare 65,535 x 65,535 pixels and more, without any."""
    width, height = (int(side) for side in rng.choice([1, 65_535, 2**31 - 1, 7_000], 2))
    return _png(width, height, 8, pick(rng, (0, 2, 4, 6)), zlib.compress(bytes(100)))


def png_that_expands(rng: np.random.Generator) -> bytes:
    """Write millions of real pixels in some kilobytes, up to the allowed number and above."""
    side = pick(rng, (2_000, 7_000, 7_072, 9_000))
    colour, depth = ((6, 8), (6, 16), (0, 16), (2, 16))[rng.integers(4)]
    return _png(
        side,
        side,
        depth,
        colour,
        _zeros(side * (1 + side * {6: 4, 0: 1, 2: 3}[colour] * depth // 8)),
    )


@functools.cache
def _zeros(count: int) -> bytes:
    """Compress this many zeros."""
    packer, row = zlib.compressobj(1), bytes(1 << 16)
    return b"".join(
        [
            *(packer.compress(row) for _ in range(count >> 16)),
            packer.compress(bytes(count & 0xFFFF)),
            packer.flush(),
        ]
    )


def png_with_a_text_that_expands(rng: np.random.Generator) -> bytes:
    """Write comments and colour profiles of hundreds of megabytes, compressed."""
    packed = _zeros(100_000_000)
    kind, head = (
        (b"zTXt", b"Comment\0\0"),
        (b"iCCP", b"profile\0\0"),
        (b"iTXt", b"Comment\0\1\0\0\0"),
    )[rng.integers(3)]
    return _png(8, 8, 8, 2, zlib.compress(bytes(8 * 25)), _chunk(kind, head + packed))


def png_of_many_chunks(rng: np.random.Generator) -> bytes:
    """Write millions of empty chunks."""
    return _png(
        8, 8, 8, 2, zlib.compress(bytes(8 * 25)), _chunk(b"tEXt", b"a\0b") * (size(rng) // 15)
    )


def jpeg_of_many_scans(rng: np.random.Generator) -> bytes:
    """Repeat the last scan of a progressive image: a full image of work for each."""
    side = pick(rng, (500, 2_000, 7_000))
    stream = io.BytesIO()
    Image.new("L", (side, side)).save(stream, format="JPEG", progressive=True)
    content = stream.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * max(1, min(size(rng), 4 << 20) // len(last)) + b"\xff\xd9"


def jpeg_with_a_wrong_size(rng: np.random.Generator) -> bytes:
    """Declare 65,535 x 65,535 pixels, without any."""
    content = bytearray(sound_files("jpeg")[rng.integers(2)])
    frame = next(content.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in content)
    content[frame + 5 : frame + 9] = struct.pack(
        ">HH", *(int(side) for side in rng.choice([1, 7_000, 65_535], 2))
    )
    return bytes(content)


# --- tables and configurations


def _table(cell: str, count: int) -> pa.Table:
    zeros = np.zeros(count, np.int32)
    return pa.table(
        {
            name: pa.DictionaryArray.from_arrays(zeros, pa.array([cell]))
            for name in ("track_id", "artist_id", "audio")
        }
    )


def _written(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pa.parquet.write_table(table, stream, **options)
    return stream.getvalue()


def parquet_of_one_value(rng: np.random.Generator) -> bytes:
    """Write one value millions of times: a dictionary of one entry and a run."""
    length, count = ((1_000_000, 20_000), (1_000, 3_000_000), (1, 30_000_000))[rng.integers(3)]
    return _written(_table("x" * length, count))


def parquet_of_one_cell(rng: np.random.Generator) -> bytes:
    """Write a cell of hundreds of megabytes, compressed."""
    return _cell(pick(rng, (2_000_000, 400_000_000)), pick(rng, ("zstd", "gzip")))


@functools.cache
def _cell(length: int, compression: str) -> bytes:
    cells = pa.table({"track_id": ["x" * length], "artist_id": ["a"], "audio": ["b"]})
    return _written(cells, compression=compression, use_dictionary=False, write_statistics=False)


def parquet_of_pickles(rng: np.random.Generator) -> bytes:
    """Write a column of the type in which Ray keeps pickled Python objects."""
    names = {
        "ARROW:extension:name": "ray.data.arrow_pickled_object",
        "ARROW:extension:metadata": "",
    }
    field = pa.field("audio", pa.binary(), metadata=names)
    pickled = b"cos\n_exit\n(I1\ntR."
    columns = {name: TRACKS[name] for name in ("track_id", "artist_id", "split")}
    table = pa.table({**columns, "audio": pa.array([pickled] * 4, pa.binary())})
    return _written(
        table.cast(pa.schema([field if f.name == "audio" else f for f in table.schema]))
    )


def parquet_of_nested_lists(rng: np.random.Generator) -> bytes:
    """Write lists in lists in lists."""
    kind = pa.string()
    for _ in range(int(rng.integers(2, 60))):
        kind = pa.list_(kind)
    return _written(
        pa.table(
            {"track_id": ["a"], "artist_id": ["b"], "audio": ["c"], "genres": pa.nulls(1, kind)}
        )
    )


def parquet_of_many_columns(rng: np.random.Generator) -> bytes:
    """Write thousands of unknown columns."""
    return _written(
        pa.table({f"column_{number}": [number] for number in range(int(rng.integers(200, 8_000)))})
    )


HEADER = b"track_id,artist_id,audio,split,genres\n"


def csv_of_one_character(rng: np.random.Generator) -> bytes:
    """Write millions of commas, quotes, line ends, zeros or spaces, with or without a header."""
    text = bytes([pick(rng, b',"\n\r\0 ;\xff')])
    return HEADER * int(rng.integers(2)) + text * size(rng)


def csv_of_one_line(rng: np.random.Generator) -> bytes:
    """Repeat a short line, valid or not, as often as it fits."""
    lines = (
        b"a,b,c,train,x\n",
        b",,,,\n",
        b"a,b\n",
        b"\xff,\xfe,\xfd,\0,\1\n",
        b"t,a,../../../etc/passwd,test,\n",
        b"1,1,s3://k:s@b/x,,;;;;;;\n",
    )
    line = pick(rng, lines)
    return HEADER + line * (size(rng) // len(line))


def csv_of_one_cell(rng: np.random.Generator) -> bytes:
    """Write a cell of megabytes, closed or not, in the header or below it."""
    cell = pick(rng, (b"x", b"; ", b"\n", b'""', "é".encode(), b"a,b\n")) * (size(rng) // 2)
    place = rng.integers(3)
    return (
        b'"' + cell + b'",' + HEADER,
        HEADER + b't,a,b,train,"' + cell + b'"\n',
        HEADER + b't,a,"' + cell,
    )[place]


def csv_of_many_columns(rng: np.random.Generator) -> bytes:
    """Write more columns than any table has."""
    count = pick(rng, (199, 201, 20_000))
    row = b",".join(b"c%d" % number for number in range(count)) + b"\n"
    return row * max(1, size(rng) // 8 // len(row))


def csv_in_another_encoding(rng: np.random.Generator) -> bytes:
    """Write the encodings that some programs use."""
    text = sound_files("csv")[0].decode()
    return text.encode(pick(rng, ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp037", "utf-7")))


def yaml_of_aliases(rng: np.random.Generator) -> bytes:
    """Write a billion laughs: nine times nine times nine, as lists or as mappings."""
    levels, listed = int(rng.integers(4, 12)), rng.integers(2)
    lines = ["a0: &a0 " + ("[x, x, x, x, x, x, x, x, x]" if listed else "{x: 1, y: 2}")]
    for level in range(1, levels):
        names = [f"*a{level - 1}"] * 9
        items = (
            ", ".join(names)
            if listed
            else ", ".join(f"k{number}: {name}" for number, name in enumerate(names))
        )
        lines.append(f"a{level}: &a{level} " + (f"[{items}]" if listed else f"{{{items}}}"))
    place = (
        "models: {a: {architecture: time, sizes: {s: *last}}}",
        "models: *last",
        "seed: *last",
        "ensemble: {sizes: {s: *last}}",
    )
    return "\n".join([*lines, pick(rng, place).replace("last", f"a{levels - 1}")]).encode()


def yaml_of_one_token(rng: np.random.Generator) -> bytes:
    """Repeat brackets, quotes, dashes and the like thousands of times."""
    text = pick(
        rng,
        (
            b"[",
            b"{",
            b"- ",
            b"? ",
            b"&a ",
            b"*a ",
            b"!!",
            b'"',
            b": ",
            b"a: ",
            b"\t",
            b"#",
            b"\n",
            b"[],",
            b"%",
        ),
    )
    return text * (size(rng) // 64)


def yaml_that_merges(rng: np.random.Generator) -> bytes:
    """Write merge keys on merge keys, which double the work at each level."""
    lines = ["a0: &a0 {x: 1}"]
    lines += [
        f"a{level}: &a{level} {{<<: [{', '.join([f'*a{level - 1}'] * 9)}]}}"
        for level in range(1, int(rng.integers(3, 9)))
    ]
    return "\n".join([*lines, "a: &a [*a]", "models: {b: *a}"]).encode()


def yaml_that_runs(rng: np.random.Generator) -> bytes:
    """Write tags that ask for Python objects, and very large numbers."""
    values = (
        "!!python/object/apply:os._exit [1]",
        "!!python/name:os.system ''",
        "9" * 10_000,
        "0x" + "f" * 100_000,
        "1:" * 5_000 + "1",
    )
    return f"seed: {pick(rng, values)}\nmodels: {{? [a, b] : c, ? {{d: e}} : f}}".encode()


BOMBS: dict[str, tuple[Bomb, ...]] = {
    "mp3": (mp3_of_hours, mp3_after_a_tag, many_tags, marks_without_frames),
    "flac": (flac_of_hours, flac_with_a_wrong_length),
    "ogg": (ogg_of_many_streams, ogg_of_empty_pages),
    "opus": (ogg_of_many_streams, ogg_of_empty_pages),
    "wav": (wav_that_lies, chunks_without_end, hours_of_wav),
    "aiff": (chunks_without_end,),
    "m4a": (marks_without_frames,),
    "aac": (marks_without_frames,),
    "png": (
        png_with_a_wrong_size,
        png_that_expands,
        png_with_a_text_that_expands,
        png_of_many_chunks,
    ),
    "jpeg": (jpeg_of_many_scans, jpeg_with_a_wrong_size),
    "parquet": (
        parquet_of_one_value,
        parquet_of_one_cell,
        parquet_of_pickles,
        parquet_of_nested_lists,
        parquet_of_many_columns,
    ),
    "csv": (
        csv_of_one_character,
        csv_of_one_line,
        csv_of_one_cell,
        csv_of_many_columns,
        csv_in_another_encoding,
    ),
    "yaml": (yaml_of_aliases, yaml_of_one_token, yaml_that_merges, yaml_that_runs),
}
EVERY_BOMB = tuple(
    itertools.chain.from_iterable(((form, bomb) for bomb in bombs) for form, bombs in BOMBS.items())
)
