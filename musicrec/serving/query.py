"""One query of a recommender: the fields of a track in the registry of inputs."""

from __future__ import annotations

import dataclasses

from musicrec.config.inputs import FIELDS

KINDS = {"file": str | bytes, "text": str, "number": float}

# A frozen dataclass with one attribute per field; None is a missing input. A file is a path, a URI
# or the file's bytes.
Query = dataclasses.make_dataclass(
    "Query",
    [
        (name, KINDS[field.kind] | None, dataclasses.field(default=None))
        for name, field in FIELDS.items()
    ],
    frozen=True,
    kw_only=True,
    namespace={"__module__": __name__, "__doc__": "The inputs of one track; None if missing."},
)
