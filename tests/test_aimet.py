"""Encodings of AIMET's version 1.0.0 are those of its version 0.6.1."""

import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from persondet.cli import cli
from persondet.errors import InputError
from quantize.encodings import encodings_from_qdq, read_encodings

WEIGHT = {
    "name": "w",
    "dtype": "INT",
    "bw": 8,
    "enc_type": "PER_CHANNEL",
    "is_sym": True,
    "scale": [0.5, 0.25],
    "offset": [-128.0, -128.0],
}
ACTIVATION = {
    "name": "x",
    "dtype": "INT",
    "bw": 16,
    "enc_type": "PER_TENSOR",
    "is_sym": False,
    "scale": [0.01],
    "offset": [-100],
}
OLDER = {
    "version": "0.6.1",
    "activation_encodings": {
        "x": [{"bitwidth": 16, "min": -1.0, "max": 654.35, "scale": 0.01, "offset": -100}]
    },
    "param_encodings": {
        "w": [
            {"bitwidth": 8, "min": -64.0, "max": 63.5, "is_symmetric": "True"},
            {"bitwidth": 8, "min": -32.0, "max": 31.75, "is_symmetric": "True"},
        ]
    },
}


def _written(path: Path, record: object) -> Path:
    path.write_text(json.dumps(record))
    return path


def _newer(activations: list, params: list) -> dict:
    return {
        "version": "1.0.0",
        "activation_encodings": activations,
        "param_encodings": params,
        "excluded_layers": [],
        "producer": {"name": "aimet-onnx", "version": "2.42.0"},
    }


def test_both_versions_say_the_same(tmp_path) -> None:
    newer = read_encodings(_written(tmp_path / "a.json", _newer([ACTIVATION], [WEIGHT])))
    older = read_encodings(_written(tmp_path / "b.json", OLDER))
    assert newer == older


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "an entry without a name"),
        ({"bw": "8"}, "tensor x: bw '8', expected a whole number"),
        ({"bw": 4}, "bitwidth 4 is not supported, expected 8 or 16"),
        ({"dtype": "int"}, "tensor x: dtype 'int', expected INT or FLOAT"),
        ({"dtype": "FLOAT"}, "dtype 'float' is not supported"),
        ({"enc_type": "PER_BLOCK"}, "enc_type 'PER_BLOCK', expected PER_TENSOR or PER_CHANNEL"),
        ({"enc_type": "LPBQ"}, "enc_type 'LPBQ'"),
        ({"is_sym": "True"}, "is_sym 'True', expected true or false"),
        ({"scale": 0.1}, r"scale 0\.1, expected a list of numbers"),
        ({"scale": [True]}, "expected a list of numbers"),
        ({"offset": []}, "expected a list of numbers"),
        ({"scale": [0.1, 0.2]}, "2 scales and 1 offsets"),
        ({"scale": [0.1, 0.2], "offset": [0, 0]}, r"2 scales and 2 offsets \(PER_TENSOR\)"),
        ({"offset": [-0.5]}, r"offset -0\.5, expected a whole number"),
        ({"scale": [0.0]}, r"scale 0\.0 is not positive"),
        ({"zero_point_shift": [0.5]}, "0 must be exact"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, change, message) -> None:
    path = _written(tmp_path / "a.json", _newer([{**ACTIVATION, **change}], [WEIGHT]))
    with pytest.raises(InputError, match=message) as caught:
        read_encodings(path)
    assert str(path) in str(caught.value)


def test_a_tensor_that_stands_twice(tmp_path) -> None:
    path = _written(tmp_path / "a.json", _newer([ACTIVATION, ACTIVATION], []))
    with pytest.raises(InputError, match="tensor x stands twice"):
        read_encodings(path)


def test_version_2_is_refused_with_what_to_ask_for(tmp_path) -> None:
    path = _written(tmp_path / "a.json", {"version": "2.0.0", "encodings": []})
    with pytest.raises(InputError, match=r"encoding_version 0\.6\.1 or 1\.0\.0"):
        read_encodings(path)


def test_a_file_of_aimet_quantizes(tiny_onnx, tmp_path) -> None:
    """As aimet-onnx writes it: with encodings of a Clip's limits, which nothing can use."""
    picture = Path(__file__).parents[1] / "export" / "check_picture.jpg"
    own = tmp_path / "own.quantized.dlc"
    arguments = ["quantize", str(tiny_onnx), "--calib", str(picture), "--per-channel"]
    assert CliRunner().invoke(cli, [*arguments, "-o", str(own)]).exit_code == 0
    older = json.loads(own.with_name("own.quantized.encodings.json").read_text())
    lists = [
        [
            {
                "name": name,
                "dtype": "INT",
                "bw": values[0]["bitwidth"],
                "enc_type": "PER_CHANNEL" if len(values) > 1 else "PER_TENSOR",
                "is_sym": values[0]["is_symmetric"] == "True",
                "scale": [value["scale"] for value in values],
                "offset": [float(value["offset"]) for value in values],
            }
            for name, values in older[key].items()
        ]
        for key in ("activation_encodings", "param_encodings")
    ]
    constants = [n.output[0] for n in onnx.load(tiny_onnx).graph.node if n.op_type == "Constant"]
    assert constants
    lists[0] += [{**ACTIVATION, "name": name, "bw": 8, "scale": [0.1]} for name in constants]
    given = _written(tmp_path / "aimet.encodings", _newer(*lists))
    again = tmp_path / "again.quantized.dlc"
    arguments = ["quantize", str(tiny_onnx), "--encodings", str(given), "-o", str(again)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    first, second = (
        encodings_from_qdq(onnx.load(path.with_suffix(".onnx"))) for path in (own, again)
    )
    assert first == second
