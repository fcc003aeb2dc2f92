"""The feature table: its columns, and the reader that turns audio files into its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.audio import FEATURE_SHAPES, AudioError, feature_parameters
from musicrec.extraction.manifest import OUTCOME_FIELDS
from musicrec.extraction.rows import failed_rows
from musicrec.features import codec
from musicrec.features.standardise import halved_statistics
from musicrec.storage.store import fingerprint, resolve

Statistics = tuple[np.ndarray, np.ndarray]
# What is wrong with a file that was read; parts of earlier versions lack the column.
WARNING = pa.field("warning", pa.string())
HALVED_STATISTICS = ("stft_halved_mean", "stft_halved_deviation")


def stored_columns(features: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns that store ``features``.

    ``stft_halved`` has no column of its own where ``stft``, of which it is the lower half, is
    stored too.
    """
    return tuple(name for name in features if not (name == "stft_halved" and "stft" in features))


def column_precision(feature: str, precision: str) -> str:
    """Return the precision of a feature's column: MFCCs are stored one step more precisely.

    They reach some hundreds, where a step of float16 is 0.25, and are small.
    """
    return {"float16": "float32", "uint8": "float16"}[precision] if feature == "mfcc" else precision


def halve(stft: np.ndarray) -> tuple[np.ndarray, Statistics]:
    """Return the lower half of an STFT in dB, and the statistics that standardise it.

    These are mean and deviation of the whole frames, as in the thesis.
    """
    return stft[: FEATURE_SHAPES["stft_halved"][0]], halved_statistics(stft)


def computed_features(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the features to compute for columns: the statistics of a half are of the whole."""
    return tuple("stft" if name == "stft_halved" else name for name in columns)


def compile_kernels() -> None:
    """Compile the feature kernels into Numba's cache (13 s on a new machine, 0.4 s after that)."""
    from musicrec.audio import compile_kernels as compile_all

    compile_all()


@dataclass(frozen=True)
class AudioReader:
    """Reads the audio files of a block and extracts the columns that its rows name."""

    precision: str
    chroma: str
    minimum_seconds: float

    def parameters(self) -> str:
        """Return the hash of everything that decides the values of the features."""
        return fingerprint(
            feature_parameters(self.chroma),
            self.precision,
            column_precision("mfcc", self.precision),
        )

    def schema(self, columns: list[str]) -> pa.Schema:
        """Return the schema of a part with these feature columns."""
        facts = [
            field.with_nullable(field.name not in ("track_id", "audio"))
            for field in schema.FEATURE_FACTS
        ]
        facts.append(WARNING)
        features = [
            codec.field(name, FEATURE_SHAPES[name], column_precision(name, self.precision))
            for name in columns
        ]
        if "stft_halved" in columns:
            features += [pa.field(name, pa.large_binary()) for name in HALVED_STATISTICS]
        return pa.schema([*facts, *features, *OUTCOME_FIELDS])

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Read rows of the manifest that have the same columns."""
        columns = rows.column("columns")[0].as_py()
        read = [
            self._read(row["item"], row["uri"], columns)
            for row in rows.select(["item", "uri"]).to_pylist()
        ]
        return pa.Table.from_pylist(read, schema=self.schema(columns))

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        """Return rows of the manifest as failed, in the schema of their part."""
        outcome = self.schema(rows.column("columns")[0].as_py())
        return failed_rows(rows, outcome, reason, detail, parameters=self.parameters())

    def _read(self, item: str, uri: str, columns: list[str]) -> dict[str, Any]:
        from musicrec.audio import extract_features  # not needed to plan a job, and loads Numba

        row, samples = self.decode(item, uri)
        if samples is None:
            return row
        features = extract_features(samples, computed_features(columns), chroma=self.chroma)
        return row | self.encode(features, columns)

    def decode(self, item: str, uri: str) -> tuple[dict[str, Any], np.ndarray | None]:
        """Decode a file; return its row without features, and its samples or None if it failed."""
        from musicrec.audio import decode  # not needed to plan a job, and loads Numba

        row: dict[str, Any] = {"track_id": item, "audio": uri, "parameters": self.parameters()}
        try:
            audio = decode(uri, minimum_seconds=self.minimum_seconds, locate=resolve)
        except AudioError as error:
            return row | {"reason": error.reason, "detail": error.detail}, None
        facts = {
            "duration_seconds": audio.duration_seconds,
            "sample_rate": audio.native_sample_rate,
            "channels": audio.channels,
            "codec": audio.codec,
            "silent": audio.silent,
            WARNING.name: audio.warning,
        }
        return row | facts, audio.samples

    def encode(self, features: dict[str, np.ndarray], columns: list[str]) -> dict[str, bytes]:
        """Encode the ``computed_features`` of a clip as the cells of its columns."""
        cells: dict[str, bytes] = {}
        if "stft_halved" in columns:
            half, statistics = halve(features["stft"])
            features = features | {"stft_halved": half}
            cells = {
                name: value.astype("<f4").tobytes()
                for name, value in zip(HALVED_STATISTICS, statistics, strict=True)
            }
        return cells | {
            name: codec.encode(features[name], column_precision(name, self.precision))
            for name in columns
        }
