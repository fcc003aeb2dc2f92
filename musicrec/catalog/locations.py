"""Resolve the URI of an ``audio`` or ``artwork`` value, one value or a column of millions."""

from __future__ import annotations

import posixpath

import pyarrow as pa
import pyarrow.compute as pc

# Simple segments: none is empty, "." or "..", none holds a colon.
SEGMENTS = r"[^/:.][^/:]*(/[^/:.][^/:]*)*"
RELATIVE = f"^{SEGMENTS}$"
ABSOLUTE = f"^([a-zA-Z][a-zA-Z0-9+-]*:/)?/{SEGMENTS}$"
LOCAL_URI = "file://"


def audio_uri(catalog_root: str, value: str) -> str:
    """Return the absolute URI of an ``audio`` or ``artwork`` value.

    It has no ``.`` and ``..`` segments.

    A relative value starts from the root.
    """
    if "://" not in value and not value.startswith("/"):
        value = f"{catalog_root.rstrip('/')}/{value}"
    scheme, _, path = value.rpartition("://")
    if scheme in ("", "file"):
        return posixpath.abspath(posixpath.expanduser(path))
    # an object's name may contain //
    return f"{scheme}://{posixpath.normpath(path) if '/.' in path else path}"


def audio_uris(catalog_root: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Apply ``audio_uri`` to each value.

    Python handles only the values that are neither simple relative paths nor simple absolute names.
    """
    relative = pc.match_substring_regex(values, RELATIVE)
    absolute = pc.and_(
        pc.match_substring_regex(values, ABSOLUTE), pc.invert(pc.starts_with(values, LOCAL_URI))
    )
    root = audio_uri(catalog_root, "x").removesuffix("x")
    uris = pc.if_else(relative, pc.binary_join_element_wise(root, values, ""), values)
    complex_values = pc.invert(pc.or_(relative, absolute))
    resolved = [
        audio_uri(catalog_root, value) for value in values.filter(complex_values).to_pylist()
    ]
    return (
        pc.replace_with_mask(uris, complex_values.combine_chunks(), pa.array(resolved, pa.string()))
        if resolved
        else uris
    )
