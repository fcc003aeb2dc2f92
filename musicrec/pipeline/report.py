"""Write the report of a run: one HTML file, and its plots as PNG and SVG, in store and MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from musicrec import schema
from musicrec.config.load import resolved
from musicrec.evaluation.thesis import TABLE_3, TABLE_4, TABLE_5, TABLE_6
from musicrec.inspection.errors import grouped
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage, versions
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import RANKED, RESULTS
from musicrec.pipeline.held_out import describe
from musicrec.pipeline.report_sections import clip_pictures, embedding_sections, genre_sections
from musicrec.registry.training_log import training_log
from musicrec.report.catalog import failures_section, splits_section, tail_section
from musicrec.report.counterparts import counterparts_section
from musicrec.report.curves import curves_section
from musicrec.report.headline import headline
from musicrec.report.page import Head, render, render_stills
from musicrec.report.results import results_section
from musicrec.report.scores import Scored, metrics_of
from musicrec.report.sections import Section
from musicrec.storage.store import Stage, fingerprint
from musicrec.telemetry.redact import redacted
from musicrec.training.objectives import OBJECTIVES

if TYPE_CHECKING:
    from musicrec.pipeline.retrain import Evaluated

PAGE = "report.html"
FOLDER = "report"  # among MLflow's artifacts
LOSSES = {
    "embedding": "negative cosine",
    "single_genre": "cross entropy",
    "many_genres": "binary cross entropy",
}


def report(done: Evaluated) -> Outcome:
    """Write ``report.html`` and ``pictures/`` into the stage's folder and the run in MLflow."""
    run = done.run
    # Repaired files change the errors, but nothing that the evaluation depends on.
    decides = (
        run.catalog_key,
        done.evaluated.stage.key,
        done.extracted.stage.key,
        done.extracted.record["rows_in_errors"],
    )
    stage = run.store.stage("report", fingerprint(REVISION, *decides, vars(run.config.report)))
    return run_stage(run, stage, lambda stage: _write_report(run, stage, done))


def _write_report(run: Run, stage: Stage, done: Evaluated) -> dict[str, Any]:
    scored = scored_run(run, done)
    sections = _sections(run, scored, done)
    images = render_stills(sections) if run.config.report.pictures else {}
    splits = run.catalog.tracks.column("split").to_pylist()
    artists, tracks = done.evaluated.record["test_artists"], scored.scores.get("tracks", 0)
    tested = f"{artists} artists, {tracks:,} of {splits.count('test'):,} test tracks"
    sentence, cards = headline(scored, tested)
    page = render(
        Head(_title(run), _facts(run), sentence, cards), sections, images, _details(run, done)
    )
    files = {PAGE: page.encode()} | {
        f"pictures/{name}": content for name, content in images.items()
    }
    for name, content in files.items():
        run.store.write(stage.path(name), content)
    _log(run, files)
    left_out = {section.name: section.missing for section in sections if section.missing}
    return {
        "rows_in": len(sections),
        "rows_out": len(sections) - len(left_out),
        "rows_incomplete": len(left_out),
        "left_out": left_out,
        "picture_files": len(images),
        "page_bytes": len(files[PAGE]),
        "report": run.store.uri(stage.path(PAGE)),
    }


def scored_run(run: Run, done: Evaluated) -> Scored:
    """Return the results of a run as the report and the last screen read them."""
    task, records = run.config.task, {name: outcome.record for name, outcome in done.models.items()}
    results = run.store.read_json(done.evaluated.stage.path(RESULTS))
    leading = RANKED if RANKED in results else ENSEMBLE
    if task != "embedding":  # selected by the validation split, without the test split
        leading = max(
            records, key=lambda name: OBJECTIVES[task].better * records[name]["validation"]
        )
    published = {"embedding": TABLE_6, "single_genre": TABLE_3, "many_genres": TABLE_5}[task]
    return Scored(
        results=results,
        trained={
            name: (record["validation"], record.get("epochs")) for name, record in records.items()
        }
        | ({RANKED: (None, None)} if RANKED in results else {}),
        leading=leading,
        metrics=metrics_of(task, run.config.evaluate.neighbours[0]),
        published=TABLE_4 if run.config.catalog_rules.form == "cifar100" else published,
        seed=run.config.seed,
    )


