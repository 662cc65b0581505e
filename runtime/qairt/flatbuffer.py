"""Reading FlatBuffers: tables, strings and vectors, each place checked against the buffer's end.

The layout is public: https://flatbuffers.dev/internals/. A table points back to its vtable, which
holds for each field its place in the table, or 0 where the field is absent.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from persondet.errors import InputError

_Value = TypeVar("_Value")


class DamagedBufferError(InputError):
    """A place in the buffer that points out of it."""


@dataclass(frozen=True)
class FlatTable:
    """One table. data: the whole buffer; place: where the table begins."""

    data: bytes
    place: int

    def scalar(self, field: int, code: str, default: _Value) -> Any:
        """A number of field `field`, counted from 0; code: struct's letter for its type."""
        place = self._field(field)
        return default if place is None else _unpack(self.data, code, place)

    def text(self, field: int) -> str:
        place = self._field(field)
        return "" if place is None else _text(self.data, _follow(self.data, place))

    def texts(self, field: int) -> tuple[str, ...]:
        return self._vector(field, 4, lambda place: _text(self.data, _follow(self.data, place)))

    def table(self, field: int) -> "FlatTable | None":
        place = self._field(field)
        return None if place is None else FlatTable(self.data, _follow(self.data, place))

    def tables(self, field: int) -> tuple["FlatTable", ...]:
        return self._vector(field, 4, lambda place: FlatTable(self.data, _follow(self.data, place)))

    def numbers(self, field: int, dtype: str) -> np.ndarray | None:
        """A vector of numbers, not copied; dtype: numpy's, with its byte order."""
        place = self._field(field)
        if place is None:
            return None
        start, count = self._span(place, np.dtype(dtype).itemsize)
        return np.frombuffer(self.data, dtype, count, start)

    def _vector(self, field: int, size: int, read: Callable[[int], _Value]) -> tuple[_Value, ...]:
        place = self._field(field)
        if place is None:
            return ()
        start, count = self._span(place, size)
        return tuple(read(start + size * index) for index in range(count))

    def _span(self, place: int, size: int) -> tuple[int, int]:
        start = _follow(self.data, place)
        count = _unpack(self.data, "I", start)
        if start + 4 + count * size > len(self.data):
            raise DamagedBufferError(
                f"a vector of {count} items at byte {start} ends beyond the data"
            )
        return start + 4, count

    def _field(self, field: int) -> int | None:
        vtable = self.place - _unpack(self.data, "i", self.place)
        if 4 + 2 * field >= _unpack(self.data, "H", vtable):
            return None
        offset = _unpack(self.data, "H", vtable + 4 + 2 * field)
        return self.place + offset if offset else None


def root_table(data: bytes) -> FlatTable:
    """The table that a FlatBuffer begins with. Raises DamagedBufferError where it lies outside."""
    return FlatTable(data, _follow(data, 0))


def _follow(data: bytes, place: int) -> int:
    return place + _unpack(data, "I", place)


def _text(data: bytes, place: int) -> str:
    length = _unpack(data, "I", place)
    if place + 4 + length > len(data):
        raise DamagedBufferError(f"a text of {length} bytes at byte {place} ends beyond the data")
    return data[place + 4 : place + 4 + length].decode("utf-8", "replace")


def _unpack(data: bytes, code: str, place: int) -> Any:
    size = struct.calcsize("<" + code)
    if not 0 <= place <= len(data) - size:
        raise DamagedBufferError(f"byte {place} is outside of {len(data)} bytes of data")
    return struct.unpack_from("<" + code, data, place)[0]
