"""Encodings as JSON: what is read, what is refused; the encodings of a QDQ graph."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conv_graph import conv_graph
from hypothesis import given
from hypothesis import strategies as st

from persondet.errors import InputError
from quantize.encodings import (
    Encodings,
    encoding_of,
    encodings_from_qdq,
    encodings_to_json,
    read_encodings,
)
from quantize.qdq import Scheme, qdq_from_ranges

PLAIN = {"bitwidth": 8, "min": -1.0, "max": 1.55, "scale": 0.01, "offset": -100}


def written(tmp_path: Path, activations: Any = None, params: Any = None) -> Path:
    path = tmp_path / "given.json"
    path.write_text(
        json.dumps({"activation_encodings": activations or {}, "param_encodings": params or {}})
    )
    return path


def only(path: Path):
    (encoding,) = read_encodings(path).activations.values()
    return encoding


def test_round_trip_through_json(tmp_path: Path) -> None:
    encodings = Encodings(
        {"b": encoding_of(8, 0.1, -3), "a": encoding_of(16, float(np.float32(1e-7)), -65535)},
        {"w": tuple(encoding_of(8, s, -128, symmetric=True) for s in (0.5, 0.25))},
    )
    path = tmp_path / "e.json"
    path.write_text(encodings_to_json(encodings))
    assert read_encodings(path) == encodings
    assert list(read_encodings(path).activations) == ["b", "a"]
    fields = json.loads(path.read_text())["param_encodings"]["w"][1]
    assert fields == {
        "bitwidth": 8,
        "min": -32.0,
        "max": 31.75,
        "scale": 0.25,
        "offset": -128,
        "dtype": "int",
        "is_symmetric": "True",
    }


@pytest.mark.parametrize(
    ("low", "high", "delta", "offset", "new_low", "new_high"),
    [  # of a real DLC of SNPE 1.56.2, and the example in SNPE's documentation
        (-23, 24, 0.18431373, -125, -23.03921509, 23.96078491),
        (11, 24, 0.09411765, 0, 0, 24),
        (-1.8, 0.5, 0.009020, -200, -1.803922, 0.496078),
        (0, 0, 0.0001 / 255, 0, 0, 0.0001),
    ],
)
def test_the_vendors_rule_where_scale_and_offset_are_absent(
    tmp_path: Path, low: float, high: float, delta: float, offset: int, new_low: float, new_high
) -> None:
    found = only(written(tmp_path, {"x": [{"bitwidth": 8, "min": low, "max": high}]}))
    assert found.scale == pytest.approx(delta, abs=5e-7)
    assert found.offset == offset
    assert (found.min, found.max) == pytest.approx((new_low, new_high), abs=2e-6)


def test_symmetric_range_without_scale(tmp_path: Path) -> None:
    given_range = {"bitwidth": 8, "min": -1.28, "max": 1.27, "is_symmetric": "True"}
    found = only(written(tmp_path, {"x": [given_range]}))
    assert (found.offset, found.scale) == (-128, pytest.approx(0.01))
    strict = {"bitwidth": 8, "min": -1.27, "max": 1.27, "is_symmetric": True}
    found = only(written(tmp_path, {"x": [strict]}))
    assert (found.offset, found.scale, found.is_symmetric) == (-128, pytest.approx(0.01), "True")


def test_other_writers_spellings(tmp_path: Path) -> None:
    """A whole number as a float, a truth value as a truth value, fields that mean nothing here."""
    found = only(
        written(tmp_path, {"x": [{**PLAIN, "offset": -100.0, "is_symmetric": False, "q": 1}]})
    )
    assert found == encoding_of(8, 0.01, -100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bitwidth": 4}, "bitwidth 4 is not supported, expected 8 or 16"),
        ({"bitwidth": "8"}, "bitwidth '8' is not supported"),
        ({"bitwidth": 32}, "bitwidth 32 is not supported"),
        ({"dtype": "float"}, "dtype 'float' is not supported, expected 'int'"),
        ({"min": None}, "float"),
        ({"min": "x"}, "could not convert"),
        ({"min": 3}, r"min 3\.0 and max 1\.55 are no range"),
        ({"max": float("nan")}, "are no range"),
        ({"max": float("inf")}, "are no range"),
        ({"scale": 0}, "scale 0.0 is not positive"),
        ({"scale": -0.01}, "scale -0.01 is not positive"),
        ({"scale": float("nan")}, "scale nan is not positive"),
        ({"offset": 3}, "offset 3, expected a whole number from -255 to 0"),
        ({"offset": -256}, "offset -256, expected a whole number"),
        ({"offset": -99.5}, r"offset -99\.5, expected a whole number"),
        ({"offset": float("inf")}, "offset inf, expected a whole number"),
        ({"is_symmetric": "maybe"}, "is_symmetric 'maybe', expected 'True' or 'False'"),
        ({"max": 2.0}, "give the range -1 to 1.55, but min and max are -1 and 2; correct them"),
    ],
)
def test_bad_fields_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = written(tmp_path, {"tensor_x": [{**PLAIN, **change}]})
    with pytest.raises(InputError, match=message) as caught:
        read_encodings(path)
    assert f"{path}: encoding of tensor tensor_x: " in str(caught.value)


@pytest.mark.parametrize("missing", ["bitwidth", "min", "max"])
def test_missing_fields(tmp_path: Path, missing: str) -> None:
    fields = {key: value for key, value in PLAIN.items() if key != missing}
    with pytest.raises(InputError, match=f"tensor w: '{missing}' is missing"):
        read_encodings(written(tmp_path, None, {"w": [fields]}))


@pytest.mark.parametrize("values", [[], {}, None, 3, "text"])
def test_no_list_of_encodings(tmp_path: Path, values: Any) -> None:
    with pytest.raises(InputError, match="tensor x has no list of encodings"):
        read_encodings(written(tmp_path, {"x": values}))


def test_odd_entries(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tensor x: expected an object, got 3"):
        read_encodings(written(tmp_path, {"x": [3]}))
    with pytest.raises(InputError, match="activation x has 2 encodings, expected 1"):
        read_encodings(written(tmp_path, {"x": [PLAIN, PLAIN]}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG",
        b"[]",
        b"{}",
        b'{"activation_encodings": {}}',
        b'{"activation_encodings": "", "param_encodings": []}',  # version 1.0.0 has lists
    ],
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(
        InputError,
        match=r"the encodings .*other\.json: .*|other\.json is no encodings file",
    ):
        read_encodings(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the encodings .*none\.json: No such file"):
        read_encodings(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"cannot read the encodings .*: Is a directory"):
        read_encodings(tmp_path)


@given(
    bits=st.sampled_from([8, 16]),
    low=st.floats(-1e6, 1e6),
    width=st.floats(0, 1e6),
    symmetric=st.booleans(),
)
def test_any_range_gives_an_encoding_that_covers_it_and_zero(
    tmp_path_factory: pytest.TempPathFactory, bits: int, low: float, width: float, symmetric: bool
) -> None:
    fields = {"bitwidth": bits, "min": low, "max": low + width, "is_symmetric": str(symmetric)}
    path = written(tmp_path_factory.getbasetemp(), {"x": [fields]})
    found = only(path)
    slack = found.scale * 0.51
    assert found.min <= 0 <= found.max
    assert found.min - slack <= low <= low + width <= found.max + slack
    assert -(2**bits) < found.offset <= 0


def test_encodings_of_a_graph_by_its_own_names() -> None:
    weights = [np.array([[[[1]]], [[[-2]]]]), np.array([[[[1]], [[3]]]])]
    model = conv_graph(weights, [[0, 0], [0]], after=["Relu"])
    ranges = {"x": (-1.0, 1.0), "z0": (0.0, 2.0), "y1": (-2.0, 3.0)}
    quantized, _ = qdq_from_ranges(model, ranges, Scheme(per_channel=True), {})
    found = encodings_from_qdq(quantized)
    assert set(found.activations) == {"x", "z0", "y1"}
    assert set(found.params) == {"w0", "w1"}
    assert [e.scale for e in found.params["w0"]] == pytest.approx([1 / 127, 2 / 127])
    assert all(e.is_symmetric == "True" and e.offset == -128 for e in found.params["w0"])
    assert found.activations["z0"].offset == 0
    assert found.activations["y1"].bitwidth == 8
    assert found.activations["y1"].is_symmetric == "False"
