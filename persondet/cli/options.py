"""Option types that several commands share."""

from typing import Any

import click


class CommaSeparated(click.ParamType):
    """`a,b,c` to a tuple, each part converted by `item`."""

    name = "list"

    def __init__(self, item: click.ParamType):
        self.item = item

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} is not a list like a,b,c", param, ctx)
        return tuple(self.item.convert(part, param, ctx) for part in parts)


NAMES = CommaSeparated(click.STRING)
NUMBERS = CommaSeparated(click.FLOAT)
