"""The progress bars: on standard error, and only if a person looks at it."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.terminal import guard, printable, unguarded

if TYPE_CHECKING:
    from rich.progress import Progress

    from persondet.training.trainer import Step


@contextlib.contextmanager
def progress_bar(
    label: str, total: float | None = None, *, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs; call what it yields after each of the `total` steps.

    total: None if the number of steps is not known.
    shown: False if lines on a terminal are progress enough. Without a terminal on standard error
        nothing is shown either way, and rich is not even imported.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    with _bars() as bars:
        task = bars.add_task(label, total=total, detail="")
        yield lambda: bars.advance(task)


class TrainingDisplay:
    """What a person sees of a run: a bar of its steps, one of each validation, lines above them.

    bars: None if nobody looks: lines alone are printed then.
    """

    def __init__(self, bars: "Progress | None") -> None:
        self._bars = bars
        self._task: int | None = None

    def step(self, step: "Step") -> None:
        """Show where the run stands, its loss and its rate."""
        if self._bars is None:
            return
        label = f"epoch {step.epoch}/{step.epochs}"
        if self._task is None:  # a resumed run begins in the middle, and is not that fast
            before = step.step - 1
            self._task = self._bars.add_task(label, total=step.steps, completed=before, detail="")
        self._bars.update(
            self._task,  # type: ignore[arg-type]
            advance=1,
            description=label,
            detail=f"loss {step.loss:.3f}, {step.images_per_s:.1f} images/s",
        )

    def validating(self, images: Sequence[Path]) -> Iterable[Path]:
        """Pass the images on, with a bar of their own."""
        if self._bars is None:
            yield from images
            return
        task = self._bars.add_task("validating", total=len(images), detail="")
        self._bars.refresh()  # the next regular one may come when a short validation is over
        for image in images:
            yield image
            self._bars.advance(task)
        self._bars.remove_task(task)

    def line(self, text: str) -> None:
        """Print a line above the bars: on standard output, unless that is the terminal too."""
        if self._bars is None or not sys.stdout.isatty():
            click.echo(text)
        else:
            self._bars.console.print(printable(text), markup=False, highlight=False)


@contextlib.contextmanager
def training_display(*, shown: bool = True) -> Iterator[TrainingDisplay]:
    """Show a training run while the block runs; shown: False if another process does it."""
    if not (shown and sys.stderr.isatty()):
        yield TrainingDisplay(None)
        return
    with _bars() as bars:
        yield TrainingDisplay(bars)


@contextlib.contextmanager
def _bars() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(file=unguarded(sys.stderr))
    # Standard output is the machine's: rich must not move what is printed there to the bar's side.
    with (
        Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress,
        contextlib.redirect_stderr(guard(sys.stderr)),  # by now rich's, which obeys escapes
    ):
        yield progress
