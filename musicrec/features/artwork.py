"""Album artwork: an image file becomes a square RGB image, stored as a lossless PNG."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.fs
from PIL import Image, UnidentifiedImageError

from musicrec.extraction.manifest import OUTCOME_FIELDS
from musicrec.extraction.rows import failed_rows
from musicrec.storage.store import resolve

# Larger than any album art in use; a small file can decompress to gigabytes.
MAXIMUM_PIXELS = 50_000_000
MAXIMUM_BYTES = 64 * 2**20
# Each scan of a progressive JPEG is a pass over the whole image, even one of a few bytes; encoders
# write about ten.
MAXIMUM_SCANS = 100
START_OF_SCAN = b"\xff\xda"
# Formats of album art. Pillow knows more, some of them through other programs (EPS starts
# Ghostscript), some with decoders that are hardly ever tested with damaged files.
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000")


class ArtworkError(ValueError):
    """An unusable image: a reason of ``schema.ERROR_REASONS`` and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class ArtworkReader:
    """Reads the images of a block and scales them to squares of ``pixels`` x ``pixels``."""

    pixels: int

    def schema(self) -> pa.Schema:
        """Return the schema of the parts."""
        image = pa.field("artwork", pa.large_binary(), metadata={"pixels": str(self.pixels)})
        return pa.schema([pa.field("track_id", pa.string()), image, *OUTCOME_FIELDS])

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Read the images of rows of the manifest."""
        return pa.Table.from_pylist(
            [self._read(row["item"], row["uri"]) for row in rows.to_pylist()], schema=self.schema()
        )

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        """Return rows of the manifest as failed, in the schema of their part."""
        return failed_rows(rows, self.schema(), reason, detail)

    def _read(self, item: str, uri: str) -> dict[str, str | bytes]:
        try:
            return {"track_id": item, "artwork": _png(load_artwork(uri, self.pixels))}
        except ArtworkError as error:
            return {"track_id": item, "reason": error.reason, "detail": error.detail}


def load_artwork(source: str | bytes, pixels: int) -> np.ndarray:
    """Load an image as a uint8 array (pixels, pixels, 3), RGB.

    It is the middle square of the image, resized with antialiasing.

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
            # The limit below is stricter than Pillow's, and its warnings about a file's metadata
            # are of no use here.
            warnings.simplefilter("ignore")
            # Loads Pillow's decoders the first time; formats it was built without are not in OPEN.
            Image.init()
            image = Image.open(
                io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]
            )
            if image.width * image.height > MAXIMUM_PIXELS:
                raise ArtworkError(
                    "too_large",
                    f"{_name(source)}: {image.width} x {image.height} pixels, "
                    f"more than {MAXIMUM_PIXELS}",
                )
            if image.format == "JPEG" and (scans := content.count(START_OF_SCAN)) > MAXIMUM_SCANS:
                raise ArtworkError(
                    "too_large", f"{_name(source)}: {scans} scans, more than {MAXIMUM_SCANS}"
                )
            return np.asarray(_square(_to_rgb(image), pixels))
    except Image.DecompressionBombError as error:
        raise ArtworkError("too_large", f"{_name(source)}: {error}") from error
    except UnidentifiedImageError as error:
        raise ArtworkError(
            "not_image", f"{_name(source)}: none of {', '.join(FORMATS)} ({len(content)} bytes)"
        ) from error
    except (ArtworkError, ImportError):
        raise
    except Exception as error:  # Pillow's decoders raise anything over damaged bytes
        detail = f"{_name(source)}: {error or type(error).__name__}"
        raise ArtworkError("unreadable", detail) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB: 16-bit grey is scaled (Pillow clips it at 255), transparent becomes white."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256, "L")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return image.convert("RGB")


def _square(image: Image.Image, pixels: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize(
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
            raise  # the storage failed; the file may be intact
        raise ArtworkError("unreadable", f"{uri}: {error}") from error


def _name(source: str | bytes) -> str:
    return "image" if isinstance(source, bytes) else source


def _png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def decode_png(cell: bytes) -> np.ndarray:
    """Decode a cell written by ``ArtworkReader`` to a uint8 array (pixels, pixels, 3)."""
    return np.asarray(Image.open(io.BytesIO(cell)))
