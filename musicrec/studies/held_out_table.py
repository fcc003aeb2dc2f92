"""What the relations of test artists are worth to the embeddings: figures with them and without, side by side. Plain data in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.thesis import Metric
from musicrec.studies.comparison import ComparisonRow, SeedResult, spread, table_line

Scores = Mapping[str, Any]


def to_markdown(
    transductive: Mapping[str, Sequence[Scores]], held_out: Mapping[str, Sequence[Scores]], k: int
) -> str:
    """A heading, how to read it, and one table with a row a model.

    Parameters
    ----------
    transductive, held_out
        By model, the scores of each seed among the same candidates: ``ndcg@k``, ``recall@k``, ``mrr``, ``chance`` of the three, and
        ``by_artist``, the NDCG of each test artist. The two have the same seeds in the same order.
    """
    metrics = [
        Metric(f"{name}@{k}", f"{title}@{k}", True, decimals=3)
        for name, title in (("ndcg", "NDCG"), ("recall", "recall"))
    ]
    metrics.append(Metric("mrr", "MRR", True, decimals=3))
    titles = ["model"]
    for metric in metrics:
        titles += [metric.title, f"{metric.title}, held out"]
    titles.insert(3, "difference (95 %)")
    runs = next(iter(transductive.values()))
    lines = [
        "# Relations of the test artists: known to the embeddings (transductive, as in the thesis), and held out from them",
        "",
        "Retrieval of the artists related to each test artist, among those that other relations name: mean over "
        f"{len(runs)} seeds ± its standard deviation. The difference is of the NDCG, held out less transductive, artist by artist; its "
        "interval is a bootstrap over artists. Held out, a test artist has no embedding that a cosine could be taken to.",
        "",
        table_line(titles),
        table_line(["---"] + ["---:"] * (len(titles) - 1)),
        _row(
            "chance (exact)",
            metrics,
            [scores["chance"] for scores in runs],
            [scores["chance"] for scores in runs],
            "",
        ),
    ]
    for name, known in transductive.items():
        lines.append(_row(name, metrics, known, held_out[name], _difference(known, held_out[name])))
    return "\n".join(lines) + "\n"


def _row(
    name: str,
    metrics: Sequence[Metric],
    known: Sequence[Scores],
    held_out: Sequence[Scores],
    difference: str,
) -> str:
    cells = [name]
    for metric in metrics:
        for runs in (known, held_out):
            figures = [
                {metric.name: scores[metric.name]} for scores in runs if metric.name in scores
            ]
            cells.append(spread(ComparisonRow(name, seeds=tuple(map(SeedResult, figures))), metric))
    cells.insert(3, difference)
    return table_line(cells)


def _difference(known: Sequence[Scores], held_out: Sequence[Scores]) -> str:
    pairs = [
        (artist, value, after["by_artist"][artist])
        for before, after in zip(known, held_out, strict=True)
        for artist, value in before["by_artist"].items()
    ]
    artists, before, after = (np.array(column) for column in zip(*pairs, strict=True))
    low, high = bootstrap_interval(after, seed=0, groups=artists, paired_with=before)
    return f"{np.nanmean(after - before):+.3f} ({low:+.3f} to {high:+.3f})"
