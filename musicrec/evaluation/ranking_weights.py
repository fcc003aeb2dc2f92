"""Choose the weights of a ranking's members on artists that the network was not trained on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from musicrec.artists.ranking import POPULARITY, VOTES, Ranking
from musicrec.evaluation.retrieval import evaluate_retrieval

# The network's weight is 1.
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)


def choose_weights(
    ranking: Ranking,
    members: Collection[str],
    vectors: np.ndarray,
    artist_ids: Sequence[str],
    table: np.ndarray,
    table_ids: Sequence[str],
    related: Mapping[str, Collection[str]],
    k: int,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the weights with the best mean NDCG@k, and the mean NDCG of some weights.

    Of equally good weights the smallest are chosen. All are 0 if no artist has a related artist.

    Parameters
    ----------
    members
        Those that may have a weight; the others have 0.
    vectors, artist_ids
        (Q, D) the network's vectors of validation artists, and their ids (Q,).
    table, table_ids, related
        As in ``musicrec.evaluation.retrieval.evaluate_retrieval``.

    Returns
    -------
    weights : dict
        By member.
    scores : dict
        ``network``: all weights 0; ``chosen``: the best ones. NaN without a score.
    """
    grids = [WEIGHTS if member in members else WEIGHTS[:1] for member in (VOTES, POPULARITY)]
    best, best_score, network = {VOTES: 0.0, POPULARITY: 0.0}, math.nan, math.nan
    for values in sorted(itertools.product(*grids), key=lambda pair: (sum(pair), pair)):
        weights = dict(zip((VOTES, POPULARITY), values, strict=True))
        scores = evaluate_retrieval(
            vectors,
            artist_ids,
            table,
            table_ids,
            related,
            ks=(k,),
            depth=k,
            ranking=ranking.with_weights(weights),
        ).scores
        mean = scores.means()[f"ndcg@{k}"]
        if not any(values):
            best_score = network = mean
        elif mean > best_score:
            best, best_score = weights, mean
    return best, {"network": network, "chosen": best_score}
