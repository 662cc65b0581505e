"""Reading documents that come from anywhere: text, JSON, TOML, XML and the directories of zips.

The one place that does so. Each reader takes a bounded number of bytes, and whatever the bytes are,
it returns a value that is safe to print and to walk through, or raises InputError naming the file.
"""

import json
import os
import re
import stat
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from persondet.errors import InputError

MAX_BYTES = 1 << 26  # sidecars, specs, encodings and results: the largest we know has 2 MB
MAX_ANNOTATION_BYTES = 1 << 31  # COCO's training set has 450 MB
MAX_CONFIG_BYTES = 1 << 20
MAX_DEPTH = 64  # of values in values; printing one that is much deeper fails
MAX_DIGITS = 300  # of a whole number: more is no float
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
# The memory that tomllib takes grows with the square of a dotted key's parts.
_LONG_KEY = re.compile(r"""(?:(?<![\w"'-])(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}""")


class FormatError(InputError):
    """The file could be read, but it is not what its format asks for."""


def is_file(path: Path) -> bool:
    """Return whether it is a file that we may see; a name that is too long for one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether it is a folder that we may see; a name that is too long for one is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Return whether there is something that we may see."""
    try:
        return path.exists()
    except OSError:
        return False


def read_bytes(path: Path, what: str = "", limit: int = MAX_BYTES) -> bytes:
    """Return the content of a file or a pipe.

    what: what the file is, in words such as "the sidecar", for messages.
    Raises InputError if it cannot be read, is a device, or has more than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                raise InputError(f"cannot read {_named(what, path)}: it is a device; name a file")
            if status.st_size > limit:
                raise _too_large(what, path, limit)
            return _all_of(file, stat.S_ISREG(status.st_mode), what, path, limit)
    except OSError as error:
        reason = f"{error.strerror or error}; check the path and its permissions"
        raise InputError(f"cannot read {_named(what, path)}: {reason}") from None
    except ValueError:  # a null character, or half of a surrogate pair
        raise InputError(f"cannot read {_named(what, path)}: no file has such a name") from None


def _all_of(file: IO[bytes], regular: bool, what: str, path: Path, limit: int) -> bytes:
    if regular:
        return file.read()
    content = bytearray()
    while chunk := file.read(1 << 20):
        content += chunk
        if len(content) > limit:
            raise _too_large(what, path, limit)
    return bytes(content)


def _too_large(what: str, path: Path, limit: int) -> InputError:
    return FormatError(
        f"cannot read {_named(what, path)}: it has more than {limit >> 20} MiB, so it is another "
        "kind of file; check the path"
    )


def read_text(path: Path, what: str = "", limit: int = MAX_BYTES) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark.

    Raises FormatError if it is no such text, InputError as `read_bytes` does.
    """
    try:
        return read_bytes(path, what, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"cannot read {_named(what, path)}: expected UTF-8 text, found the byte "
            f"0x{error.object[error.start]:02x} at {error.start}"
        ) from None


def read_json(path: Path, what: str = "", limit: int = MAX_BYTES) -> Any:
    """Return the value of a JSON file, as `parse_json` does.

    Raises FormatError if it is no such JSON, InputError as `read_bytes` does.
    """
    try:
        return parse_json(read_text(path, what, limit))
    except ValueError as error:
        raise FormatError(f"cannot read {_named(what, path)}: not JSON ({error})") from None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; NaN and Infinity are floats, as Python's own writer has it.

    Raises ValueError for another text, an object that has a key twice, values nested more than
    MAX_DEPTH deep, and whole numbers of more than MAX_DIGITS digits.
    """
    number = _whole_number if _has_long_number(text) else int  # int alone is twice as fast
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=number)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _has_long_number(text: str) -> bool:
    """Return whether there are more than MAX_DIGITS digits side by side, in a text perhaps."""
    return _LONG_NUMBER in text.encode("utf-8", "surrogatepass").translate(_DIGITS_ALIKE)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {twice[:80]!r} twice")
    return values


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _inside(parent)]
        if not level:
            return
    raise _too_deep()


def _inside(value: Any) -> Iterable[Any]:
    """Return what is in a container and is a container itself, or could be one."""
    if isinstance(value, dict):
        return [child for child in value.values() if isinstance(child, dict | list)]
    if isinstance(value, list):
        return [child for child in value if isinstance(child, dict | list)]
    return ()


def _too_deep() -> ValueError:
    return ValueError(f"its values are nested more than {MAX_DEPTH} deep")


def read_toml(path: Path, what: str = "") -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises FormatError if it is none, or is nested more than MAX_DEPTH deep, InputError as
    `read_bytes` does.
    """
    text = read_text(path, what, MAX_CONFIG_BYTES)
    try:
        if _LONG_KEY.search(text):
            raise _too_deep()
        if _has_long_number(text.replace("_", "")):
            raise ValueError(f"a number has more than {MAX_DIGITS} digits")
        values = tomllib.loads(text)
        _check_depth(values)
    except RecursionError:
        raise FormatError(f"cannot read {_named(what, path)}: {_too_deep()}") from None
    except ValueError as error:
        raise FormatError(f"cannot read {_named(what, path)}: not TOML ({error})") from None
    return values


def parse_xml(content: bytes) -> ElementTree.Element:
    """Return the root of an XML document. Raises ValueError for what is none."""
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from None


def zip_entries(file: IO[bytes]) -> list[zipfile.ZipInfo]:
    """Return the directory of a zip archive; nothing is unpacked.

    Raises zipfile.BadZipFile, and nothing else, if it is damaged; OSError if reading fails.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError):
        raise
    except Exception as error:  # struct.error, UnicodeDecodeError, NotImplementedError and others
        raise zipfile.BadZipFile(f"its directory is damaged: {error}") from None


def _named(what: str, path: Path) -> str:
    return f"{what} {path}" if what else str(path)
