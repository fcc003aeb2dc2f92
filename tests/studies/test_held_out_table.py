from __future__ import annotations

from musicrec.studies.held_out_table import to_markdown

CHANCE = {"ndcg@10": 0.1, "recall@10": 0.2, "mrr": 0.3}


def scores(ndcg: dict[str, float]) -> dict:
    return {
        "ndcg@10": sum(ndcg.values()) / len(ndcg),
        "recall@10": 0.5,
        "mrr": 0.25,
        "chance": CHANCE,
        "by_artist": ndcg,
    }


def test_rows_by_hand() -> None:
    transductive = {"ridge": [scores({"a": 0.2, "b": 0.4}), scores({"a": 0.4, "c": 0.8})]}
    held_out = {"ridge": [scores({"a": 0.1, "b": 0.3}), scores({"a": 0.3, "c": 0.7})]}
    lines = to_markdown(transductive, held_out, 10).splitlines()
    assert "mean over 2 seeds" in lines[2]
    assert lines[4] == (
        "| model | NDCG@10 | NDCG@10, held out | difference (95 %) | recall@10 | "
        "recall@10, held out | MRR | MRR, held out |"
    )
    assert lines[6].startswith(
        "| chance (exact) | 0.100 ± 0.000 | 0.100 ± 0.000 |  | 0.200 ± 0.000 |"
    )
    assert lines[7].startswith(
        "| ridge | 0.450 ± 0.212 | 0.350 ± 0.212 | -0.100 (-0.100 to -0.100) | 0.500 ± 0.000 |"
    )
    assert len(lines) == 8


def test_artists_without_a_relation_do_not_count() -> None:
    nothing = float("nan")
    transductive, held_out = scores({"a": 0.2, "b": nothing}), scores({"a": 0.3, "b": nothing})
    assert "+0.100 (+0.100 to +0.100)" in to_markdown(
        {"ridge": [transductive]}, {"ridge": [held_out]}, 10
    )
