"""Assemble a recommender's folder from the outcomes of a run."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from musicrec import schema
from musicrec.artists.ranking import FILES
from musicrec.config.inputs import PRETRAINED
from musicrec.pipeline.artists import artist_facts
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ranking import read_file
from musicrec.pretrained.embedder import load_embedder
from musicrec.serving.recommender import ARTISTS, ENSEMBLE, save
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.training.checkpoints import load_weights_file


def artist_table(run: Run, embedded: Outcome) -> pa.Table:
    """Return the embedded artists with the catalog's facts about them (``ARTISTS``)."""
    embeddings = run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS)
    facts = artist_facts(run.catalog, embeddings.column("artist_id").to_pylist())
    columns = {
        name: [artist[name] for artist in facts] for name in ARTISTS.names if name != "vector"
    }
    return pa.table(columns | {"vector": embeddings.column("vector")}, schema=ARTISTS)


def write_recommender(
    folder: Path,
    run: Run,
    embedded: Outcome,
    submodels: dict[str, Outcome],
    ensemble: Outcome,
    ranked: Outcome | None = None,
) -> EnsembleSpec:
    """Write the ensemble, the submodels that it reads and the artists into a local folder.

    ``ranked`` has the members that rank next to the ensemble, if there are any.

    Returns the ensemble's spec. The folder is one that ``Recommender.load`` reads.
    """
    spec = EnsembleSpec.from_json(run.store.read_json(ensemble.stage.path("spec.json")))
    used = {name: submodels[name] for name in spec.submodels()}
    specs = [
        SubmodelSpec.from_json(run.store.read_json(outcome.stage.path("spec.json")))
        for outcome in used.values()
    ]
    weights = {
        name: load_weights_file(run.store, outcome.stage.folder)
        for name, outcome in (*used.items(), (ENSEMBLE, ensemble))
    }
    save(
        folder,
        spec,
        specs,
        weights,
        artist_table(run, embedded),
        run.config.extract.chroma,
        run.config.registry.segments,
        {spec.feature: load_embedder().weights() for spec in specs if spec.feature in PRETRAINED},
    )
    for name in FILES if ranked is not None else ():
        (folder / name).write_bytes(read_file(run, ranked, name))
    return spec
