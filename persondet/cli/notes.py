"""What the library's log says, as the notes of the command line."""

import contextlib
import logging
from collections.abc import Iterator

import click


class _Notes(logging.Handler):
    """Prints each note once: those that share the extra `once`, or else the same words."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        key = getattr(record, "once", message)
        if key not in self._said:
            self._said.add(key)
            click.echo(f"note: {message}", err=True)


@contextlib.contextmanager
def notes_of_the_log() -> Iterator[None]:
    """While the block runs, print what the logger `persondet` says on standard error."""
    log, notes = logging.getLogger("persondet"), _Notes()
    log.addHandler(notes)
    try:
        yield
    finally:
        log.removeHandler(notes)
