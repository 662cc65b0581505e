"""The reader of frozen TensorFlow graphs, on messages written by hand."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persondet.errors import InputError
from persondet.tf_graph import read_constants

FLOAT, DOUBLE, INT32 = 1, 2, 3


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def tensor(dtype: int, shape: tuple[int, ...], values: bytes) -> bytes:
    dims = b"".join(message(2, number(1, size)) for size in shape)
    return number(1, dtype) + message(2, dims) + values


def const(name: str, content: bytes, op: str = "Const") -> bytes:
    dtype = message(5, message(1, b"dtype") + message(2, number(6, 1)))
    value = message(5, message(1, b"value") + message(2, message(8, content)))
    return message(1, message(1, name.encode()) + message(2, op.encode()) + value + dtype)


@pytest.fixture
def read(tmp_path):
    def reader(data: bytes):
        path = tmp_path / "graph.pb"
        path.write_bytes(data)
        return read_constants(path)

    return reader


def test_every_form_in_which_values_are_written(read):
    content = np.arange(6, dtype="<f4")
    graph = [
        const("a/content", tensor(FLOAT, (2, 3), message(4, content.tobytes()))),
        const("b/packed", tensor(FLOAT, (2,), message(5, struct.pack("<2f", 1.5, -2.0)))),
        const("c/one", tensor(FLOAT, (2, 2), varint(5 << 3 | 5) + struct.pack("<f", 7.0))),
        const("d/scalar", tensor(INT32, (), number(7, -5))),
        const("e/ints", tensor(INT32, (3,), message(7, varint(1) + varint(-1) + varint(300)))),
        const("f/tail", tensor(INT32, (4,), message(7, varint(8) + varint(9)))),
        const("g/empty", tensor(FLOAT, (0,), b"")),
        const("double", tensor(DOUBLE, (), message(6, struct.pack("<d", 1.0)))),
        const("other", tensor(FLOAT, (), b""), op="Placeholder"),
    ]
    found = read(b"".join(graph) + number(3, 27))  # 3: the deprecated version number
    expected = {
        "a/content": content.reshape(2, 3),
        "b/packed": [1.5, -2.0],
        "c/one": [[7.0, 7.0], [7.0, 7.0]],
        "d/scalar": -5,
        "e/ints": [1, -1, 300],
        "f/tail": [8, 9, 9, 9],  # the last listed value stands for the rest
        "g/empty": [],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert found["a/content"].dtype == np.float32
    assert found["a/content"].flags.writeable
    assert found["e/ints"].dtype == np.int32


GOOD = const("weights", tensor(FLOAT, (2,), message(4, struct.pack("<2f", 1, 2))))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no constants"),
        (b"PK\x03\x04 a zip, say", "not a frozen TensorFlow graph"),
        (GOOD[:-1], "truncated"),
        (
            const("w", tensor(FLOAT, (3,), message(4, bytes(8)))),
            r"w has 8 bytes for the shape \[3\]",
        ),
        (const("w", tensor(FLOAT, (1,), message(5, bytes(8)))), r"w has 2 values"),
        (const("w", tensor(FLOAT, (1,), message(5, bytes(7)))), "float_val is not made of"),
        (const("w", tensor(FLOAT, (1 << 30, 1 << 30), b"")), "w has the shape"),
        (const("w", tensor(FLOAT, (-1,), b"")), "w has the shape"),
        (number(1, 5), "where bytes were expected"),
        (b"\xff" * 11, "more than 64 bits"),
        (message(1, message(1, b"\xff\xfe")), "utf-8"),
    ],
)
def test_malformed_graphs_are_refused(read, data, reason):
    with pytest.raises(InputError, match=reason):
        read(data)


@pytest.mark.parametrize("length", range(1, len(GOOD)))
def test_every_truncation_is_refused(read, length):
    with pytest.raises(InputError, match=r"graph\.pb"):
        read(GOOD[:length])


@given(data=st.binary(max_size=60), position=st.integers(0, len(GOOD)))
def test_damage_never_escapes_as_another_error(tmp_path_factory, data, position):
    path = tmp_path_factory.mktemp("graph") / "damaged.pb"
    path.write_bytes(GOOD[:position] + data + GOOD[position + len(data) :])
    try:
        read_constants(path)
    except InputError as error:
        assert "damaged.pb" in str(error)


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_constants(tmp_path / "none.pb")
    with pytest.raises(InputError, match="Is a directory"):
        read_constants(tmp_path)
