"""How long work tells of itself, without knowing who shows it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

# From a phase's label and its number of steps (None: not known) to a block that yields what is to
# be called after each step.
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[], None]]]


@contextlib.contextmanager
def no_progress(label: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show nothing."""
    yield lambda: None
