"""Album artwork: a picture file -> a square RGB picture of the configured size, as lossless PNG bytes in a Parquet column."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.fs
from PIL import Image, UnidentifiedImageError

from musicrec.extraction.manifest import OUTCOME_FIELDS
from musicrec.storage.store import resolve

# Larger than any album art in use; a small file can unfold to gigabytes.
MAXIMUM_PIXELS = 50_000_000
MAXIMUM_BYTES = 64 * 2**20
# Each scan of a progressive JPEG is a walk over the whole picture, and one of a few bytes does; encoders write about ten.
MAXIMUM_SCANS = 100
START_OF_SCAN = b"\xff\xda"
# What album art comes in. Pillow knows more, some of them through other programs (EPS starts Ghostscript), some with decoders that hardly
# anybody feeds with damaged files.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000")
# What Pillow's decoders raised on some 40,000 damaged files, and their kin.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)


class ArtworkError(ValueError):
    """A picture that cannot be used: a reason of ``schema.ERROR_REASONS`` and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class ArtworkReader:
    """Reads the pictures of a block; ``pixels`` is the side of the square that they become."""

    pixels: int

    def schema(self) -> pa.Schema:
        picture = pa.field("artwork", pa.large_binary(), metadata={"pixels": str(self.pixels)})
        return pa.schema([pa.field("track_id", pa.string()), picture, *OUTCOME_FIELDS])

    def __call__(self, rows: pa.Table) -> pa.Table:
        return pa.Table.from_pylist(
            [self._read(row["item"], row["uri"]) for row in rows.to_pylist()], schema=self.schema()
        )

    def _read(self, item: str, uri: str) -> dict[str, str | bytes]:
        try:
            return {"track_id": item, "artwork": _png(load_artwork(uri, self.pixels))}
        except ArtworkError as error:
            return {"track_id": item, "reason": error.reason, "detail": error.detail}


def load_artwork(source: str | bytes, pixels: int) -> np.ndarray:
    """A picture as a uint8 array (pixels, pixels, 3), RGB: the middle square, resized with antialiasing.

    Parameters
    ----------
    source
        A path, a URI, or the file's bytes.

    Raises
    ------
    ArtworkError
        Reasons: not_found, empty, too_large, not_image, unreadable.
    """
    content = source if isinstance(source, bytes) else _fetch(source)
    if not content:
        raise ArtworkError("empty", f"{_name(source)}: 0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # our own ceiling is stricter than Pillow's, and remarks on a file's metadata are nobody's concern
            Image.init()  # loads Pillow's decoders the first time; a format that it was built without is not among them
            picture = Image.open(
                io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]
            )
            if picture.width * picture.height > MAXIMUM_PIXELS:
                raise ArtworkError(
                    "too_large",
                    f"{_name(source)}: {picture.width} x {picture.height} pixels, more than {MAXIMUM_PIXELS}",
                )
            if picture.format == "JPEG" and (scans := content.count(START_OF_SCAN)) > MAXIMUM_SCANS:
                raise ArtworkError(
                    "too_large", f"{_name(source)}: {scans} scans, more than {MAXIMUM_SCANS}"
                )
            return np.asarray(_square(_colours(picture), pixels))
    except Image.DecompressionBombError as error:
        raise ArtworkError("too_large", f"{_name(source)}: {error}") from error
    except UnidentifiedImageError as error:
        raise ArtworkError(
            "not_image", f"{_name(source)}: none of {', '.join(FORMATS)} ({len(content)} bytes)"
        ) from error
    except DAMAGE as error:
        if isinstance(error, ArtworkError):
            raise
        raise ArtworkError("unreadable", f"{_name(source)}: {error}") from error


def _colours(picture: Image.Image) -> Image.Image:
    """RGB; 16-bit grey is scaled (Pillow's own conversion cuts it off at 255), what is transparent becomes white."""
    if picture.mode.startswith("I;16"):
        picture = picture.point(lambda value: value / 256, "L")
    if picture.has_transparency_data:
        layers = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return picture.convert("RGB")


def _square(picture: Image.Image, pixels: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.resize(
        (pixels, pixels), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
    )


def _fetch(uri: str) -> bytes:
    filesystem, path = resolve(uri)
    try:
        with filesystem.open_input_file(path) as stream:
            if stream.size() > MAXIMUM_BYTES:
                raise ArtworkError(
                    "too_large", f"{uri}: {stream.size()} bytes, more than {MAXIMUM_BYTES}"
                )
            return stream.read()
    except FileNotFoundError as error:
        raise ArtworkError("not_found", f"{uri}: there is no such file") from error
    except OSError as error:
        if not isinstance(filesystem, pa.fs.LocalFileSystem):
            raise  # the storage failed; the file may be sound
        raise ArtworkError("unreadable", f"{uri}: {error}") from error


def _name(source: str | bytes) -> str:
    return "picture" if isinstance(source, bytes) else source


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def decode_png(cell: bytes) -> np.ndarray:
    """The uint8 array (pixels, pixels, 3) of a cell that ``ArtworkReader`` wrote."""
    return np.asarray(Image.open(io.BytesIO(cell)))
