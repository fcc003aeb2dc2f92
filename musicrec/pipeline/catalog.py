"""Open the catalog of a run.

It is the user's or a published data set, checked, or the embedded demo, which is built if missing.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs

from musicrec.catalog.demo import build as demo
from musicrec.catalog.folder.read import read_folder
from musicrec.catalog.joins import check_test_artists
from musicrec.catalog.locations import catalog_root
from musicrec.catalog.published.cifar100 import read_cifar100
from musicrec.catalog.published.fma import read_fma
from musicrec.catalog.published.jamendo import read_jamendo
from musicrec.catalog.published.music4all import read_music4all
from musicrec.catalog.split import split_report
from musicrec.catalog.tables import Catalog, CatalogError, Problem, RawCatalog, fingerprint
from musicrec.catalog.validate import checked, load_validated
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import Run
from musicrec.storage import s3
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Store, resolve, write_atomically
from musicrec.storage.store import fingerprint as key_of
from musicrec.telemetry.progress import Meter, event

DEMO = "demo"
# Relations are needed where embeddings are trained; that is checked there.
OPTIONAL = ("artists", "related")
# Published sets whose splits are made here.
WITHOUT_SPLITS = {"music4all": read_music4all, "jamendo": read_jamendo}
# Folder of the store with the pictures inside audio files.
PICTURES = "pictures"
ARTIST_SPLITS = pa.schema([("artist_id", pa.string()), ("split", pa.string())])
T = TypeVar("T")


def open_run(config: Config) -> Run:
    """Return the run of a configuration, after reading and checking its catalog.

    Raises
    ------
    CatalogError
        The catalog violates a rule.
    ConfigError
        The catalog's form needs a folder and none is given, or a bucket is missing or may not be
        read or written.
    """
    plays = () if config.plays is None else ((config.plays, False),)
    _check_access((config.store, True), (config.catalog, False), *plays)
    store = Store(config.store)
    catalog, problems = _read(config, store)
    if config.plays is not None:
        catalog = _with_plays(config, store, catalog)
        problems = [problem for problem in problems if problem.table != "related"]
    for problem in problems:
        event("catalog", str(problem))
    _keep_splits(config, store, catalog)
    key = fingerprint(catalog)[:16]
    event(
        "catalog",
        "read",
        tracks=catalog.tracks.num_rows,
        artists=catalog.artists.num_rows,
        related=catalog.related.num_rows,
        root=catalog.root,
    )
    return Run(config, store, catalog, key)


def _check_access(*locations: tuple[str, bool]) -> None:
    """Check before any work that the bucket of each location can be used.

    Each must exist and be readable, and writable if marked.
    """
    problems = [
        line
        for uri, write in locations
        if uri.startswith("s3://")
        for line in s3.access_problems(uri, write)
    ]
    if problems:
        raise ConfigError("the object storage cannot be used:\n" + "\n".join(problems))


def report_catalog(config: Config) -> None:
    """Check a catalog including its files, and report every violation and how alike its splits are.

    Raises
    ------
    CatalogError
        The catalog violates a rule that no run can do without.
    ConfigError
        The catalog's form needs a folder and none is given, or its bucket is missing or may not be
        read.
    """
    _check_access((config.catalog, False))

    def exists(uri: str) -> bool:
        filesystem, path = resolve(uri)
        return filesystem.get_file_info(path).type == pyarrow.fs.FileType.File

    catalog, problems = _read(config, Store(config.store), exists)
    splits = catalog.tracks.column("split")
    problems = problems + check_test_artists(catalog.tracks.column("artist_id"), splits)
    for problem in problems:
        event("validate", str(problem))
    event("validate", "splits", **split_report(catalog.tracks, catalog.artists))
    event(
        "validate",
        "the catalog can be used",
        tracks=catalog.tracks.num_rows,
        warnings=len(problems),
    )


def _read(
    config: Config, store: Store, exists: Callable[[str], bool] | None = None
) -> tuple[Catalog, list[Problem]]:
    """Read the catalog that a configuration names, and its problems.

    ``exists`` is described in ``validate``.
    """
    rules = config.catalog_rules
    if rules.form != "tables" and config.catalog == DEMO:
        raise ConfigError(
            f"catalog_rules.form is '{rules.form}', but catalog '{DEMO}' has another form: "
            "name the data set's folder with --catalog"
        )
    root = demo_catalog(config, store) if config.catalog == DEMO else catalog_root(config.catalog)
    if rules.form == "fma":
        allowed = rules.allowed_roots
        return read_fma(root, resolve(root), rules.fma_subset, exists=exists, allowed_roots=allowed)
    if rules.form == "cifar100":
        return read_cifar100(root, resolve(root), seed=config.seed)
    kept = _kept_splits(config, store, root)
    if rules.form == "folder":
        # A validation leaves the store as it is.
        pictures = _Pictures(store) if exists is None else None
        return checked(
            _with_tracks(read_folder(root, resolve(root), pictures)),
            seed=config.seed,
            allowed_roots=(*rules.allowed_roots, store.uri(PICTURES)),
            optional=OPTIONAL,
            kept_splits=kept,
        )
    if rules.form in WITHOUT_SPLITS:
        return checked(
            _with_tracks(WITHOUT_SPLITS[rules.form](root, resolve(root))),
            seed=config.seed,
            exists=exists,
            optional=OPTIONAL,
            kept_splits=kept,
        )
    return load_validated(
        root,
        resolve(root),
        seed=config.seed,
        exists=exists,
        allowed_roots=rules.allowed_roots,
        optional=OPTIONAL,
        kept_splits=kept,
    )


def _with_tracks(raw: RawCatalog) -> RawCatalog:
    """Return tables that have tracks; CatalogError with what their form lacks if there are none."""
    if "tracks" not in raw.tables:
        raise CatalogError(list(raw.problems))
    return raw


class _Pictures:
    """Keep the pictures inside audio files in the store, each once, named by its SHA-256."""

    def __init__(self, store: Store) -> None:
        self.store, self.names = store, set(store.names(PICTURES))

    def __call__(self, digest: str, content: bytes) -> str:
        """Return the URI of a picture, after writing it if the store lacks it."""
        if digest not in self.names:
            self.store.write(f"{PICTURES}/{digest}", content)
            self.names.add(digest)
        return self.store.uri(f"{PICTURES}/{digest}")


def _with_plays(config: Config, store: Store, catalog: Catalog) -> Catalog:
    """Return the catalog with the relations of the configured plays.

    The plays may name an artist by id or name, or a track by id or path.
    """
    from musicrec.relations.relate import relate

    artists, tracks = catalog.artists, catalog.tracks
    columns = (
        (artists["artist_id"], artists["artist_id"]),
        (artists["name"], artists["artist_id"]),
        (tracks["track_id"], tracks["artist_id"]),
        (tracks["audio"], tracks["artist_id"]),
    )
    aliases = pa.concat_tables([pa.table({"track": a, "item": b}) for a, b in columns])
    done = relate(
        config.plays,
        config.plays_form,
        config.relations,
        store,
        config.ray,
        config.lock,
        aliases.filter(aliases["track"].is_valid()),
    )
    related = done.tables()
    if catalog.related.num_rows:
        event("catalog", "the relations of the plays replace the table related")
    own = pc.is_in(related["artist_id"], value_set=artists["artist_id"].combine_chunks())
    event(
        "catalog",
        "relations of plays",
        relations=related.num_rows,
        of_artists_with_tracks=pc.sum(own).as_py(),
    )
    if not pc.any(own).as_py():
        raise ConfigError(
            f"--plays {config.plays}: none of its artists is in the catalog: the plays name "
            f"{related['artist_id'][0].as_py()!r}, the catalog "
            f"{artists['artist_id'][0].as_py()!r}; write the same names or ids in both"
        )
    return dataclasses.replace(catalog, related=related)


def _splits_file(config: Config, root: str) -> str:
    """Return the store's file of the split of every artist that a catalog ever had, by seed."""
    return f"splits/{key_of(root, config.seed)}.parquet"


