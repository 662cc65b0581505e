"""persondet.memory and the size of an ONNX graph: a few bytes do not take gigabytes."""

import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.onnx_model import load_onnx
from export.onnx_size import oversized
from persondet.errors import InputError
from persondet.memory import at_most_more
from persondet.spec import spec_to_json
from runtime.onnx_backend import OnnxBackend

ROOT = Path(__file__).parents[1]
GIB = 1 << 30
FOUR_GIB = np.array([1 << 20, 1 << 10], np.int64)  # of float32


@pytest.fixture(autouse=True)
def unlimited():
    before = resource.getrlimit(resource.RLIMIT_AS)
    yield
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_what_is_too_much_fails_and_nothing_else() -> None:
    with at_most_more(GIB // 4):
        np.empty(GIB // 8, np.uint8)
        with pytest.raises(MemoryError):
            np.empty(GIB, np.uint8)
    np.empty(GIB, np.uint8)


def test_blocks_that_overlap_restore_what_was(monkeypatch) -> None:
    before, leave = resource.getrlimit(resource.RLIMIT_AS), threading.Event()
    entered = threading.Event()

    def other() -> None:
        with at_most_more(GIB):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with at_most_more(GIB):
        thread.start()
        assert entered.wait(30)
    assert resource.getrlimit(resource.RLIMIT_AS) != before
    leave.set()
    thread.join()


def _save(path: Path, spec, *nodes: onnx.NodeProto, extra: tuple = ()) -> Path:
    """A detector's inputs and outputs, to whose scores the tensor `more` is added."""
    shapes = spec.output_shapes
    image = helper.make_tensor_value_info(
        spec.input_name, TensorProto.FLOAT, list(spec.input_shape)
    )
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(shapes[n])) for n in shapes]
    zeros = [numpy_helper.from_array(np.zeros(shapes[n], np.float32), f"{n}_zero") for n in shapes]
    stored = [
        numpy_helper.from_array(FOUR_GIB, "shape"),
        numpy_helper.from_array(np.ones((1, 1), np.float32), "one"),
        *extra,
        *zeros,
    ]
    ends = [
        helper.make_node("ReduceMax", [spec.input_name], ["most"], keepdims=0),
        helper.make_node("Add", ["scores_zero", "more"], ["scores_more"]),
        helper.make_node("Add", ["scores_more", "most"], [spec.scores_name]),
        helper.make_node("Identity", ["boxes_zero"], [spec.boxes_name]),
    ]
    graph = helper.make_graph([*nodes, *ends], "g", [image], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"persondet_spec": spec_to_json(spec)})
    onnx.save(model, path)
    return path


def _largest(name: str) -> onnx.NodeProto:
    return helper.make_node("ReduceMax", [name], ["more"], keepdims=0)


SIZE_IS_KNOWN = {
    "ConstantOfShape": [helper.make_node("ConstantOfShape", ["shape"], ["big"])],
    "Expand": [helper.make_node("Expand", ["one", "shape"], ["big"])],
    "Tile": [helper.make_node("Tile", ["one", "shape"], ["big"])],
}
# The shape follows from the image's content: here it is the same whatever that is.
FROM_THE_IMAGE = [
    helper.make_node("ReduceMax", ["image"], ["pixel"], keepdims=0),
    helper.make_node("Sub", ["pixel", "pixel"], ["nothing"]),
    helper.make_node("Cast", ["nothing"], ["zero"], to=TensorProto.INT64),
    helper.make_node("Add", ["shape", "zero"], ["shape_then"]),
    helper.make_node("ConstantOfShape", ["shape_then"], ["big"]),
]


@pytest.mark.parametrize("kind", SIZE_IS_KNOWN)
def test_tensors_of_gigabytes_are_found_before_running(kind, tmp_path, tiny_checkpoint) -> None:
    path = _save(tmp_path / "a.onnx", tiny_checkpoint.spec, *SIZE_IS_KNOWN[kind], _largest("big"))
    message = rf"a\.onnx is no detector .*: {kind} .* makes a tensor 'big' of 4,294,967,296 bytes"
    with pytest.raises(InputError, match=message):
        load_onnx(path)


