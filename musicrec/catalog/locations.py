"""Resolve the URI of an ``audio`` or ``artwork`` value, one value or a column of millions."""

from __future__ import annotations

import posixpath

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.storage.uri import absolute, is_file_uri, local_path, why_unusable

# Simple segments: none is empty, "." or "..", none holds a colon.
SEGMENTS = r"[^/:.][^/:]*(/[^/:.][^/:]*)*"
RELATIVE = f"^{SEGMENTS}$"
ABSOLUTE = f"^([a-zA-Z][a-zA-Z0-9+-]*:/)?/{SEGMENTS}$"
FILE_URI = r"^(?i:file:/)"
# A value of these is not relative to the catalog's root.
OUTSIDE = r"^/|://|" + FILE_URI


def catalog_root(uri: str) -> str:
    """Return the root of a catalog as its keys have it, valid in every process.

    A ``file:`` URI stays as given, because the keys of stages in existing stores hold it.
    ``audio_uri`` makes it a local path.
    """
    return uri.rstrip("/") if is_file_uri(uri) else absolute(uri)


def audio_uri(root: str, value: str) -> str:
    """Return the local path, or the URI of remote storage, of an ``audio`` or ``artwork`` value.

    It has no ``.`` and ``..`` segments. A relative value, taken literally, starts from the
    catalog's root. A ``file:`` URI that cannot be a path of this machine stays as it is.
    """
    if value.startswith("/"):
        return posixpath.normpath(value)
    if is_file_uri(value):
        return value if why_unusable(value) else posixpath.normpath(local_path(value))
    if "://" not in value:
        value = f"{absolute(root).rstrip('/')}/{value}"
    if value.startswith("/"):
        return posixpath.normpath(value)
    scheme, _, path = value.rpartition("://")
    # an object's name may contain //
    return f"{scheme}://{posixpath.normpath(path) if '/.' in path else path}"


def audio_uris(root: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Apply ``audio_uri`` to each value.

    Python handles only the values that are neither simple relative paths nor simple absolute names.
    """
    relative = pc.match_substring_regex(values, RELATIVE)
    absolute_values = pc.and_(
        pc.match_substring_regex(values, ABSOLUTE),
        pc.invert(pc.match_substring_regex(values, FILE_URI)),
    )
    folder = audio_uri(root, "x").removesuffix("x")
    uris = pc.if_else(relative, pc.binary_join_element_wise(folder, values, ""), values)
    complex_values = pc.invert(pc.or_(relative, absolute_values))
    resolved = [audio_uri(root, value) for value in values.filter(complex_values).to_pylist()]
    return (
        pc.replace_with_mask(uris, complex_values.combine_chunks(), pa.array(resolved, pa.string()))
        if resolved
        else uris
    )