def _kept_splits(config: Config, store: Store, root: str) -> dict[str, str]:
    name = _splits_file(config, root)
    if not store.exists(name):
        return {}
    try:
        table = store.read_table(name, ARTIST_SPLITS)
    except DamagedError as error:
        raise ConfigError(
            f"{store.uri(name)} is damaged: it keeps the split of every artist. Restore it from a "
            "backup; or delete it, and artists whose split the catalog does not give are split "
            "anew, and earlier models may have been trained on the new test artists"
        ) from error
    return dict(zip(*table.to_pydict().values(), strict=True))


def _keep_splits(config: Config, store: Store, catalog: Catalog) -> None:
    """Store the artists' splits, so that a growing catalog keeps them.

    A test artist is then never trained on.
    """
    if config.catalog_rules.form in ("fma", "cifar100"):
        return  # the published splits are the data set's own
    current = dict(
        zip(*catalog.tracks.select(["artist_id", "split"]).to_pydict().values(), strict=True)
    )
    earlier = _kept_splits(config, store, catalog.root)
    if current.items() <= earlier.items():
        return
    if moved := sorted(
        artist for artist in current.keys() & earlier.keys() if current[artist] != earlier[artist]
    ):
        event(
            "catalog",
            "artists that are in another split than in an earlier run",
            artists=len(moved),
            first=moved[:3],
        )
    table = pa.table(
        list(zip(*sorted((earlier | current).items()), strict=True)), schema=ARTIST_SPLITS
    )
    store.write_table(_splits_file(config, catalog.root), table, ARTIST_SPLITS)


