"""Encodings of another model are refused, naming what does not fit."""

import numpy as np
import pytest
from conv_graph import conv_graph

from persondet.errors import InputError
from quantize.encodings import Encodings, TensorEncoding, encoding_of
from quantize.encodings_fit import check_fit

MODEL = conv_graph(
    [np.ones((4, 1, 1, 1)), np.ones((2, 4, 1, 1))],
    [np.zeros(4), np.zeros(2)],
    after=["Clip", "Relu"],
)
CENTRED = encoding_of(8, 0.1, -128, symmetric=True)


def activations(**encodings: TensorEncoding) -> Encodings:
    return Encodings(encodings, {})


def params(*channels: TensorEncoding) -> Encodings:
    return Encodings({}, {"w0": channels})


def test_what_fits() -> None:
    check_fit(Encodings({}, {}), MODEL.graph)
    check_fit(activations(x=encoding_of(16, 0.1, -9), y0=CENTRED), MODEL.graph)
    check_fit(activations(z0=encoding_of(8, 6 / 255, 0), z1=encoding_of(8, 9, 0)), MODEL.graph)
    check_fit(params(*[CENTRED] * 4), MODEL.graph)
    check_fit(params(encoding_of(8, 0.1, -3)), MODEL.graph)
    check_fit(params(*[encoding_of(8, 0.1, -127)] * 4), MODEL.graph)  # strictly symmetric


def test_names_that_the_model_does_not_have() -> None:
    many = {f"t{index}": CENTRED for index in range(12)}
    with pytest.raises(InputError, match=r"name 13 tensors .* t0, t1.* and 5 more; they belong to"):
        check_fit(Encodings({**many, "x": CENTRED}, {"x": (CENTRED,)}), MODEL.graph)


@pytest.mark.parametrize(
    ("encodings", "message"),
    [
        (params(CENTRED, CENTRED), "weight w0 has 2 encodings, expected 1 or 4"),
        (params(*[encoding_of(8, 0.1, -3)] * 4), "weight w0 has channels that are not symmetric"),
        (params(encoding_of(16, 0.1, -3)), "weight w0 has not 8 bits"),
        (
            activations(z1=encoding_of(8, 0.1, -100)),
            "z1 is encoded from -10 to 15.5, but a Relu keeps it from 0 to inf",
        ),
        (
            activations(z0=encoding_of(8, 0.1, 0)),
            "z0 is encoded from 0 to 25.5, but a Clip keeps it from 0 to 6",
        ),
    ],
)
def test_what_does_not_fit(encodings: Encodings, message: str) -> None:
    with pytest.raises(InputError, match=f"the encodings do not fit the model: {message}"):
        check_fit(encodings, MODEL.graph)


def test_limits_of_a_clip_before_opset_11() -> None:
    old = conv_graph([np.ones((1, 1, 1, 1))], [[0]], after=["Clip"])
    clip = next(node for node in old.graph.node if node.op_type == "Clip")
    del clip.input[1:]
    for name, value in (("min", 0.0), ("max", 6.0)):
        attribute = clip.attribute.add()
        attribute.name, attribute.type, attribute.f = name, 1, value
    with pytest.raises(InputError, match="a Clip keeps it from 0 to 6"):
        check_fit(activations(z0=encoding_of(8, 0.1, 0)), old.graph)
    del clip.attribute[:]
    check_fit(activations(z0=encoding_of(8, 0.1, 0)), old.graph)
