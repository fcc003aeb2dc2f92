"""Print the last screen of a retrain: results, baselines, changes, and the next command."""

from __future__ import annotations

import math
from shlex import quote
from typing import Any

import numpy as np
from rich.table import Table

from musicrec import schema
from musicrec.catalog.locations import audio_uri
from musicrec.evaluation.examples import recommendations
from musicrec.pipeline.base import Outcome
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import BASELINES, RANKED, RESULTS, TestSplit, served_results
from musicrec.pipeline.held_out import describe
from musicrec.pipeline.report import scored_run
from musicrec.pipeline.retrain import Evaluated
from musicrec.pipeline.uninformative import uninformative_sentence
from musicrec.registry.promotion import CHAMPION
from musicrec.report.headline import compare_with_baselines
from musicrec.telemetry.log import console
from musicrec.telemetry.tables import terminal_table

EXAMPLE_ARTISTS = 5


def print_summary(done: Evaluated, registered: Outcome) -> None:
    """Print the results, the changes since the last run, and where to look at them."""
    if not (done.worked or registered.worked):
        console.print(
            "\nEverything was already complete: nothing was done. The results of that run:"
        )
    print_results(done)
    for line in changes(done):
        _print_line(line)
    record = registered.record
    _print_line(f"MLflow: {record['decision']}")
    _print_line(f"Look at it:  mlflow ui --backend-store-uri {quote(record['tracking_uri'])}")
    run = done.run
    track = audio_uri(run.catalog.root, run.catalog.tracks.column("audio")[0].as_py())
    # A version that did not become champion is used by its alias.
    model = "" if record["alias"] == CHAMPION else f" --model models:/{record['model']}@challenger"
    _print_line(
        f"Type next:   python jobs/recommend.py --store {quote(run.config.store)} "
        f"--audio {quote(track)}{model}"
    )


def print_results(done: Evaluated) -> None:
    """Print the results table, examples, and the counts of tracks and errors."""
    recommends = done.run.config.task == "embedding"
    console.print(results_table(done) if recommends else genre_table(done))
    if done.stacked.ranked is not None:
        _print_line(ranking_line(done.stacked.ranked.record))
    _print_line(verdict(done))
    for table in example_tables(done) if recommends else ():
        console.print(table)
    extracted, targeted = done.extracted.record, done.targeted.record
    _print_line(
        f"Tracks: {extracted['rows_in']} in, {extracted['rows_out']} extracted, "
        f"{extracted['rows_in_errors']} in errors"
    )
    kinds = ("rows_in_errors", "artwork_errors", "pretrained_errors")
    if any(extracted.get(kind) for kind in kinds):
        _print_line(f"Errors: {extracted['errors']}")
    if without_sound := uninformative_sentence(done.run, done.extracted):
        _print_line(without_sound)
    if recommends:
        held_out = targeted.get("held_out")
        _print_line(
            "Artist embeddings: "
            + ("" if held_out is None else f"{describe(held_out)}; ")
            + f"Jaccard of seen relations {targeted['jaccard']:.3f} "
            f"(chance {targeted['jaccard_chance']:.3f})"
        )
    elif targeted["rows_incomplete"]:
        _print_line(f"Without a genre, and so left out: {targeted['rows_incomplete']} tracks")
    if done.reported is not None:
        _print_line(f"Open it:     {done.reported.record['report']}")


def ranking_line(record: dict[str, Any]) -> str:
    """Return the weights of the ranking's members, and what decided them."""
    weights = ", ".join(f"{name} {weight:g}" for name, weight in record["weights"].items())
    return (
        f"Ranking: the network (weight 1) with {weights}; the weights with the best NDCG on "
        f"{record['validation_artists']} validation artists"
    )


def verdict(done: Evaluated) -> str:
    """Return the report's first sentence: whether the model beats the baselines, and how surely."""
    sentence, evidence = compare_with_baselines(scored_run(done.run, done))
    return f"{sentence} ({evidence})" if evidence else sentence


def changes(done: Evaluated) -> list[str]:
    """Return lines on the changes since the last run of the catalog, and the seconds of each step.

    There are none if no step had work.
    """
    if not done.worked:
        return []
    extracted, embedded, lines = done.extracted.record, done.targeted.record, []
    if "tracks_new" in extracted:
        counts = ", ".join(
            f"{extracted[f'tracks_{kind}']} {kind}" for kind in ("new", "changed", "removed")
        )
        lines.append(f"Changes: tracks {counts}; {extracted['rows_extracted_now']} extracted now")
    if embedded.get("mean_cosine_to_before") is not None:
        mean, least = (embedded[f"{which}_cosine_to_before"] for which in ("mean", "least"))
        drift = f"cosine to their vectors before: mean {mean:.4f}, least {least:.4f}"
        lines.append(f"Artists: {embedded['artists_new']} new; the others' {drift}")
    return [
        *lines,
        "Seconds: " + ", ".join(f"{step} {value:.0f}" for step, value in done.run.seconds.items()),
    ]


