"""Limits on an evaluation, for CI: `AP50=0.6`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.evaluation.cost import Cost, EvaluatedModel
from benchmarks.evaluation.evaluation import FIGURES, Evaluation
from benchmarks.limits import check_direction, read_bound
from persondet.errors import InputError

CHANGED = "changed"
_METRICS = (*FIGURES, CHANGED)
_BETTER_WHEN_SMALLER = ("mr2", "miss_rate", CHANGED)
_DIGITS = 9  # floats this close to a limit are equal to it


@dataclass(frozen=True)
class FigureLimit:
    """A bound on one figure of every model. above: fail above the bound, otherwise below it."""

    metric: str
    bound: float
    above: bool


def parse_figure_limit(text: str, *, above: bool) -> FigureLimit:
    """Read `AP50=0.6`; capitals do not matter.

    Raises InputError for an unknown figure, for no number, and for a limit that would fail if the
    figure is good.
    """
    name, _, number = text.partition("=")
    metric = name.strip().lower()
    if metric not in _METRICS:
        raise InputError(f"{text!r}: no figure {name!r}; known: {', '.join(_METRICS)}")
    is_better_larger = metric not in _BETTER_WHEN_SMALLER
    check_direction(text, metric, above=above, is_better_larger=is_better_larger)
    bound = read_bound(text, number, form="FIGURE=NUMBER")
    return FigureLimit(metric, bound, above)


def figure_violations(
    evaluation: Evaluation, name: str, limits: Sequence[FigureLimit]
) -> list[str]:
    """Return a sentence for each limit that one model alone does not keep."""
    figures = evaluation.total.figures
    return [
        sentence
        for limit in limits
        if limit.metric != CHANGED
        for sentence in _broken(name, limit, figures[limit.metric].value)
    ]


def cost_violations(
    cost: Cost, limits: Sequence[FigureLimit], max_drop: float | None = None
) -> list[str]:
    """Return a sentence for each limit that a model does not keep. Equal to the bound is kept.

    max_drop: AP50 points that a model may have fewer than the reference; None: any.
    """
    sentences = []
    for model in cost.models:
        sentences += figure_violations(model.evaluation, model.name, limits)
        if model.against is not None:
            sentences += [s for limit in limits for s in _changed_violations(model, limit)]
            sentences += _drop_violations(cost.reference.name, model, max_drop)
    return sentences


def _changed_violations(model: EvaluatedModel, limit: FigureLimit) -> Iterator[str]:
    assert model.against is not None
    if limit.metric == CHANGED:
        yield from _broken(model.name, limit, model.against.changed)


def _drop_violations(
    reference: str, model: EvaluatedModel, max_drop: float | None
) -> Iterator[str]:
    assert model.against is not None
    lost = model.against.points_lost
    if max_drop is not None and lost is not None and round(lost - max_drop, _DIGITS) > 0:
        yield (
            f"{model.name}: {lost:.3g} AP50 points below {reference}, more than the "
            f"{max_drop:g} of --max-drop"
        )


def _broken(name: str, limit: FigureLimit, value: float | None) -> Iterator[str]:
    """Yield a sentence if the limit is not kept; a figure that is not defined keeps none."""
    side = "above" if limit.above else "below"
    if value is None:
        yield f"{name}: {limit.metric} is not defined, and its limit is {limit.bound:g}"
        return
    excess = round(value - limit.bound, _DIGITS)
    if excess > 0 if limit.above else excess < 0:
        yield f"{name}: {limit.metric} is {value:.6g}, {side} the limit {limit.bound:g}"
