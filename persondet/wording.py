"""Numbers and values in sentences."""

import json
from typing import Any

_SHOWN_CHARACTERS = 60


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`, `2 boxes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('x') else 's'}"


def shown(value: Any) -> str:
    """A value from a file as its author wrote it: JSON, cut off after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
