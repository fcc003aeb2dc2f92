"""Where the files of a catalog lie: the URI of an ``audio`` or ``artwork`` value, one alone or a column of millions."""

from __future__ import annotations

import posixpath

import pyarrow as pa
import pyarrow.compute as pc

# Segments that need no thought: none is empty, "." or "..", none holds a colon.
SEGMENTS = r"[^/:.][^/:]*(/[^/:.][^/:]*)*"
RELATIVE = f"^{SEGMENTS}$"
ABSOLUTE = f"^([a-zA-Z][a-zA-Z0-9+-]*:/)?/{SEGMENTS}$"
LOCAL_URI = "file://"


def audio_uri(catalog_root: str, value: str) -> str:
    """Where an ``audio`` or ``artwork`` value lies: absolute, without ``.`` and ``..`` segments; a relative value starts from the root."""
    if "://" not in value and not value.startswith("/"):
        value = f"{catalog_root.rstrip('/')}/{value}"
    scheme, _, path = value.rpartition("://")
    if scheme in ("", "file"):
        return posixpath.abspath(posixpath.expanduser(path))
    return f"{scheme}://{posixpath.normpath(path) if '/.' in path else path}"  # an object's name may hold //


def audio_uris(catalog_root: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """``audio_uri`` of each value; Python looks only at those that are more than a root's tail or an absolute name."""
    relative = pc.match_substring_regex(values, RELATIVE)
    absolute = pc.and_(
        pc.match_substring_regex(values, ABSOLUTE), pc.invert(pc.starts_with(values, LOCAL_URI))
    )
    root = audio_uri(catalog_root, "x").removesuffix("x")
    uris = pc.if_else(relative, pc.binary_join_element_wise(root, values, ""), values)
    odd = pc.invert(pc.or_(relative, absolute))
    seen = [audio_uri(catalog_root, value) for value in values.filter(odd).to_pylist()]
    return (
        pc.replace_with_mask(uris, odd.combine_chunks(), pa.array(seen, pa.string()))
        if seen
        else uris
    )
