"""Table of results with and without the relations of test artists. Plain data in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from musicrec.evaluation.paired import paired_difference
from musicrec.evaluation.thesis import Metric
from musicrec.studies.comparison import ComparisonRow, SeedResult, spread
from musicrec.telemetry.tables import markdown_table

Scores = Mapping[str, Any]


def to_markdown(
    transductive: Mapping[str, Sequence[Scores]], held_out: Mapping[str, Sequence[Scores]], k: int
) -> str:
    """Return a heading, a guide, and one table with a row per model.

    Parameters
    ----------
    transductive, held_out
        By model, the scores of each seed among the same candidates: ``ndcg@k``, ``recall@k``,
        ``mrr``, ``chance`` of the three, and ``by_artist``, the NDCG of each test artist. Both have
        the same seeds in the same order.
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
    chance = [scores["chance"] for scores in runs]
    rows = [_row("chance (exact)", metrics, chance, chance, "")]
    for name, scores in transductive.items():
        difference = _difference(scores, held_out[name])
        rows.append(_row(name, metrics, scores, held_out[name], difference))
    lines = [
        "# Relations of the test artists: used for the embeddings (transductive, as in the "
        "thesis), and held out",
        "",
        "Retrieval of the artists related to each test artist, among those that other relations "
        f"name: mean over {len(runs)} seeds ± its standard deviation. The difference is in NDCG, "
        "held out minus transductive, artist by artist; its interval is a bootstrap over artists. "
        "Held out, a test artist has no embedding to compute a cosine to.",
        "",
        markdown_table(titles, rows, right=titles[1:]),
    ]
    return "\n".join(lines) + "\n"


def _row(
    name: str,
    metrics: Sequence[Metric],
    transductive: Sequence[Scores],
    held_out: Sequence[Scores],
    difference: str,
) -> list[str]:
    cells = [name]
    for metric in metrics:
        for runs in (transductive, held_out):
            values = [
                {metric.name: scores[metric.name]} for scores in runs if metric.name in scores
            ]
            cells.append(spread(ComparisonRow(name, seeds=tuple(map(SeedResult, values))), metric))
    cells.insert(3, difference)
    return cells


def _difference(transductive: Sequence[Scores], held_out: Sequence[Scores]) -> str:
    pairs = [
        (artist, after["by_artist"][artist], value)
        for before, after in zip(transductive, held_out, strict=True)
        for artist, value in before["by_artist"].items()
    ]
    return str(paired_difference(pairs) or "")