def _embedding_facts(record: Mapping[str, Any]) -> str:
    """Return a sentence on the artist embeddings; empty for tasks without."""
    if "jaccard" not in record:
        return ""
    held_out = record.get("held_out")
    return (
        "Artist embeddings: "
        + ("" if held_out is None else f"{describe(held_out)}; ")
        + f"mean Jaccard index of the relations seen {record['jaccard']:.3f} "
        "(thesis: 0.549, on its own data)."
    )


def _sections(run: Run, scored: Scored, done: Evaluated) -> list[Section]:
    task, records = run.config.task, {name: outcome.record for name, outcome in done.models.items()}
    tracks, artists = run.catalog.tracks, run.catalog.artists
    recommends = task == "embedding"
    of_task = (embedding_sections if recommends else genre_sections)(run, scored, done)
    network = ENSEMBLE if recommends else scored.leading
    facts = _embedding_facts(done.targeted.record)
    errors = run.store.read_table(done.extracted.stage.path("errors.parquet"), schema.ERRORS)
    sections = [
        results_section(scored, facts),
        *of_task,
        curves_section(
            {name: record["history"] for name, record in records.items()},
            records[network]["metric"],
            LOSSES[task],
            network,
        ),
        tail_section(tracks, artists),
        splits_section(tracks, artists),
        failures_section(
            [redacted(vars(group)) for group in grouped(errors, examples=2)],
            redacted(done.extracted.record["errors"]),
        ),
        clip_pictures(run, done.extracted),
    ]
    return [*sections, counterparts_section(sections)]


def _title(run: Run) -> str:
    catalog = (
        "the demo catalog"
        if run.config.catalog == "demo"
        else redacted(run.config.catalog).rstrip("/").rpartition("/")[2]
    )
    subject = {
        "embedding": "Artists recommended from music",
        "single_genre": "The genre of music",
        "many_genres": "The genres of music",
    }
    return f"{subject[run.config.task]}: {catalog}"


def _facts(run: Run) -> str:
    tracks, artists = run.catalog.tracks, run.catalog.artists
    made = time.strftime("%d %B %Y", time.gmtime())
    return (
        f"{tracks.num_rows:,} tracks, {artists.num_rows:,} artists, task {run.config.task}, "
        f"seed {run.config.seed}. Made on {made}."
    )


def _details(run: Run, done: Evaluated) -> list[tuple[str, str]]:
    """Return the page's details as texts: seconds of each stage, versions, the configuration."""
    outcomes = {
        "extract": done.extracted,
        done.targeted.stage.name: done.targeted,
        **done.models,
        "evaluate": done.evaluated,
    }
    seconds = {
        name: outcome.record.get("training_seconds", outcome.record["seconds"])
        for name, outcome in outcomes.items()
    }
    times = "\n".join(f"{name:<24}{value:>10.1f} s" for name, value in seconds.items())
    return [
        ("Seconds of each stage", times),
        ("Versions", "\n".join(f"{name:<12}{version}" for name, version in versions().items())),
        (
            "Configuration",
            yaml.safe_dump(redacted(resolved(run.config)), sort_keys=False, allow_unicode=True),
        ),
    ]


def _log(run: Run, files: dict[str, bytes]) -> None:
    """Log the page and its images as artifacts of the run in MLflow, whose page shows the HTML."""
    facts = {f"version.{name}": version for name, version in versions().items()}
    with (
        training_log(run.config, run.store, run.catalog_key, run.catalog.root, facts) as log,
        tempfile.TemporaryDirectory() as folder,
    ):
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        log.folder(FOLDER, folder)
