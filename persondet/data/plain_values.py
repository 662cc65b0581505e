"""Values of annotation files in their plain meaning: the id "4" is 4, the flag "0" is no."""

import re
from typing import Any

Id = int | str

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_FLAGS = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


def plain_id(value: Any) -> Id | None:
    """Return an id as it is compared with others: 4, 4.0 and "4" are one.

    "007" stays text, as it may stand beside 7. None if the value is not an id at all.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _WHOLE_NUMBER.fullmatch(text) else text or None
    return value if isinstance(value, int) else None


def plain_flag(value: Any) -> bool:
    """Return a flag that may be text or null. Raises ValueError if it is not a flag."""
    if value is None or isinstance(value, bool | int | float):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    raise ValueError(f"{value!r:.40}, expected 0 or 1")


def plain_number(value: Any) -> float | None:
    """Return a number that may be text; None if the value is not a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def plain_side(value: Any) -> int | None:
    """Return a side of an image in whole pixels, at least 1; None if the value says none."""
    number = plain_number(value)
    return int(number) if number is not None and number >= 1 and number.is_integer() else None
