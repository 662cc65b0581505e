"""QDQ graphs: the vendor's golden encodings, every opset, what is left of the float graph."""

import dataclasses
import logging

import numpy as np
import onnx
import pytest
from conv_graph import constants, conv_graph, run

from persondet.errors import InputError
from quantize.encodings import Encodings, encoding_of, encodings_from_qdq
from quantize.qdq import Scheme, overrides_from_encodings, qdq_from_ranges, scheme_of

ONE = np.ones((1, 1, 1, 1))


@pytest.mark.parametrize(
    ("observed", "delta", "offset", "low", "high"),
    [  # of a real DLC of SNPE 1.56.2, and the example in SNPE's documentation
        ((-23, 24), 0.18431373, -125, -23.03921509, 23.96078491),
        ((11, 24), 0.09411765, 0, 0, 24),
        ((-1.8, 0.5), 0.009020, -200, -1.803922, 0.496078),
    ],
)
def test_golden_encodings_of_snpe(
    observed: tuple[float, float], delta: float, offset: int, low: float, high: float
) -> None:
    ranges = {"x": observed, "y0": observed}
    quantized, _ = qdq_from_ranges(conv_graph([ONE], [[0]]), ranges, Scheme(), {})
    for found in encodings_from_qdq(quantized).activations.values():
        assert found.scale == pytest.approx(delta, abs=5e-7)
        assert found.offset == offset
        assert (found.min, found.max) == pytest.approx((low, high), abs=2e-6)


def test_golden_stored_values_of_snpe() -> None:
    model = conv_graph([ONE], [[0]], size_hw=(1, 4))
    quantized, _ = qdq_from_ranges(model, {"x": (-1.8, 0.5), "y0": (-1.8, 0.5)}, Scheme(), {})
    (stored,) = run(quantized, np.array([[[[-1.8, -1, 0, 0.5]]]]), "x_QuantizeLinear_Output")
    assert stored.reshape(-1).tolist() == [0, 89, 200, 255]


@pytest.mark.parametrize("opset", [9, 10, 11, 12, 13, 17, 20])
@pytest.mark.parametrize(
    "scheme", [Scheme(), Scheme(8, True), Scheme(16), Scheme(16, True)], ids=str
)
def test_every_opset_that_export_writes(opset: int, scheme: Scheme) -> None:
    generator = np.random.default_rng(opset)
    weights = [generator.normal(size=(4, 3, 1, 1)), generator.normal(size=(2, 4, 1, 1))]
    model = conv_graph(weights, [generator.normal(size=4), [0, 0.1]], after=["Relu"], opset=opset)
    x = generator.uniform(-1, 1, (1, 3, 2, 3)).astype(np.float32)
    names = ["x", "z0", "y1"]
    floats = dict(zip(names, [x, *run(model, x, "z0", "y1")], strict=True))
    ranges = {name: (float(v.min()), float(v.max())) for name, v in floats.items()}
    quantized, widened = qdq_from_ranges(model, ranges, scheme, {})
    assert widened == ()
    onnx.checker.check_model(quantized, full_check=True)
    assert {node.domain for node in quantized.graph.node} == {""}
    (found,) = run(quantized, x)
    assert np.abs(found - floats["y1"]).max() < 0.1
    encodings = encodings_from_qdq(quantized)
    assert set(encodings.activations) == set(names)
    assert {e.bitwidth for e in encodings.activations.values()} == {scheme.act_bits}
    channels = {name: len(values) for name, values in encodings.params.items()}
    assert channels == ({"w0": 4, "w1": 2} if scheme.per_channel else {"w0": 1, "w1": 1})
    assert scheme_of(encodings) == scheme


def test_relu_and_clip_are_fused_and_leave_nothing_behind() -> None:
    model = conv_graph([ONE, ONE], [[0], [0]], after=["Clip", "Relu"])
    ranges = {"x": (-9.0, 9.0), "z0": (0.0, 6.0), "z1": (0.0, 6.0)}
    quantized, _ = qdq_from_ranges(model, ranges, Scheme(), {})
    assert {node.op_type for node in quantized.graph.node} == {
        "Conv",
        "QuantizeLinear",
        "DequantizeLinear",
    }
    assert not {"zero", "six"} & set(constants(quantized))
    (found,) = run(quantized, np.array([[[[-5, 1, 9], [0, 6, 8]]]]))
    assert found.reshape(-1) == pytest.approx([0, 1, 6, 0, 6, 6], abs=0.04)


