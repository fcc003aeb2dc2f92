"""Make the report's sections that read the store: predictions, targets and stored features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from musicrec import schema
from musicrec.audio import HOP, SAMPLE_RATE
from musicrec.evaluation.calibration import probability_calibration, similarity_calibration
from musicrec.evaluation.examples import recommendations
from musicrec.evaluation.retrieval import relevant_rows
from musicrec.features.reader import read_stored
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import TestSplit
from musicrec.pipeline.evaluate_genres import GenreSplit
from musicrec.pipeline.extract import places
from musicrec.report.calibration import probability_section, similarity_section
from musicrec.report.clip import clip_section
from musicrec.report.confusion import confusion_section
from musicrec.report.examples import SECONDS_SHOWN, examples_section, mel_image
from musicrec.report.maps import artist_map, drawn_artists, maps_section
from musicrec.report.scores import Scored
from musicrec.report.sections import Section
from musicrec.training.predictions import read_predictions

if TYPE_CHECKING:
    from musicrec.pipeline.retrain import Evaluated

RECOMMENDED = 10  # artists in a table of recommendations
SHOWN_FEATURE = "mel"


def embedding_sections(run: Run, scored: Scored, done: Evaluated) -> list[Section]:
    """Return the recommendations, calibration and maps of the task "embedding"."""
    from musicrec.pipeline.artists import artist_facts

    split = TestSplit(run, run.store.read_table(done.targeted.stage.path(TABLE), schema.EMBEDDINGS))
    predicted = read_predictions(
        run.store,
        done.models[ENSEMBLE].record["predictions"],
        split.tracks,
        split.table.shape[1],
    )
    rows = np.flatnonzero(np.any(predicted != 0, axis=1))
    if not len(rows):
        missing = f"no test track has a prediction by {ENSEMBLE}"
        return [
            Section(name, title, missing=missing)
            for name, title in (("examples", "Recommendations"), ("calibration", "Calibration"))
        ]
    artists, vectors = split.by_artist(predicted, rows)
    facts = {
        artist["artist_id"]: artist
        for artist in artist_facts(run.catalog, [*{*split.ids, *artists}])
    }
    made = recommendations(
        artists,
        vectors,
        scored.scores.get("by_artist", {}),
        split.table,
        split.ids,
        run.config.report.examples,
        RECOMMENDED,
        split.ranking(run, done.stacked.ranked),
    )
    clips = _clips(run, done.extracted, [one.artist_id for one in made])
    own, related, _ = relevant_rows(artists, split.ids, split.related)
    return [
        examples_section(made, facts, split.related, clips, scored.metrics[0].title),
        similarity_section(similarity_calibration(vectors, split.table, own, related), ENSEMBLE),
        _maps(run, split, facts, [one.artist_id for one in (*made[:1], *made[-1:])]),
    ]


def _maps(
    run: Run, split: TestSplit, facts: dict[str, dict[str, Any]], around: list[str]
) -> Section:
    """Draw maps of all artists, or of a sample.

    A sample includes the artists of ``around`` and those within two relations of them.
    """
    row_of = {artist: row for row, artist in enumerate(split.ids)}
    levels = [around]
    for _ in range(2):
        levels.append([other for artist in levels[-1] for other in split.related.get(artist, ())])
    always = [row_of[artist] for level in levels for artist in level if artist in row_of]
    rows = drawn_artists(len(split.ids), run.config.report.artists, always, run.config.seed)
    artists = [facts[split.ids[row]] for row in rows]
    drawn = artist_map(
        split.table[rows], artists, run.config.report.perplexity, len(split.ids), run.config.seed
    )
    if drawn is None:
        return Section(
            "maps",
            "Maps of the artist embeddings",
            missing=f"{len(rows)} artists are too few for a map",
        )
    return maps_section(drawn, split.related, around)


def genre_sections(run: Run, scored: Scored, done: Evaluated) -> list[Section]:
    """Return the confusion matrix and calibration of a genre task."""
    split, classes = GenreSplit(run, done.targeted, "test"), done.targeted.record["classes"]
    outputs = read_predictions(
        run.store, done.models[scored.leading].record["predictions"], split.tracks, len(classes)
    )
    rows = np.flatnonzero(np.any(outputs != 0, axis=1))
    truth, logits = split.truth[rows], torch.from_numpy(outputs[rows])
    if run.config.task == "single_genre":
        probabilities = logits.softmax(dim=1).numpy()
        predicted = probabilities.argmax(axis=1)
        calibration = probability_calibration(probabilities.max(axis=1), predicted == truth)
        confusion = (
            [confusion_section(scored.scores["confusion"], classes, scored.leading)]
            if len(rows)
            else []
        )
        sections = [
            *confusion,
            probability_section(calibration, scored.leading, "the predicted genre"),
        ]
    else:
        calibration = probability_calibration(logits.sigmoid().numpy().ravel(), truth.ravel() > 0)
        sections = [probability_section(calibration, scored.leading, "every genre of every track")]
    return sections


def clip_pictures(run: Run, extracted: Outcome) -> Section:
    """Draw Figures 1 to 6 and 8 for the catalog's first clip that has every stored feature."""
    stored = {feature: places(run, extracted, feature) for feature in run.config.extract.features}
    tracks = run.catalog.tracks.column("track_id").to_pylist()
    track = next(
        (track for track in tracks if all(track in rows for rows in stored.values())), None
    )
    if track is None:
        return Section("clip", "A clip as the models see it", missing="no clip has every feature")
    return clip_section(
        {feature: _read(feature, *rows[track]) for feature, rows in stored.items()},
        _titles(run, [track])[track],
    )


def _clips(run: Run, extracted: Outcome, artists: list[str]) -> dict[str, tuple[str, bytes]]:
    """Return the title and the mel spectrogram of one track per artist, where there is one."""
    stored = places(run, extracted, SHOWN_FEATURE)
    tracks = run.catalog.tracks.filter(
        pc.is_in(run.catalog.tracks.column("artist_id"), value_set=pa.array(artists, pa.string()))
    )
    track_of_artist: dict[str, str] = {}
    for row in tracks.select(["track_id", "artist_id"]).to_pylist():
        if row["track_id"] in stored:
            track_of_artist.setdefault(row["artist_id"], row["track_id"])
    titles = _titles(run, list(track_of_artist.values()))
    frames = round(SECONDS_SHOWN * SAMPLE_RATE / HOP)
    return {
        artist: (titles[track], mel_image(_read(SHOWN_FEATURE, *stored[track]), frames))
        for artist, track in track_of_artist.items()
    }


def _titles(run: Run, tracks: list[str]) -> dict[str, str]:
    """Return the title of each track, or its id, followed by its artist if there is one."""
    selected = run.catalog.tracks.filter(
        pc.is_in(run.catalog.tracks.column("track_id"), value_set=pa.array(tracks, pa.string()))
    )
    rows = selected.select(["track_id", "title", "artist"]).to_pylist()
    return {
        row["track_id"]: f"{row['title'] or row['track_id']}"
        + (f", {row['artist']}" if row["artist"] else "")
        for row in rows
    }


def _read(feature: str, part: str, row: int) -> np.ndarray:
    """Read a stored feature (frequency, time) of one track."""
    ((array, _),) = read_stored([(part, row)], feature)
    return array
