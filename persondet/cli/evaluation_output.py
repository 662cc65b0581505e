"""What `persondet evaluate` prints, draws and writes, and the limits it holds figures to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.errors import PersondetError
from persondet.wording import counted

if TYPE_CHECKING:
    from benchmarks.evaluation.evaluation import Evaluation
    from benchmarks.evaluation.figure_limits import FigureLimit
    from persondet.cli.evaluation_run import EvaluationRun


@dataclass(frozen=True)
class Limits:
    """figures: of every model. max_drop: AP50 points below the first model; None: any."""

    figures: "tuple[FigureLimit, ...]"
    max_drop: float | None


@dataclass(frozen=True)
class OutputFiles:
    """plots: folder of curves and faults. results: COCO results file. None: not wanted."""

    plots: Path | None
    results: Path | None


def limits_of(
    fail_below: Sequence[str], fail_above: Sequence[str], max_drop: float | None
) -> Limits:
    """Read the options. Raises InputError for what is no limit."""
    from benchmarks.evaluation.figure_limits import parse_figure_limit

    below = [parse_figure_limit(text, above=False) for text in fail_below]
    above = [parse_figure_limit(text, above=True) for text in fail_above]
    return Limits((*below, *above), max_drop)


def show_one(
    run: "EvaluationRun",
    score_threshold: float | None,
    limits: Limits,
    files: OutputFiles,
    *,
    as_json: bool,
) -> None:
    """Show every figure of one model. Raises PersondetError if it breaks a limit."""
    from benchmarks.evaluation import report
    from benchmarks.evaluation.evaluation import evaluate
    from benchmarks.evaluation.figure_limits import figure_violations

    (model,) = run.models
    threshold = model.spec.score_threshold if score_threshold is None else score_threshold
    evaluation = evaluate(run.truth, model.found, model.spec.input_size_hw, threshold)
    _echo_limit_notes(evaluation)
    if files.results is not None:
        _write_results(run, files.results)
    if as_json:
        record = report.evaluation_json(evaluation, model.name, model.device)
        for confirmation in run.confirmations.values():
            record["proxy"] = confirmation.record()
        click.echo(json.dumps(record, allow_nan=False))
    else:
        _print_one(evaluation, model.name, model.device)
        _print_confirmations(run)
    if files.plots is not None:
        _draw(run, evaluation, files.plots)
    fail_for([*figure_violations(evaluation, model.name, limits.figures), *_problems(run)])


def show_several(
    run: "EvaluationRun", score_threshold: float | None, limits: Limits, *, as_json: bool
) -> None:
    """Show models side by side. Raises PersondetError if one breaks a limit."""
    from benchmarks.evaluation import cost_report
    from benchmarks.evaluation.cost import cost_of
    from benchmarks.evaluation.figure_limits import cost_violations

    cost = cost_of(run.truth, run.models[0], run.models[1:], score_threshold)
    for model in cost.models:
        _echo_limit_notes(model.evaluation, f"{model.name}, ")
    if as_json:
        record = cost_report.cost_json(cost)
        for entry in record["models"]:
            if entry["model"] in run.confirmations:
                entry["proxy"] = run.confirmations[entry["model"]].record()
        click.echo(json.dumps(record, allow_nan=False))
    else:
        cost_report.print_cost(cost)
        _print_confirmations(run)
    fail_for([*cost_violations(cost, limits.figures, limits.max_drop), *_problems(run)])


def fail_for(problems: Sequence[str]) -> None:
    """Raise PersondetError if there are problems."""
    if problems:
        raise PersondetError("the evaluation fails:\n  " + "\n  ".join(problems))


def _problems(run: "EvaluationRun") -> list[str]:
    return [text for one in run.confirmations.values() for text in one.problems()]


def _print_confirmations(run: "EvaluationRun") -> None:
    from benchmarks.tables import print_to_stdout

    for one in run.confirmations.values():
        print_to_stdout("", *one.lines())


def _echo_limit_notes(evaluation: "Evaluation", prefix: str = "") -> None:
    for note in evaluation.limit_notes:
        click.echo(f"note: {prefix}{note}", err=True)


def _write_results(run: "EvaluationRun", path: Path) -> None:
    from benchmarks.evaluation.results import results_of
    from runtime.output import write_coco_results

    found = run.models[0].found
    write_coco_results(path, results_of(run.truth, found))
    click.echo(f"COCO results of {counted(len(found), 'picture')}: {path}", err=True)


def _print_one(evaluation: "Evaluation", name: str, device: str) -> None:
    from benchmarks.evaluation import report
    from benchmarks.tables import print_to_stdout

    print_to_stdout(report.title_text(evaluation, name, device))
    for heading, summary in report.summaries(evaluation):
        print_to_stdout("", heading, report.figures_table(evaluation, summary))
        print_to_stdout("", report.sizes_table(summary))
        print_to_stdout("", report.thresholds_table(summary))
    print_to_stdout("", report.explanation_text(evaluation))


def _draw(run: "EvaluationRun", evaluation: "Evaluation", folder: Path) -> None:
    from benchmarks.evaluation.contact_sheet import draw_faults
    from benchmarks.evaluation.faults import faults
    from benchmarks.evaluation.plots import draw_curves

    (model,) = run.models
    threshold = evaluation.score_threshold
    drawn = draw_curves(evaluation, Path(model.name).name, folder)
    worst = faults(run.truth, model.found, model.spec.input_size_hw, threshold)
    drawn += draw_faults(worst, run.truth, model.found, threshold, folder)
    for picture in drawn:
        click.echo(f"drawn: {picture}", err=True)