@pytest.mark.parametrize("nodes", [*SIZE_IS_KNOWN.values(), FROM_THE_IMAGE])
def test_a_session_takes_no_gigabytes(nodes, tmp_path, tiny_checkpoint) -> None:
    """Nor where the file is only run, as on a board: it fails in loading, or in running."""
    spec = tiny_checkpoint.spec
    path = _save(tmp_path / "a.onnx", spec, *nodes, _largest("big"))
    before = _peak_mib()
    with pytest.raises(InputError, match=r"a\.onnx.*; export the checkpoint"):
        OnnxBackend(path).infer(np.zeros(spec.input_shape, np.float32))
    assert _peak_mib() - before < 1000


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def test_one_that_loads_but_cannot_run(tmp_path, tiny_checkpoint) -> None:
    spec = tiny_checkpoint.spec
    far = numpy_helper.from_array(np.array([2, 3, 5], np.int64), "far")
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["pixel"], keepdims=0),
        helper.make_node("Sub", ["pixel", "pixel"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["zero"], to=TensorProto.INT64),
        helper.make_node("Add", ["far", "zero"], ["far_then"]),
        helper.make_node("Reshape", ["one", "far_then"], ["reshaped"]),
        _largest("reshaped"),
    ]
    backend = OnnxBackend(_save(tmp_path / "a.onnx", spec, *nodes, extra=(far,)))
    with pytest.raises(InputError, match=r"a\.onnx loads, but does not run: .*Reshape.*; export"):
        backend.infer(np.zeros(spec.input_shape, np.float32))


def test_many_constants_of_no_great_size(tmp_path, tiny_checkpoint) -> None:
    shape = numpy_helper.from_array(np.array([100 << 20], np.int64), "a_shape")
    nodes = [helper.make_node("ConstantOfShape", ["a_shape"], [f"big{n}"]) for n in range(12)]
    nodes.append(helper.make_node("Sum", [f"big{n}" for n in range(12)], ["big"]))
    path = _save(tmp_path / "a.onnx", tiny_checkpoint.spec, *nodes, _largest("big"), extra=(shape,))
    assert "5,452,599,404 bytes of constants" in (oversized(onnx.load(path)) or "")


def test_in_a_branch_and_at_the_input(tmp_path, tiny_checkpoint) -> None:
    def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("more_inside", TensorProto.FLOAT, [])
        shape = numpy_helper.from_array(FOUR_GIB, "shape_inside")
        return helper.make_graph(list(nodes), "branch", [], [out], [shape])

    big = branch(
        helper.make_node("ConstantOfShape", ["shape_inside"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["more_inside"], keepdims=0),
    )
    small = branch(helper.make_node("ReduceMax", ["one"], ["more_inside"], keepdims=0))
    choice = numpy_helper.from_array(np.array(False), "choice")
    node = helper.make_node("If", ["choice"], ["more"], then_branch=big, else_branch=small)
    path = _save(tmp_path / "a.onnx", tiny_checkpoint.spec, node, extra=(choice,))
    model = onnx.load(path)
    assert "'big' of 4,294,967,296 bytes" in (oversized(model) or "")
    plain = onnx.load(_save(tmp_path / "b.onnx", tiny_checkpoint.spec, _largest("one")))
    assert oversized(plain) is None
    for dimension in plain.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = 1 << 15
    assert "input 'image' has 12,884,901,888 bytes" in (oversized(plain) or "")


def test_info_of_one_under_a_limit(tmp_path, tiny_checkpoint) -> None:
    nodes = SIZE_IS_KNOWN["ConstantOfShape"]
    path = _save(tmp_path / "a.onnx", tiny_checkpoint.spec, *nodes, _largest("big"))
    argv = [sys.executable, "-m", "persondet.cli", "info", str(path)]
    finished = subprocess.run(
        argv,
        preexec_fn=_four_gigabytes,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert finished.returncode == 2 and "makes a tensor 'big'" in finished.stderr, finished.stderr


def _four_gigabytes() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
