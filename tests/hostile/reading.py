"""Read a hostile file with the code that reads a user's files, and check the result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from hostile_inputs import HostileInput
from pyarrow import fs
from samples import AUDIO, PICTURES

from musicrec.audio import AUDIO_ERRORS, FEATURE_SHAPES, FEATURES
from musicrec.catalog.tables import Catalog, CatalogError
from musicrec.catalog.validate import load_validated
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, preset, resolved
from musicrec.extraction.isolation import Reader, read_alone
from musicrec.features.artwork import ArtworkReader, decode_png
from musicrec.features.columns import AudioReader, stored_columns
from musicrec.features.reader import decode_feature
from musicrec.schema import ARTISTS, ERROR_REASONS, RELATED, SPLITS, TRACKS

SOUND = "read correctly"
SECONDS = 45.0  # per file; a file hangs after 60 s, which leaves room for a busy machine
PIXELS = 64
COLUMNS = stored_columns(FEATURES)
READERS: dict[str, Reader] = {
    **dict.fromkeys(AUDIO, AudioReader("float16", "librosa", minimum_seconds=0.5)),
    **dict.fromkeys(PICTURES, ArtworkReader(PIXELS)),
}
RELATED_CSV = b"artist_id,related_artist_id,rank\na1,a2,1\na2,a3,1\na3,a1,1\n"
# The beginning of a line of a catalog's problems: severity, table, and a row or a column.
_PROBLEM = re.compile(r"(error|warning): (tracks|artists|related)( row \d+)?[,: ]")


@dataclass(frozen=True)
class Reading:
    """The outcome of an input.

    It is ``SOUND``, or the reason why it is refused; ``detail`` is the message.
    """

    outcome: str
    detail: str = ""


def read(hostile: HostileInput, folder: Path) -> Reading:
    """Read an input, through a file in ``folder`` if its readers take files.

    Raises
    ------
    AssertionError
        The result is neither valid nor a refusal with a reason.
    """
    if hostile.form in READERS:
        return _read_file(hostile, folder)
    reading = (
        _read_catalog(hostile, folder)
        if hostile.form in ("csv", "parquet")
        else _read_configuration(hostile, folder)
    )
    assert len(reading.detail) < 50_000, "an error text that is too long to read"
    return reading


def _read_file(hostile: HostileInput, folder: Path) -> Reading:
    path = folder / f"input.{hostile.form}"
    path.write_bytes(hostile.content)
    columns = list(COLUMNS) if hostile.form in AUDIO else ["artwork"]
    row = pa.table({"block": ["0"], "item": ["input"], "uri": [str(path)], "columns": [columns]})
    outcome = read_alone(row, READERS[hostile.form], SECONDS)
    assert outcome is not None, "it takes too long"
    assert outcome.column("track_id").to_pylist() == ["input"]
    reason, detail = outcome.column("reason")[0].as_py(), outcome.column("detail")[0].as_py()
    if reason is not None:
        assert reason in (AUDIO_ERRORS if hostile.form in AUDIO else ERROR_REASONS)
        assert str(path) in detail
        assert len(detail) < 2_000
        return Reading(reason, detail)
    if hostile.form in AUDIO:
        _check_features(outcome)
    else:
        assert decode_png(outcome.column("artwork")[0].as_py()).shape == (PIXELS, PIXELS, 3)
    return Reading(SOUND)


def _check_features(outcome: pa.Table) -> None:
    assert 0.5 <= outcome.column("duration_seconds")[0].as_py() <= 3600
    assert 1 <= outcome.column("channels")[0].as_py() <= 8
    assert 1_000 <= outcome.column("sample_rate")[0].as_py() <= 384_000
    for name in FEATURES:
        (decoded,) = decode_feature(outcome, name)
        assert decoded is not None
        feature, _ = decoded
        assert feature.shape == FEATURE_SHAPES[name]
        assert np.isfinite(feature).all(), name
        assert np.abs(feature).max() < 3_000, name


def _read_catalog(hostile: HostileInput, folder: Path) -> Reading:
    for name in ("tracks.csv", "tracks.parquet"):
        (folder / name).unlink(missing_ok=True)
    (folder / f"tracks.{hostile.form}").write_bytes(hostile.content)
    (folder / "related.csv").write_bytes(RELATED_CSV)
    try:
        catalog, warnings = load_validated(str(folder), (fs.LocalFileSystem(), str(folder)), seed=0)
    except CatalogError as error:
        assert str(error).count("\n") == len(error.problems)
        assert all(_PROBLEM.match(str(problem)) for problem in error.problems)
        stopping = [problem for problem in error.problems if problem.severity == "error"]
        return Reading(stopping[0].rule, str(error))
    assert all(_PROBLEM.match(str(problem)) for problem in warnings)
    _check_catalog(catalog)
    return Reading(SOUND)


def _check_catalog(catalog: Catalog) -> None:
    assert (catalog.tracks.schema, catalog.artists.schema, catalog.related.schema) == (
        TRACKS,
        ARTISTS,
        RELATED,
    )
    for table in (catalog.tracks, catalog.artists, catalog.related):
        table.validate(full=True)
    tracks = catalog.tracks
    assert tracks.num_rows
    assert len(set(tracks.column("track_id").to_pylist())) == tracks.num_rows
    assert set(tracks.column("split").to_pylist()) == set(SPLITS)
    assert set(tracks.column("artist_id").to_pylist()) <= set(
        catalog.artists.column("artist_id").to_pylist()
    )
    assert not [
        path
        for path in tracks.column("audio").to_pylist()
        if ".." in path.split("/") or path.startswith("/")
    ]


def _read_configuration(hostile: HostileInput, folder: Path) -> Reading:
    path = folder / "run.yaml"
    path.write_bytes(hostile.content)
    try:
        config = preset(str(path))
    except ConfigError as error:
        assert all(line.isprintable() and line for line in str(error).split("\n"))
        return Reading("not a configuration", str(error))
    assert isinstance(config, Config)
    resolved(config)
    return Reading(SOUND)
