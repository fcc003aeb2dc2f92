"""The table of pretrained vectors: its columns, and the reader that turns recordings into rows."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from musicrec.audio import CLIP_SECONDS, AudioError
from musicrec.config.inputs import PRETRAINED
from musicrec.extraction.manifest import OUTCOME_FIELDS
from musicrec.extraction.rows import failed_rows
from musicrec.features import codec
from musicrec.pretrained.packages import MUSICNN
from musicrec.storage.store import fingerprint, resolve

# Increase it when the same recording and weights give another vector.
REVISION = 1


@dataclass(frozen=True)
class PretrainedReader:
    """Reads the recordings of a block and computes the vector of the first 30 s of each.

    Attributes
    ----------
    name
        The network, which is also the name of the column.
    """

    name: str
    minimum_seconds: float

    def parameters(self) -> str:
        """Return the hash of everything that decides the vectors."""
        return fingerprint(self.name, REVISION, sorted(MUSICNN.files.values()), CLIP_SECONDS)

    def schema(self) -> pa.Schema:
        """Return the schema of the parts."""
        text = pa.string()
        column = codec.field(self.name, (PRETRAINED[self.name].length, 1), "float32")
        facts = [pa.field("track_id", text), pa.field("audio", text), pa.field("parameters", text)]
        return pa.schema(
            [*facts, pa.field("duration_seconds", pa.float64()), column, *OUTCOME_FIELDS]
        )

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Read the recordings of rows of the manifest."""
        read = [
            self._read(row["item"], row["uri"]) for row in rows.select(["item", "uri"]).to_pylist()
        ]
        return pa.Table.from_pylist(read, schema=self.schema())

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        """Return rows of the manifest as failed, in the schema of their part."""
        return failed_rows(rows, self.schema(), reason, detail, parameters=self.parameters())

    def _read(self, item: str, uri: str) -> dict[str, str | float | bytes]:
        from musicrec.audio import decode  # not needed to plan a job, and loads Numba and torch
        from musicrec.pretrained.embedder import load_embedder

        embedder = load_embedder()
        row = {"track_id": item, "audio": uri, "parameters": self.parameters()}
        try:
            audio = decode(
                uri, embedder.sample_rate, minimum_seconds=self.minimum_seconds, locate=resolve
            )
        except AudioError as error:
            return row | {"reason": error.reason, "detail": error.detail}
        clip = audio.samples[: int(CLIP_SECONDS * embedder.sample_rate)]
        vector = codec.encode(embedder(clip), "float32")
        return row | {"duration_seconds": audio.duration_seconds, self.name: vector}