def demo_catalog(config: Config, store: Store) -> str:
    """Return the URI of the demo catalog of this run's seed, rendered through Ray if incomplete."""
    clips, seconds, seed = (
        config.catalog_rules.demo_clips,
        config.catalog_rules.demo_seconds,
        config.seed,
    )
    longer = f"-{seconds:g}s" if seconds != demo.CLIP_SECONDS else ""
    folder = f"catalogs/demo-seed{seed}-{clips}clips{longer}"
    root = store.uri(folder)
    if _is_built(store, folder, seed, clips):
        return root
    from musicrec.runtime.cluster import connect, map_unordered

    connect(config.ray)
    works = demo.demo_works(seed, clips)
    rows = []
    with Meter("demo catalog", len(works), "clips") as meter:
        for row in map_unordered(_render, works, root, seconds):
            rows.append(row)
            meter.advance(artist=row["artist"] or "")
    _in_folder(root, lambda local: demo.write_tables(rows, local, seed))
    event("demo catalog", "built", clips=len(rows), root=root)
    return root


def _is_built(store: Store, folder: str, seed: int, clips: int) -> bool:
    if store.is_local:
        return demo.is_built(store.uri(folder), seed, clips)
    return store.exists(f"{folder}/{demo.MARKER}")


def _render(work: demo.Work, root: str, seconds: float) -> dict:
    """Render one work into the catalog, unless an earlier build did."""
    filesystem, base = resolve(root)
    done = f"{base}/rows/{work.track_id}.json"
    if (
        not isinstance(filesystem, pyarrow.fs.LocalFileSystem)
        and filesystem.get_file_info(done).type == pyarrow.fs.FileType.File
    ):
        with filesystem.open_input_file(done) as stream:
            return json.loads(stream.read())["row"]
    return _in_folder(root, lambda local: demo.render_work(work, local, seconds))


def _in_folder(root: str, write: Callable[[str], T]) -> T:
    """Call ``write`` with a local folder whose files end up under ``root``.

    It is that folder itself, or a temporary one that is uploaded, markers last.
    """
    filesystem, base = resolve(root)
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return write(base)
    with tempfile.TemporaryDirectory() as local:
        result = write(local)
        files = [path for path in Path(local).rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: (path.suffix == ".json", path)):
            write_atomically(filesystem, f"{base}/{path.relative_to(local)}", path.read_bytes())
    return result
