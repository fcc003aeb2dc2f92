"""Check the files that a catalog names: where they are, and whether they exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.links import outside_by_link
from musicrec.catalog.locations import FILE_URI, OUTSIDE, audio_uri, audio_uris
from musicrec.catalog.rules import Inspected
from musicrec.storage.uri import why_unusable
from musicrec.telemetry.redact import PASSWORD


def check_files(
    tracks: Inspected,
    column: str,
    root: str,
    allowed_roots: Sequence[str],
    exists: Callable[[str], bool] | None,
) -> None:
    """Check that a column of URIs names existing files, all inside the allowed roots."""
    if not tracks.has(column):
        return
    texts = tracks.columns[column]
    backslash = pc.fill_null(pc.match_substring(texts, "\\"), False).to_numpy()
    tracks.report(
        column,
        backslash,
        "backslash in a path",
        "write it relative to the catalog's root with /, for example audio/a.mp3",
    )
    passwords = pc.fill_null(pc.match_substring_regex(texts, PASSWORD), False)
    tracks.report(
        column,
        passwords,
        "credentials in a URI",
        "pass them by environment variables, a profile or a role",
    )
    file_uris = pc.fill_null(pc.match_substring_regex(texts, rf"{FILE_URI}|\x00"), False).to_numpy()
    reasons = {
        int(i): reason
        for i in np.flatnonzero(file_uris & ~backslash)
        if (reason := why_unusable(texts[int(i)].as_py()))
    }
    unusable = np.array([*reasons], np.int64)
    tracks.report(column, unusable, "not a usable location", reasons.__getitem__)
    homes = [audio_uri(home, "").rstrip("/") + "/" for home in (root, *allowed_roots)]
    has_parent = pc.match_substring_regex(texts, r"(^|/)\.\.(/|$)")
    elsewhere = pc.match_substring_regex(texts, OUTSIDE)
    for home in homes:
        elsewhere = pc.and_(elsewhere, pc.invert(pc.starts_with(texts, home)))
    suspects = np.flatnonzero(
        pc.fill_null(pc.or_(has_parent, elsewhere), False).to_numpy() & ~backslash
    )
    outside = np.array(
        [
            i
            for i in np.setdiff1d(suspects, unusable)
            if not f"{audio_uri(root, texts[int(i)].as_py())}/".startswith(tuple(homes))
        ],
        np.int64,
    )
    tracks.report(
        column,
        outside,
        "outside the catalog's root",
        f"move the file under {root}, or add its folder to catalog_rules.allowed_roots",
    )
    readable = np.flatnonzero(texts.is_valid().to_numpy() & ~backslash)
    inside = np.setdiff1d(readable, np.union1d(outside, unusable))
    uris = audio_uris(root, texts.take(pa.array(inside)))
    linked = outside_by_link(uris, [home.rstrip("/") or "/" for home in homes])
    tracks.report(
        column,
        inside[linked],
        "a link out of the catalog's root",
        lambda index: (
            f"it leads to {os.path.realpath(audio_uri(root, texts[index].as_py()))}: copy the file "
            f"under {root}, or add its folder to catalog_rules.allowed_roots"
        ),
    )
    if exists is None:
        return
    inside = inside[~linked]
    codes = tracks.codes(column)
    distinct = inside[np.unique(codes[inside], return_index=True)[1]]
    absent = [i for i in distinct if not exists(audio_uri(root, texts[int(i)].as_py()))]
    fix = (
        "the track will be a row of the errors table"
        if column == "audio"
        else "the track is used without artwork"
    )
    tracks.report(
        column,
        np.flatnonzero(np.isin(codes, codes[absent])) if absent else np.arange(0),
        "file not found",
        fix,
        "warning",
    )
