"""The feature table: which columns are stored, how a block of audio files becomes rows of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from musicrec import schema
from musicrec.audio import FEATURE_SHAPES, AudioError, feature_parameters
from musicrec.extraction.manifest import OUTCOME_FIELDS, ROW_GROUP_ROWS
from musicrec.features import codec
from musicrec.features.standardise import halved_statistics
from musicrec.storage.store import fingerprint, resolve

Statistics = tuple[np.ndarray, np.ndarray]
HALVED_STATISTICS = ("stft_halved_mean", "stft_halved_deviation")


def stored_columns(features: tuple[str, ...]) -> tuple[str, ...]:
    """The feature columns that hold ``features``: ``stft_halved`` is the lower half of ``stft`` where both are wanted."""
    return tuple(name for name in features if not (name == "stft_halved" and "stft" in features))


def column_precision(feature: str, precision: str) -> str:
    """How a feature's column is stored: MFCCs reach some hundreds, where a step of float16 is 0.25, and are small: one precision better."""
    return {"float16": "float32", "uint8": "float16"}[precision] if feature == "mfcc" else precision


def read_columns(feature: str, stored: Iterable[str]) -> list[str]:
    """The columns to read for one feature where ``stored`` are there."""
    if feature != "stft_halved":
        return [feature]
    return [feature, *HALVED_STATISTICS] if feature in stored else ["stft"]


def decode_feature(
    table: pa.Table, feature: str
) -> list[tuple[np.ndarray, Statistics | None] | None]:
    """One feature (F, T) of each row, and for ``stft_halved`` the whole frames' mean and deviation (T,); None where a row failed."""
    if feature != "stft_halved":
        return [
            None if array is None else (array, None)
            for array in codec.decode_column(table, feature)
        ]
    if feature not in table.column_names:
        return [
            None if array is None else halve(array) for array in codec.decode_column(table, "stft")
        ]
    statistics = zip(*(table.column(name).to_pylist() for name in HALVED_STATISTICS), strict=True)
    arrays = codec.decode_column(table, feature)
    return [
        None if array is None else (array, tuple(np.frombuffer(cell, "<f4") for cell in cells))
        for array, cells in zip(arrays, statistics, strict=True)
    ]


def read_stored(
    places: Sequence[tuple[str, int] | None], feature: str
) -> list[tuple[np.ndarray, Statistics | None] | None]:
    """One extracted feature of each place (URI of a part, and row in it) as ``decode_feature`` gives it; None where there is no place."""
    found: list[tuple[np.ndarray, Statistics | None] | None] = [None] * len(places)
    wanted: dict[tuple[str, int], list[int]] = {}
    for index, place in enumerate(places):
        if place is not None:
            wanted.setdefault((place[0], place[1] // ROW_GROUP_ROWS), []).append(index)
    for part, groups in itertools.groupby(sorted(wanted), key=lambda group: group[0]):
        filesystem, path = resolve(part)
        with pyarrow.parquet.ParquetFile(path, filesystem=filesystem) as file:
            for group in groups:
                decoded = decode_feature(
                    file.read_row_group(
                        group[1], columns=read_columns(feature, file.schema_arrow.names)
                    ),
                    feature,
                )
                for index in wanted[group]:
                    found[index] = decoded[places[index][1] % ROW_GROUP_ROWS]
    return found


def halve(stft: np.ndarray) -> tuple[np.ndarray, Statistics]:
    """The lower half of an STFT in dB, and the whole frames' mean and deviation, by which the thesis standardises it."""
    return stft[: FEATURE_SHAPES["stft_halved"][0]], halved_statistics(stft)


def compile_kernels() -> None:
    """Compile the feature kernels into Numba's cache (13 s the first time on a machine, 0.4 s from then on)."""
    from musicrec.audio import compile_kernels as compile_all

    compile_all()


@dataclass(frozen=True)
class AudioReader:
    """Reads the audio files of a block and extracts the columns that its rows ask for."""

    precision: str
    chroma: str
    minimum_seconds: float

    def parameters(self) -> str:
        """The hash of everything that decides a value of the features."""
        return fingerprint(
            feature_parameters(self.chroma),
            self.precision,
            column_precision("mfcc", self.precision),
        )

    def schema(self, columns: list[str]) -> pa.Schema:
        facts = [
            field.with_nullable(field.name not in ("track_id", "audio"))
            for field in schema.FEATURE_FACTS
        ]
        features = [
            codec.field(name, FEATURE_SHAPES[name], column_precision(name, self.precision))
            for name in columns
        ]
        if "stft_halved" in columns:
            features += [pa.field(name, pa.large_binary()) for name in HALVED_STATISTICS]
        return pa.schema([*facts, *features, *OUTCOME_FIELDS])

    def __call__(self, rows: pa.Table) -> pa.Table:
        columns = rows.column("columns")[0].as_py()
        parameters = self.parameters()
        read = [
            self._read(row["item"], row["uri"], columns, parameters)
            for row in rows.select(["item", "uri"]).to_pylist()
        ]
        return pa.Table.from_pylist(read, schema=self.schema(columns))

    def _read(self, item: str, uri: str, columns: list[str], parameters: str) -> dict[str, Any]:
        from musicrec.audio import (  # Numba loads where a file is read, not where a job is planned
            decode,
            extract_features,
        )

        row: dict[str, Any] = {"track_id": item, "audio": uri, "parameters": parameters}
        try:
            audio = decode(uri, minimum_seconds=self.minimum_seconds, locate=resolve)
        except AudioError as error:
            return row | {"reason": error.reason, "detail": error.detail}
        wanted = tuple("stft" if name == "stft_halved" else name for name in columns)
        features = extract_features(audio.samples, wanted, chroma=self.chroma)
        if "stft_halved" in columns:
            features["stft_halved"], statistics = halve(features["stft"])
            row |= {
                name: value.astype("<f4").tobytes()
                for name, value in zip(HALVED_STATISTICS, statistics, strict=True)
            }
        facts = {
            "duration_seconds": audio.duration_seconds,
            "sample_rate": audio.native_sample_rate,
            "channels": audio.channels,
        }
        facts |= {"codec": audio.codec, "silent": audio.silent}
        return (
            row
            | facts
            | {
                name: codec.encode(features[name], column_precision(name, self.precision))
                for name in columns
            }
        )
