"""Names of classes: those that differ in capitals or blanks only are one class."""

from collections.abc import Iterable

from persondet.data.report import Report


def name_key(name: str) -> str:
    """Return what names of one class have in common."""
    return " ".join(name.split()).casefold()


def one_name_per_class(names: Iterable[str], report: Report) -> list[str]:
    """Return the first spelling of every class, in order; the other spellings are reported."""
    first: dict[str, str] = {}
    for name in dict.fromkeys(names):
        kept = first.setdefault(name_key(name), name)
        if kept != name:
            report.add("class name that differs in capitals only: one class", f"{kept!r}, {name!r}")
    return list(first.values())
