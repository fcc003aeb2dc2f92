"""Whether the model is better than the baselines, by how much, and on how many artists: what stands at the head of the page."""

from __future__ import annotations

from musicrec.evaluation.thesis import Metric
from musicrec.report.scores import Scored, bounds_of, digits_of, number, paired_difference
from musicrec.report.sections import Card, figure, interval


def headline(scored: Scored, tested: str) -> tuple[str, list[Card]]:
    """The first sentence of the page, and the figures under it.

    Parameters
    ----------
    tested
        What was tested on, for the last card: "14 artists, 41 tracks".
    """
    metric, scores, baseline = scored.metrics[0], scored.scores, scored.best_baseline()
    value, digits = number(scores, metric.name), digits_of(metric)
    if value is None:
        return f"No test track could be scored with {scored.leading}.", [
            Card(tested.partition(",")[0], "tested", tested)
        ]
    cards = [
        Card(figure(value, digits), f"{metric.title} of {scored.leading}", _beside(scored, metric))
    ]
    sentence = f"{scored.leading} was tested beside no baseline."
    if baseline is not None:
        gain = (value - number(scored.results[baseline], metric.name)) * (
            1 if metric.higher_is_better else -1
        )
        sentence, note = _verdict(scored, baseline, gain)
        cards.append(
            Card(f"{gain:+.{digits}f}", f"{metric.title} over {baseline}, the best baseline", note)
        )
    second = next(
        (other for other in scored.metrics[1:] if number(scores, other.name) is not None), None
    )
    if second is not None:
        note = (
            "95 % interval " + interval(bounds_of(scores, second.name))
            if bounds_of(scores, second.name)
            else _beside(scored, second)
        )
        cards.append(
            Card(figure(number(scores, second.name), digits_of(second)), second.title, note)
        )
    amount, _, rest = tested.partition(", ")
    return sentence, [*cards, Card(amount, "tested, none of them heard in training", rest)]


def _beside(scored: Scored, metric: Metric) -> str:
    """The baselines' best figure, and chance where it is known."""
    chance = number(scored.scores.get("chance", {}), metric.name)
    found = scored.best_baseline()
    notes = (
        []
        if found is None
        else [f"{found}: {figure(number(scored.results[found], metric.name), digits_of(metric))}"]
    )
    return ", ".join([*notes, *([] if chance is None else [f"chance: {figure(chance)}"])])


def _verdict(scored: Scored, baseline: str, gain: float) -> tuple[str, str]:
    """Whether the leading model is better than a baseline, in a sentence; and what that stands on."""
    metric, paired = scored.metrics[0], paired_difference(scored, baseline)
    if paired is not None:
        differences, (low, high) = paired
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        stands_on = f"95 % interval {interval((low, high))}; better on {won} artists, equal on {len(differences) - won - lost}, worse on {lost}"
    else:
        bounds = bounds_of(scored.scores, metric.name)
        if bounds is None:
            return (
                f"{scored.leading} was tested beside {baseline}, the best baseline; how sure the difference is cannot be said.",
                "",
            )
        other = number(scored.results[baseline], metric.name)
        low, high = sorted(
            ((bound - other) * (1 if metric.higher_is_better else -1)) for bound in bounds
        )
        stands_on = f"95 % interval of {scored.leading} {interval(bounds, digits_of(metric))}"
    by = f"{baseline}, the best baseline, by {abs(gain):.{digits_of(metric)}f} {metric.title}"
    if low > 0:
        return f"Better than the baselines: {scored.leading} beats {by}.", stands_on
    if high < 0:
        return f"Not better than the baselines: {scored.leading} falls short of {by}.", stands_on
    direction = "is ahead of" if gain > 0 else "is behind"
    return (
        f"Not proven better than the baselines: {scored.leading} {direction} {by}, but the 95 % interval includes 0.",
        stands_on,
    )
