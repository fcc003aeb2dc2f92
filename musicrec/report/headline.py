"""Headline of the page: whether the model beats the baselines, by how much, on how many artists."""

from __future__ import annotations

from musicrec.evaluation.thesis import Metric
from musicrec.report.scores import Scored, bounds_of, difference_from, digits_of, number
from musicrec.report.sections import Card, format_interval, format_number


def headline(scored: Scored, tested: str) -> tuple[str, list[Card]]:
    """Return the first sentence of the page, and the cards under it.

    Parameters
    ----------
    tested
        Size of the test set for the last card: "14 artists, 41 tracks".
    """
    metric, scores, baseline = scored.metrics[0], scored.scores, scored.best_baseline()
    value, digits = number(scores, metric.name), digits_of(metric)
    sentence, note = compare_with_baselines(scored)
    if value is None:
        return sentence, [Card(tested.partition(",")[0], "tested", tested)]
    cards = [
        Card(
            format_number(value, digits),
            f"{metric.title} of {scored.leading}",
            _reference(scored, metric),
        )
    ]
    if baseline is not None:
        gain = _gain(scored, baseline)
        cards.append(
            Card(f"{gain:+.{digits}f}", f"{metric.title} over {baseline}, the best baseline", note)
        )
    second = next(
        (other for other in scored.metrics[1:] if number(scores, other.name) is not None), None
    )
    if second is not None:
        note = (
            "95 % interval " + format_interval(bounds_of(scores, second.name))
            if bounds_of(scores, second.name)
            else _reference(scored, second)
        )
        cards.append(
            Card(format_number(number(scores, second.name), digits_of(second)), second.title, note)
        )
    amount, _, rest = tested.partition(", ")
    return sentence, [*cards, Card(amount, "tested, none of them used in training", rest)]


def compare_with_baselines(scored: Scored) -> tuple[str, str]:
    """Return whether the leading model beats the best baseline, and the evidence, as texts."""
    baseline = scored.best_baseline()
    if number(scored.scores, scored.metrics[0].name) is None:
        return f"No test track could be scored with {scored.leading}.", ""
    if baseline is None:
        return f"{scored.leading} was tested without a baseline.", ""
    return _verdict(scored, baseline, _gain(scored, baseline))


def _gain(scored: Scored, baseline: str) -> float:
    """Return by how much the leading model is better than a baseline."""
    metric = scored.metrics[0]
    ours, theirs = (
        number(scored.results[name], metric.name) for name in (scored.leading, baseline)
    )
    return (ours - theirs) * (1 if metric.higher_is_better else -1)


def _reference(scored: Scored, metric: Metric) -> str:
    """Return the best baseline's value, and chance where it is known."""
    chance = number(scored.scores.get("chance", {}), metric.name)
    best, notes = scored.best_baseline(), []
    if best is not None:
        value = number(scored.results[best], metric.name)
        notes.append(f"{best}: {format_number(value, digits_of(metric))}")
    if chance is not None:
        notes.append(f"chance: {format_number(chance)}")
    return ", ".join(notes)


def _verdict(scored: Scored, baseline: str, gain: float) -> tuple[str, str]:
    """Say whether the leading model beats a baseline, and on what evidence."""
    metric, paired = scored.metrics[0], difference_from(scored, baseline)
    if paired is not None:
        low, high = paired.low, paired.high
        evidence = (
            f"95 % interval {format_interval((low, high))}; better on {paired.won} artists, "
            f"equal on {paired.artists - paired.won - paired.lost}, worse on {paired.lost}"
        )
    else:
        bounds = bounds_of(scored.scores, metric.name)
        if bounds is None:
            return (
                f"{scored.leading} was compared with {baseline}, the best baseline; "
                "the uncertainty of the difference is unknown.",
                "",
            )
        other = number(scored.results[baseline], metric.name)
        low, high = sorted(
            ((bound - other) * (1 if metric.higher_is_better else -1)) for bound in bounds
        )
        interval = format_interval(bounds, digits_of(metric))
        evidence = f"95 % interval of {scored.leading} {interval}"
    by = f"{baseline}, the best baseline, by {abs(gain):.{digits_of(metric)}f} {metric.title}"
    if low > 0:
        return f"Better than the baselines: {scored.leading} beats {by}.", evidence
    if high < 0:
        return f"Not better than the baselines: {scored.leading} falls short of {by}.", evidence
    direction = "is ahead of" if gain > 0 else "is behind"
    return (
        f"Not proven better than the baselines: {scored.leading} {direction} {by}, "
        "but the 95 % interval includes 0.",
        evidence,
    )
