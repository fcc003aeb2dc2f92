from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from musicrec.extraction.manifest import MANIFEST
from musicrec.features import artwork
from musicrec.features.artwork import (
    MAXIMUM_PIXELS,
    ArtworkError,
    ArtworkReader,
    decode_png,
    load_artwork,
)
from musicrec.schema import ERROR_REASONS

PIXELS = 32
# Pillow's warnings about a damaged file must not reach a worker's log.
pytestmark = pytest.mark.filterwarnings("error")


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def noise(width: int = 40, height: int = 40) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def header_only_png(width: int, height: int) -> bytes:
    """Build a PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def reason(source: str | bytes) -> str:
    with pytest.raises(ArtworkError) as caught:
        load_artwork(source, PIXELS)
    assert caught.value.reason in ERROR_REASONS
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_images_of_many_formats_are_read(kind: str, mode: str) -> None:
    mode = (
        "L" if kind == "JPEG" and mode != "RGB" else mode
    )  # JPEG has no palettes and no single bits
    white = Image.new("RGB", (50, 40), (255, 255, 255)).convert(mode)
    loaded = load_artwork(file_of(white, kind), PIXELS)
    assert loaded.shape == (PIXELS, PIXELS, 3)
    assert loaded.dtype == np.uint8
    assert loaded.min() >= 250


def test_cmyk_becomes_rgb() -> None:
    red = load_artwork(file_of(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG"), PIXELS)
    np.testing.assert_allclose(red[0, 0], [255, 0, 0], atol=2)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_keeps_its_shades(kind: str) -> None:
    shades = np.linspace(0, 65535, 64).astype(np.uint16)
    loaded = load_artwork(file_of(Image.fromarray(np.tile(shades, (64, 1))), kind), PIXELS)
    np.testing.assert_allclose(loaded[0, :, 0], np.linspace(2, 253, PIXELS), atol=3)


def test_transparency_becomes_white() -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))  # transparent red
    assert load_artwork(file_of(image), PIXELS).min() == 255
    assert load_artwork(file_of(Image.new("RGBA", (40, 40), (255, 0, 0, 255))), PIXELS)[
        0, 0
    ].tolist() == [255, 0, 0]


def test_no_other_program_is_started_for_an_image() -> None:
    assert reason(file_of(noise(), "EPS")) == "not_image"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert reason(str(tmp_path)) == "unreadable"


def test_the_middle_square_is_kept() -> None:
    # Three vertical bands, 40 wide each, in an image 40 high: the middle one is the square.
    bands = np.zeros((40, 120, 3), np.uint8)
    bands[:, :40, 0], bands[:, 40:80, 1], bands[:, 80:, 2] = 255, 255, 255
    upright = np.ascontiguousarray(bands.transpose(1, 0, 2))
    for image in (bands, upright):
        loaded = load_artwork(file_of(Image.fromarray(image)), PIXELS).astype(int)
        # The filter reaches a little over the square's edges.
        assert np.abs(loaded - [0, 255, 0]).max() < 8


def test_shrinking_averages_and_does_not_skip() -> None:
    # One-pixel stripes: every third pixel would be black or white, their mean is grey.
    stripes = np.zeros((192, 192, 3), np.uint8)
    stripes[:, ::2] = 255
    loaded = load_artwork(file_of(Image.fromarray(stripes)), PIXELS).astype(int)
    assert np.abs(loaded[4:-4, 4:-4] - 127.5).max() < 4


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (7, 3), (PIXELS, PIXELS)])
def test_any_size_becomes_the_square(size: tuple[int, int]) -> None:
    assert (
        load_artwork(file_of(Image.new("RGB", size, (9, 9, 9))), PIXELS).tolist()
        == [[[9, 9, 9]] * PIXELS] * PIXELS
    )


def test_a_path_a_uri_and_bytes_give_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "cover.jpg"
    path.write_bytes(file_of(noise(), "JPEG"))
    expected = load_artwork(path.read_bytes(), PIXELS)
    np.testing.assert_array_equal(load_artwork(str(path), PIXELS), expected)
    np.testing.assert_array_equal(load_artwork(path.as_uri(), PIXELS), expected)


def test_an_image_on_s3(s3_server) -> None:
    from musicrec.storage.store import Store

    store = Store(s3_server.fresh())
    store.write("cover.png", file_of(noise()))
    np.testing.assert_array_equal(
        load_artwork(store.uri("cover.png"), PIXELS), load_artwork(file_of(noise()), PIXELS)
    )
    assert reason(store.uri("none.png")) == "not_found"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"<html>404 Not Found</html>", "not_image"),
        (b"\x89PNG\r\n\x1a\n", "not_image"),
        (b"ID3\x04\x00" + bytes(200), "not_image"),
        (file_of(noise())[:-400], "unreadable"),
        (file_of(noise(), "JPEG")[:600], "unreadable"),
        (file_of(noise(), "GIF")[:900], "unreadable"),
        (file_of(noise(), "WEBP")[:300], "unreadable"),
        (file_of(noise(), "TIFF")[:2000], "unreadable"),
        (header_only_png(64, 64), "unreadable"),
        (header_only_png(0, 64), "not_image"),
    ],
    ids=[
        "empty",
        "html",
        "signature",
        "mp3",
        "png",
        "jpeg",
        "gif",
        "webp",
        "tiff",
        "png-without-rows",
        "png-of-width-0",
    ],
)
def test_broken_images_have_a_reason(content: bytes, expected: str) -> None:
    assert reason(content) == expected


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000"])
def test_damage_raises_no_other_error(kind: str) -> None:
    content = file_of(noise(24, 24), kind)
    generator = np.random.default_rng(0)
    outcomes = set()
    for trial in range(150):
        damaged = bytearray(content)
        for place in generator.integers(
            0, len(content) if trial % 2 else min(len(content), 120), 1 + trial % 8
        ):
            damaged[place] = generator.integers(256)
        damaged = damaged[: generator.integers(1, len(content))] if trial % 3 == 0 else damaged
        try:
            outcomes.add(load_artwork(bytes(damaged), 8).shape)
        except ArtworkError as error:
            outcomes.add(error.reason)
    assert outcomes <= {(8, 8, 3), *ERROR_REASONS}
    assert len(outcomes) > 1  # some were damaged indeed


def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    side = int(MAXIMUM_PIXELS**0.5) + 1
    with pytest.raises(
        ArtworkError,
        match=f"too_large: image: {side} x {side} pixels, more than {MAXIMUM_PIXELS}",
    ):
        load_artwork(header_only_png(side, side), PIXELS)


def test_a_decompression_bomb_is_refused() -> None:
    assert (
        reason(header_only_png(30_000, 30_000)) == "too_large"
    )  # Pillow's own ceiling comes first


def test_a_text_chunk_that_decompresses_to_too_much_is_refused() -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(20_000_000), 1)
    content = file_of(noise())
    end = content.index(b"IDAT") - 4
    chunk = (
        struct.pack(">I", len(text))
        + b"zTXt"
        + text
        + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    )
    assert reason(content[:end] + chunk + content[end:]) == "unreadable"


def test_a_file_of_too_many_bytes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artwork, "MAXIMUM_BYTES", 100)
    path = tmp_path / "cover.png"
    path.write_bytes(file_of(noise()))
    with pytest.raises(
        ArtworkError, match=rf"too_large: .*cover\.png: {path.stat().st_size} bytes, more than 100"
    ):
        load_artwork(str(path), PIXELS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtworkError, match=r"not_found: .*none\.png"):
        load_artwork(str(tmp_path / "none.png"), PIXELS)


def test_a_block_has_a_row_for_every_file(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(file_of(noise()))
    (tmp_path / "empty.png").write_bytes(b"")
    names = ["good.png", "none.png", "empty.png", "good.png"]
    uris = [str(tmp_path / name) for name in names]
    columns = {
        "block": ["0"] * 4,
        "item": ["a", "b", "c", "d"],
        "uri": uris,
        "columns": [["artwork"]] * 4,
        "version": [None] * 4,
    }
    manifest = pa.table(columns, schema=MANIFEST)
    reader = ArtworkReader(PIXELS)
    outcome = reader(manifest)
    assert outcome.schema == reader.schema()
    assert outcome.schema.field("artwork").metadata == {b"pixels": b"32"}
    assert outcome.column("track_id").to_pylist() == ["a", "b", "c", "d"]
    assert outcome.column("reason").to_pylist() == [None, "not_found", "empty", None]
    assert all(
        name in detail
        for name, detail in zip(names[1:3], outcome.column("detail").to_pylist()[1:3], strict=True)
    )
    cells = outcome.column("artwork").to_pylist()
    assert [cell is None for cell in cells] == [False, True, True, False]
    np.testing.assert_array_equal(decode_png(cells[0]), load_artwork(uris[0], PIXELS))  # lossless
