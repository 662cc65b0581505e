"""What the library's log says, as the notes of the command line."""

import logging

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


def say_notes_of_the_log() -> None:
    """Have what the logger `persondet` says printed on standard error, each note once."""
    log = logging.getLogger("persondet")
    log.handlers[:] = [_Notes()]
    log.propagate = False
