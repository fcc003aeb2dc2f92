"""Hold relations out of the artist embeddings: choose by them, and compare with baselines."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from musicrec.pipeline.base import Run
from musicrec.pipeline.checkpoint import PassCheckpoint
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Stage
from musicrec.telemetry.progress import event

if TYPE_CHECKING:  # torch takes seconds to load
    from musicrec.artists.graph import ArtistGraph
    from musicrec.artists.held_out import HeldOut
    from musicrec.artists.selection import Trial
    from musicrec.artists.settings import EmbeddingSettings

TRIALS = "held_out_trials.json"


def choose_by_held_out(
    run: Run, stage: Stage, graph: ArtistGraph, settings: EmbeddingSettings
) -> tuple[EmbeddingSettings, dict[str, Any] | None]:
    """Measure embeddings and baselines on relations held out of ``graph``.

    Returns the settings of the training on all relations, with the temperature and the passes that
    held-out relations chose (``embed.select_by: held_out``), and the facts for the stage's record;
    None if the graph is too small to hold any out. Finished trials are not repeated after an
    interruption, and the last one continues after its last saved pass.
    """
    from musicrec.artists.held_out import DEPTH, hold_out
    from musicrec.artists.link_prediction import baseline_scores
    from musicrec.artists.selection import chosen, final_settings

    started, embed = time.perf_counter(), run.config.embed
    seen, held = hold_out(
        graph, embed.held_out, embed.held_out_by, np.random.default_rng([run.config.seed, 0, 2])
    )
    selects = embed.select_by == "held_out"
    if not (len(held.heads) and len(seen.heads)):
        event("artists", "too few relations to hold any out", relations=len(graph.heads))
        return (dataclasses.replace(settings, select_by="last") if selects else settings), None
    baselines = baseline_scores(seen, held)
    trials = _trials(run, stage, seen, held, settings)
    best = chosen(settings, trials)
    facts = {
        "by": embed.held_out_by,
        "share": embed.held_out,
        "relations": held.relations,
        "queries": len(np.unique(held.heads)),
        "depth": DEPTH,
        "ndcg": best.ndcg,
        "baselines": baselines,
        "chosen": best.as_json() if selects else None,
        "trials": [trial.as_json() for trial in trials],
        "seconds": round(time.perf_counter() - started, 1),
    }
    event(
        "artists",
        "held-out relations",
        temperature=best.temperature,
        passes=sum(count for _, count in best.passes),
        **{name: value for name, value in facts.items() if isinstance(value, int | float | str)},
        **baselines,
    )
    return (final_settings(settings, best) if selects else settings), facts


def chosen_before(settings: EmbeddingSettings, facts: dict[str, Any]) -> EmbeddingSettings:
    """Return the settings that an earlier training chose by held-out relations, by its record."""
    from musicrec.artists.selection import Trial, final_settings

    if facts["chosen"] is None:
        return settings
    return final_settings(settings, Trial.from_json(facts["chosen"]))


def describe(facts: dict[str, Any]) -> str:
    """Return one line on how embeddings and baselines find relations held out of them."""
    scores = ", ".join(f"{name} {score:.3f}" for name, score in facts["baselines"].items())
    return f"NDCG@{facts['depth']} of held-out relations {facts['ndcg']:.3f} ({scores})"


def _trials(
    run: Run, stage: Stage, seen: ArtistGraph, held: HeldOut, settings: EmbeddingSettings
) -> list[Trial]:
    """Return all trials; each is written to ``TRIALS`` when it ends."""
    from musicrec.artists.objectives import soft_positives
    from musicrec.artists.selection import Trial, next_trial, run_trial

    embed, path = run.config.embed, stage.path(TRIALS)
    searched = embed.select_by == "held_out" and embed.objective != "thesis"
    temperatures = embed.temperatures if searched else ()
    near = soft_positives(seen, settings) if embed.objective == "pagerank" else None
    done = []
    if run.store.exists(path):
        with contextlib.suppress(DamagedError):  # named by now; the trials are run again
            done = [Trial.from_json(trial) for trial in run.store.read_json(path)["trials"]]
    while (following := next_trial(settings, temperatures, done)) is not None:
        checkpoint = PassCheckpoint(run.store, stage.path(f"trial-{len(done)}"), len(seen))
        trial = run_trial(
            seen, held, following, checkpoint.load(), checkpoint.save, embed.device, near
        )
        done.append(trial)
        run.store.write_json(path, {"trials": [trial.as_json() for trial in done]})
        checkpoint.remove()
        event("artists", "trial without held-out relations", **trial.as_json())
    return done