def test_a_range_at_least_a_ten_thousandth_wide() -> None:
    ranges = {"x": (0.0, 0.0), "y0": (0.0, 1e-9)}
    quantized, _ = qdq_from_ranges(conv_graph([ONE], [[0]]), ranges, Scheme(), {})
    for found in encodings_from_qdq(quantized).activations.values():
        assert found.max - found.min == pytest.approx(1e-4)


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_and_their_encodings(per_channel: bool) -> None:
    weight = np.array([1.27, -0.5, 0.1, -0.02]).reshape(2, 2, 1, 1)
    model = conv_graph([weight], [[0, 0]])
    ranges = {"x": (-1.0, 1.0), "y0": (-2.0, 2.0)}
    quantized, _ = qdq_from_ranges(model, ranges, Scheme(8, per_channel), {})
    stored = constants(quantized)["w0_quantized"].reshape(-1).tolist()
    (first, *rest) = encodings_from_qdq(quantized).params["w0"]
    if per_channel:  # the largest of a channel is 127 steps
        assert stored == [127, -50, 127, -25]
        assert [e.scale for e in (first, *rest)] == pytest.approx([0.01, 0.1 / 127])
        assert {e.is_symmetric for e in (first, *rest)} == {"True"}
    else:
        assert not rest
        assert first.scale == pytest.approx(1.77 / 255)
        assert stored == [255, 0, 86, 69]
        assert (first.offset, first.is_symmetric) == (-72, "False")


def encodings_and_ranges() -> tuple[onnx.ModelProto, Encodings]:
    generator = np.random.default_rng(1)
    weights = [generator.normal(size=(4, 3, 1, 1)), generator.normal(size=(2, 4, 1, 1))]
    model = conv_graph(weights, [np.ones(4), np.zeros(2)], after=["Relu"])
    ranges = {"x": (-1.0, 1.2), "z0": (0.0, 5.0), "y1": (-3.0, 4.0)}
    quantized, _ = qdq_from_ranges(model, ranges, Scheme(16, True), {})
    return model, encodings_from_qdq(quantized)


def from_encodings(model: onnx.ModelProto, encodings: Encodings) -> onnx.ModelProto:
    overrides = overrides_from_encodings(encodings)
    return qdq_from_ranges(model, {}, scheme_of(encodings), overrides)[0]


def test_encodings_give_the_same_graph_in_any_order() -> None:
    model, encodings = encodings_and_ranges()
    turned = Encodings(
        dict(reversed(encodings.activations.items())), dict(reversed(encodings.params.items()))
    )
    first, second = from_encodings(model, encodings), from_encodings(model, turned)
    assert encodings_from_qdq(first) == encodings == encodings_from_qdq(second)
    assert first.SerializeToString() == second.SerializeToString()


def test_weights_without_encodings_get_their_own_extremes() -> None:
    model, encodings = encodings_and_ranges()
    fewer = Encodings(encodings.activations, {"w1": encodings.params["w1"]})
    assert encodings_from_qdq(from_encodings(model, fewer)) == encodings


def test_strictly_symmetric_weights() -> None:
    """AIMET can write offset -127 with the range -127 to 127 steps: 0 is still stored as 0."""
    model, encodings = encodings_and_ranges()
    strict = {
        name: tuple(dataclasses.replace(e, offset=-127) for e in channels)
        for name, channels in encodings.params.items()
    }
    found = from_encodings(model, Encodings(encodings.activations, strict))
    assert encodings_from_qdq(found) == encodings


def test_asymmetric_and_symmetric_weights_of_one_scale() -> None:
    model = conv_graph([np.array([1.0, -1.0]).reshape(2, 1, 1, 1)], [[0, 0]])
    activations = {name: encoding_of(8, 0.02, -128) for name in ("x", "y0")}
    for symmetric, dtype, stored in ((True, np.int8, [100, -100]), (False, np.uint8, [228, 28])):
        weight = encoding_of(8, 0.01, -128, symmetric=symmetric)
        quantized = from_encodings(model, Encodings(activations, {"w0": (weight,)}))
        values = constants(quantized)["w0_quantized"]
        assert values.dtype == dtype
        assert values.reshape(-1).tolist() == stored


def test_activations_left_open_are_named() -> None:
    model, encodings = encodings_and_ranges()
    activations = {"x": encodings.activations["x"]}
    with pytest.raises(InputError, match=r"no encodings are given for 2 activations .*: y1, z0; "):
        from_encodings(model, Encodings(activations, encodings.params))


def test_scheme_refuses_other_bits() -> None:
    with pytest.raises(InputError, match="activations of 4 bits; 8 and 16 are possible"):
        Scheme(4)
    assert scheme_of(Encodings({}, {})) == Scheme()


def test_nothing_is_logged_or_left_in_logging(caplog, capfd) -> None:
    root = logging.getLogger()
    before = list(root.handlers), list(root.filters), logging.root.manager.disable
    with caplog.at_level(logging.INFO):
        qdq_from_ranges(conv_graph([ONE], [[0]]), {"x": (0, 1), "y0": (0, 1)}, Scheme(16), {})
        root.warning("somebody else's")
    assert [record.getMessage() for record in caplog.records] == ["somebody else's"]
    after = list(root.handlers), list(root.filters), logging.root.manager.disable
    assert after == before
    assert capfd.readouterr().out == ""
