"""Text on its way out: valid UTF-8 in every locale, and nothing in it that a terminal obeys.

Names of files, classes and layers, a DLC's recorded command and the messages of tools come from
files that strangers wrote. The command line puts `Printable` around both of its streams, so that
all of them pass through `printable`, whoever prints them.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterable
from typing import TextIO, cast

# What a terminal or a reader of lines acts on: C0 but tab and newline, DEL, C1, marks that reorder
# text (Unicode 15, UAX #9), line separators, and surrogates, which UTF-8 does not have.
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BYTES_OF_NAMES = re.compile("[\udc80-\udcff]+")  # as os.fsdecode keeps what is not UTF-8 (PEP 383)
# The user part of an address as FFmpeg splits it, and a password that holds a slash. One slash:
# pathlib folds them.
_USER = re.compile(r"""(?<=:/)(/?[^\s/:@"'\\]*):[^\s"'\\]*@""")
_SECRET_PARAMETER = re.compile(
    r"""(?i)([?&;][^\s=&;"'\\]*(?:pass|pwd|secret|token|key|auth)[^\s=&;"'\\]*=)[^\s&;"'\\]+"""
)


def printable(text: str) -> str:
    """Return the text with every character that is not printable as an escape: \\x1b, \\u202e.

    Tabs and newlines stay. Bytes of a file name that are not UTF-8 become \\xe9; those that are
    (in a locale that could not decode them) become their characters.
    """
    text = _BYTES_OF_NAMES.sub(_decoded, text.replace("\r\n", "\n"))
    return UNPRINTABLE.sub(_escaped, text)


def without_passwords(text: str) -> str:
    """Return the text with `***` for passwords in addresses: rtsp://admin:***@camera/stream."""
    if ":/" not in text:
        return text
    return _SECRET_PARAMETER.sub(r"\1***", _USER.sub(r"\1:***@", text))


def shell_word(word: str) -> str:
    """Quote a word for bash such that it names exactly the file, in printable UTF-8 on one line."""
    try:
        exact = os.fsencode(word)
    except UnicodeEncodeError:  # no name of a file in this locale
        exact = word.encode("utf-8", "surrogatepass")
    text = exact.decode("utf-8", "surrogateescape")
    if not UNPRINTABLE.search(text) and not {"\n", "\t"} & set(text):
        return shlex.quote(text)
    return "$'" + "".join(map(_ansi_c, exact)) + "'"


def shell_line(words: Iterable[str]) -> str:
    """Return a line that bash reads as these words."""
    return " ".join(map(shell_word, words))


class Printable:
    """A text stream that writes `printable` text without passwords to another one."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        self.unguarded.write(printable(without_passwords(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self.unguarded, name)


def guard(stream: TextIO) -> TextIO:
    """Return the stream with `Printable` around it."""
    return cast(TextIO, Printable(stream))


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below `Printable`: for rich, whose own escapes must reach the terminal."""
    return stream.unguarded if isinstance(stream, Printable) else stream


def guard_standard_streams() -> None:
    """Make standard output and standard error UTF-8, whatever the locale, and `Printable`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, Printable):
            continue
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, guard(stream))


def _decoded(match: re.Match[str]) -> str:
    return match[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _ansi_c(byte: int) -> str:
    """A byte within $'...' (bash's ANSI-C quoting)."""
    character = chr(byte)
    return character if 0x20 <= byte < 0x7F and character not in "'\\" else f"\\x{byte:02x}"
