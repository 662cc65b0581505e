"""The one progress bar: on standard error, and only where a person looks at it."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from persondet.terminal import guard, unguarded


@contextlib.contextmanager
def progress_bar(
    label: str, total: float | None = None, *, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """A bar while the block runs; call what it yields after each of the `total` steps.

    total: None where the number of steps is not known.
    shown: False where lines on a terminal are progress enough. Without a terminal on standard
        error nothing is shown either way, and rich is not even imported.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(file=unguarded(sys.stderr))
    # Standard output is the machine's: rich must not move what is printed there to the bar's side.
    with (
        Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress,
        contextlib.redirect_stderr(guard(sys.stderr)),  # by now rich's, which obeys escapes
    ):
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)