def _print_line(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


def results_table(done: Evaluated) -> Table:
    """Return a table of the test scores of every model and baseline."""
    results = done.run.store.read_json(done.evaluated.stage.path(RESULTS))
    k = done.run.config.evaluate.neighbours[0]
    artists = done.evaluated.record["test_artists"]
    # Made for a terminal of 80 columns.
    columns = ("model", "ep.", "valid.", "test", "95 %", f"NDCG@{k}", f"recall@{k}", "tracks")
    table = terminal_table(
        columns,
        title=f"Mean cosine on {artists} test artists that no model was trained on, and retrieval "
        "of their related artists",
        right=columns[1:],
        no_wrap=columns,
    )
    chance = results[ENSEMBLE].get("chance", {})
    table.add_row(
        "chance (exact)",
        "",
        "",
        "",
        "",
        _number(chance.get(f"ndcg@{k}")),
        _number(chance.get(f"recall@{k}")),
        "",
    )
    models = done.models
    ranked = [RANKED] if RANKED in results else []
    leading = RANKED if ranked else ENSEMBLE
    for name in (*BASELINES, *models, *ranked):
        scores = results[name]
        record = models[name].record if name in models else {}
        low, high = scores.get("cosine_interval", (None, None))
        table.add_row(
            name,
            str(record.get("epochs", "")),
            _number(record.get("validation")),
            _number(scores.get("cosine")),
            "" if low is None else f"{low:.2f}..{high:.2f}",
            _number(scores.get(f"ndcg@{k}")),
            _number(scores.get(f"recall@{k}")),
            str(scores["tracks"]),
            style="bold" if name == leading else None,
            end_section=name == BASELINES[-1] or name == list(models)[-2:][0],
        )
    return table


def genre_table(done: Evaluated) -> Table:
    """Return a table of the test scores of every model and baseline of a genre task."""
    results = done.run.store.read_json(done.evaluated.stage.path(RESULTS))
    single = done.run.config.task == "single_genre"
    metrics = (
        {"f1_micro": "micro-F1", "f1_macro": "macro-F1"}
        if single
        else {"hamming": "Hamming", "mse": "MSE", "map_macro": "mAP"}
    )
    classes, artists = done.evaluated.record["classes"], done.evaluated.record["test_artists"]
    columns = ("model", "ep.", "valid.", *metrics.values(), "95 %", "tracks")
    table = terminal_table(
        columns,
        title=f"{classes} genres, test tracks of {artists} artists that no model was trained on",
        right=columns[1:],
        no_wrap=columns,
    )
    digits = 3 if single else 4
    for name, scores in results.items():
        record = done.models[name].record if name in done.models else {}
        low, high = scores.get(f"{next(iter(metrics))}_interval", (None, None))
        table.add_row(
            name,
            str(record.get("epochs", "")),
            _number(record.get("validation"), digits),
            *(_number(scores.get(metric), digits) for metric in metrics),
            "" if low is None else f"{low:.{digits}f}..{high:.{digits}f}",
            str(scores["tracks"]),
        )
    return table


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def example_tables(done: Evaluated) -> list[Table]:
    """Return recommendations for test artists, from best to worst, as in Table 7 of the thesis."""
    from musicrec.pipeline.artists import artist_facts
    from musicrec.training.predictions import read_predictions

    run = done.run
    split = TestSplit(run, run.store.read_table(done.targeted.stage.path(TABLE), schema.EMBEDDINGS))
    predicted = read_predictions(
        run.store, done.models[ENSEMBLE].record["predictions"], split.tracks, split.table.shape[1]
    )
    artists, vectors = split.by_artist(predicted, np.flatnonzero(np.any(predicted != 0, axis=1)))
    results = run.store.read_json(done.evaluated.stage.path(RESULTS))
    facts = {
        artist["artist_id"]: artist
        for artist in artist_facts(run.catalog, [*{*split.ids, *artists}])
    }
    tables = []
    for one in recommendations(
        artists,
        vectors,
        served_results(results)["by_artist"],
        split.table,
        split.ids,
        run.config.evaluate.examples,
        EXAMPLE_ARTISTS,
        split.ranking(run, done.stacked.ranked),
    ):
        name = facts[one.artist_id]["name"] or one.artist_id
        title = f"From the music of {name} (a test artist, NDCG {one.score:.2f}; * related)"
        answer = [
            facts[artist] | {"similarity": float(value)}
            for artist, value in zip(one.answers, one.similarities, strict=True)
        ]
        tables.append(
            recommendation_table(title, answer, set(split.related.get(one.artist_id, [])))
        )
    return tables


def recommendation_table(
    title: str, artists: list[dict[str, Any]], related: set[str] = frozenset()
) -> Table:
    """Recommended artists with name, similarity, genres, origin and years (thesis Table 7).

    Where popularity took part in the ranking, its share of each score is shown too.
    """
    columns = ("artist", "similarity", "genres", "origin", "years")
    has_prior = any(artist.get("prior") for artist in artists)
    if has_prior:
        columns = ("artist", "similarity", "prior", *columns[2:])
    table = terminal_table(columns, title=title, right={"similarity", "prior"}, no_wrap=columns)
    for column in table.columns:
        column.overflow = "ellipsis"
        if column.header in ("similarity", "years"):  # numbers are never cut, text may be
            column.min_width = len("similarity")
        elif column.header == "prior":
            column.min_width = len("prior")
        elif has_prior and column.header == "genres":  # it makes room for the share
            column.max_width = 18
    for artist in artists:
        years = sorted(
            {year for year in (artist["first_year"], artist["last_year"]) if year is not None}
        )
        origin = ", ".join(part for part in (artist["origin"], artist["country"]) if part)
        mark = "* " if artist["artist_id"] in related else ""
        name = artist["name"] or artist["artist_id"]
        table.add_row(
            mark + name,
            f"{artist['similarity']:.3f}",
            *([f"{artist['prior']:+.0%}"] if has_prior else []),
            ", ".join(artist["genres"] or []),
            origin,
            "-".join(map(str, years)),
        )
    return table
