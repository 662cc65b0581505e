"""Checkpoints as they come from training scripts, from us, and from accidents."""

import dataclasses
import os
import pickle
import warnings
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from persondet import zoo
from persondet.checkpoint import load_checkpoint, save_checkpoint
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.spec import AnchorLevel

F38 = "mb2-ssd-lite-f38"


def network(name=F38, seed=5, **options):
    spec = zoo.detector_spec(name, **options)
    built = build_network(spec)
    initialise(built, seed)
    return built.eval(), spec


@pytest.fixture(scope="module")
def f38():
    return network()


@pytest.fixture
def state(f38):
    """A fresh, shallow copy of f38's state_dict."""
    return OrderedDict(f38[0].state_dict())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def outputs(built, spec):
    x = torch.randn(1, 3, *spec.input_size_hw, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return torch.cat(built(x), dim=2)


def message_of(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **options)
    text = str(caught.value)
    assert str(path) in text
    return text


@pytest.mark.parametrize("name", zoo.network_names())
@pytest.mark.parametrize("num_classes", [2, 5])
def test_bare_state_dicts_are_recognised(path, name, num_classes):
    built, spec = network(name, num_classes=num_classes)
    torch.save(built.state_dict(), path)
    loaded = load_checkpoint(path)
    assert loaded.spec == spec
    assert loaded.path == path
    assert not loaded.network.training
    torch.testing.assert_close(outputs(loaded.network, spec), outputs(built, spec), rtol=0, atol=0)


@pytest.mark.parametrize("width", [0.1, 0.25, 0.35, 0.5, 0.75, 0.8, 1.25, 1.3, 1.4, 2.0])
def test_width_multipliers_are_recognised(path, width):
    built, spec = network(width_mult=width)
    torch.save(built.state_dict(), path)
    assert load_checkpoint(path).spec == spec


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 7, "loss": 0.5},
        lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda s: {"model_state_dict": s},
        lambda s: {"net": s},
        lambda s: {"ema": s},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"state_dict": {f"module.{key}": value for key, value in s.items()}},
        lambda s: {key: v for key, v in s.items() if "num_batches_tracked" not in key},
        lambda s: {key: nn.Parameter(v) if v.is_floating_point() else v for key, v in s.items()},
    ],
    ids=[
        "state_dict",
        "model",
        "model_state_dict",
        "net",
        "ema",
        "module",
        "both",
        "old",
        "params",
    ],
)
def test_wrapped_checkpoints(path, f38, state, wrap):
    torch.save(wrap(state), path)
    loaded = load_checkpoint(path)
    assert loaded.spec == f38[1]
    torch.testing.assert_close(outputs(loaded.network, f38[1]), outputs(*f38), rtol=0, atol=0)


def test_files_of_old_torch_releases(path, f38, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_checkpoint(path)
    torch.testing.assert_close(outputs(loaded.network, f38[1]), outputs(*f38), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(path, f38, state, dtype):
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, path)
    loaded = load_checkpoint(path)
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
    stem = "base_net.0.0.weight"
    expected = state[stem].to(dtype).float()
    torch.testing.assert_close(loaded.network.state_dict()[stem], expected, rtol=0, atol=0)


def test_channels_last_weights_load(path, f38, state):
    last = torch.channels_last
    torch.save({k: v.to(memory_format=last) if v.dim() == 4 else v for k, v in state.items()}, path)
    loaded = load_checkpoint(path)
    torch.testing.assert_close(outputs(loaded.network, f38[1]), outputs(*f38), rtol=0, atol=0)


def test_loaded_networks_can_be_trained_further(path, f38, state):
    torch.save(state, path)
    loaded = load_checkpoint(path).network.train()
    scores, boxes = loaded(torch.zeros(2, 3, 300, 300))
    (scores.sum() + boxes.sum()).backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    assert loaded.state_dict()["base_net.0.1.num_batches_tracked"] == 1


def test_landmark_heads_are_dropped_saying_so(path, f38, state):
    state["landmark_headers.0.3.weight"] = torch.zeros(20, 192, 1, 1)
    state["landmark_headers.0.3.bias"] = torch.zeros(20)
    torch.save(state, path)
    loaded = load_checkpoint(path)
    assert loaded.spec == f38[1]
    assert any("landmark heads (2 tensors) are ignored" in note for note in loaded.notes)


def test_own_checkpoints_carry_their_spec(path):
    built, spec = network(class_names=["head", "helmet"], anchor_ratios=[1.0])
    save_checkpoint(path, built, spec)
    loaded = load_checkpoint(path)
    assert loaded.spec == spec
    assert loaded.notes == ()
    other = load_checkpoint(path, class_names=["a", "b"], anchor_ratios=[1.7]).spec
    assert other.class_names == ("background", "a", "b")
    assert other.levels == zoo.detector_spec(F38).levels
    assert load_checkpoint(path, model=F38).spec == spec
    text = message_of(path, model="mb2-ssd-lite-f19")
    assert "is a checkpoint of mb2-ssd-lite-f38, not of mb2-ssd-lite-f19" in text


def test_equal_weights_give_equal_bytes(tmp_path, f38):
    for name in ("a.pth", "b.pth"):
        save_checkpoint(tmp_path / name, *f38)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_what_a_bare_file_leaves_open_is_noted(path, state):
    torch.save(state, path)
    (note,) = load_checkpoint(path).notes
    for assumed in (
        "anchor height / width 1.7 (--anchor-ratios gives another; code that takes the square root",
        "makes 1.3038 of a 1.7)",
        "input 300 x 300 (height x width)",
        "(pixel - 127) / 128",
        "ReLU in the backbone (--backbone-activation gives the other)",
        "NMS at IoU 0.35",
        "classes head. --spec FILE says otherwise",
    ):
        assert assumed in note
    loaded = load_checkpoint(
        path, anchor_ratios=[1.0], class_names=["head"], backbone_activation="relu"
    )
    assert loaded.spec.levels[0].shapes_wh_px[0] == (16, 16)
    (note,) = loaded.notes
    assert not {"--anchor-ratios", "1.3038", "backbone", "classes"} & set(note.split())
    assert "assumed: input 300 x 300" in note
    assert load_checkpoint(path, spec=loaded.spec).notes == ()


def test_the_network_is_built_from_the_spec_given(path, state, f38):
    """Another input size, not square: the weights are the same, the grids follow."""
    torch.save(state, path)
    _, own = f38
    levels = tuple(
        AnchorLevel((-(-256 // stride), -(-416 // stride)), (stride, stride), ((20.0, 30.0),) * 2)
        for stride in (8, 16, 32, 64)
    )
    given = dataclasses.replace(own, input_size_hw=(256, 416), levels=levels, nms_iou=0.2)
    loaded = load_checkpoint(path, spec=given)
    assert loaded.spec == given
    with torch.inference_mode():
        scores, boxes = loaded.network(torch.zeros(1, 3, 256, 416))
    assert (scores.shape, boxes.shape) == ((1, given.num_anchors, 2), (1, given.num_anchors, 4))
    with pytest.raises(InputError, match=r"expected the grids \[\(32, 52\), \(16, 26\), \(8, 13\)"):
        load_checkpoint(path, spec=dataclasses.replace(own, input_size_hw=(256, 416)))
    with pytest.raises(InputError, match="give either a spec or"):
        load_checkpoint(path, spec=given, model=F38)


def test_a_spec_that_is_not_what_the_file_was_trained_with_is_refused(path, f38):
    built, spec = f38
    save_checkpoint(path, built, spec)
    assert load_checkpoint(path, spec=dataclasses.replace(spec, top_k=7)).spec.top_k == 7
    text = message_of(path, spec=dataclasses.replace(spec, std_rgb=(1.0, 1.0, 1.0)))
    assert "does not fit the spec given" in text


def test_another_activation_in_the_backbone(path):
    """The ancestor's onnx_compatible=True: ReLU in f19's backbone, under the same keys."""
    spec = zoo.detector_spec("mb2-ssd-lite-f19", width_mult=0.25)
    built = build_network(spec)
    initialise(built)
    torch.save(built.state_dict(), path)
    relu6, relu = load_checkpoint(path), load_checkpoint(path, backbone_activation="relu")
    assert relu6.spec.backbone_activation is None
    assert relu.spec.backbone_activation == "relu"
    assert load_checkpoint(path, backbone_activation="relu6").spec == relu6.spec
    assert not any(isinstance(m, torch.nn.ReLU6) for m in relu.network.base_net.modules())
    assert any(isinstance(m, torch.nn.ReLU6) for m in relu.network.extras.modules())
    with torch.inference_mode():
        image = torch.full((1, 3, 300, 300), 9.0)
        assert not torch.equal(relu6.network(image)[0], relu.network(image)[0])
    save_checkpoint(path, relu.network, relu.spec)
    assert load_checkpoint(path).spec == relu.spec
    with pytest.raises(InputError, match="has ReLU throughout"):
        zoo.detector_spec("rfb-tiny-mb2-ssd-c32", backbone_activation="relu6")
    rfb = zoo.detector_spec("rfb-tiny-mb2-ssd-c32")
    with pytest.raises(InputError, match="has ReLU throughout"):
        build_network(dataclasses.replace(rfb, backbone_activation="relu6"))


def test_class_names_must_fit_the_heads(path, f38, state):
    torch.save(state, path)
    for own in (False, True):
        if own:
            save_checkpoint(path, *f38)
        text = message_of(path, class_names=["a", "b"])
        assert "has 2 classes with the background, so it takes 1 class names; got 2: a, b" in text


def test_every_difference_is_listed_at_once(path, state):
    del state["extras.0.conv.4.running_mean"], state["base_net.3.conv.0.weight"]
    state["base_net.18.0.weight"] = torch.zeros(640, 320, 1, 1)
    state["regression_headers.1.3.bias"] = torch.zeros(7)
    state["head_of_mine.weight"] = torch.zeros(1)
    torch.save(state, path)
    text = message_of(path)
    assert text.splitlines()[1:] == [
        "  missing: base_net.3.conv.0.weight (144, 24, 1, 1)",
        "  missing: extras.0.conv.4.running_mean (256,)",
        "  unexpected: head_of_mine.weight (1,)",
        "  wrong shape: base_net.18.0.weight is (640, 320, 1, 1), expected (1280, 320, 1, 1)",
        "  wrong shape: regression_headers.1.3.bias is (7,), expected (8,)",
    ]
    assert "does not fit mb2-ssd-lite-f38 (width 1, 2 classes): 5 keys differ" in text


def test_a_wrong_model_option_lists_the_differences(path, state):
    torch.save(state, path)
    text = message_of(path, model="mb2-ssd-lite-f19")
    assert "does not fit mb2-ssd-lite-f19" in text
    assert "missing: extras.3.conv.6.weight" in text
    with pytest.raises(InputError, match="unknown network 'resnet'; known: mb2-ssd-lite-f38"):
        load_checkpoint(path, model="resnet")


def test_numbers_that_are_not_finite(path, state):
    for key, value in (("base_net.5.conv.3.weight", "nan"), ("extras.0.conv.1.bias", "inf")):
        state[key] = state[key].clone()
        state[key].view(-1)[-1] = float(value)
    torch.save(state, path)
    text = message_of(path)
    assert "not finite" in text
    assert text.splitlines()[1:] == ["  base_net.5.conv.3.weight", "  extras.0.conv.1.bias"]


def test_a_state_dict_of_another_network(path):
    torch.save(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)).state_dict(), path)
    text = message_of(path)
    assert "of none of the known networks" in text
    assert "its keys begin with 0.weight, 0.bias, 1.weight" in text
    assert "missing: base_net.0.0.weight" in message_of(path, model=F38)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([1, 2, 3], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"epoch": 3, "lr": 0.1}, "epoch: int"),
        ({"base_net.0.0.weight": torch.zeros(32, dtype=torch.int8)}, "torch.int8 tensor"),
        ({3: torch.zeros(3)}, "3: torch.float32 tensor"),
        ({"base_net.0.0.weight": torch.zeros(())}, "of none of the known networks"),
        ({"base_net.0.0.weight": torch.zeros(48, 3, 3, 3)}, "of none of the known networks"),
        ({"state_dict": {"a": torch.zeros(1)}, "spec": "{"}, "invalid detector spec"),
    ],
)
def test_contents_that_are_no_state_dict_of_ours(path, content, expected):
    torch.save(content, path)
    text = message_of(path)
    assert expected in text
    assert "expected" in text or "spec" in text


def test_hostile_shapes_are_errors_of_the_user(path, state):
    """Recognition looks at shapes before they are compared."""
    for key in ("base_net.0.0.weight", "base_net.7.conv.6.weight", "base_net.17.conv.6.weight"):
        state[key] = torch.zeros(0, 3, 3, 3)
    state["classification_headers.0.3.weight"] = torch.zeros(())
    state["regression_headers.0.3.weight"] = torch.zeros(0)
    torch.save(state, path)
    assert "wrong shape: base_net.0.0.weight is (0, 3, 3, 3)" in message_of(path)


def test_a_pickled_model_is_refused_and_not_run(path):
    torch.save(nn.Linear(2, 3), path)
    text = message_of(path)
    assert "holds Python objects other than tensors (torch.nn.modules.linear.Linear)" in text
    assert "torch.save(model.state_dict(), FILE)" in text
    torch.save({"state_dict": {}, "args": SimpleNamespace(lr=1)}, path)
    assert "types.SimpleNamespace" in message_of(path)


class _Trap:
    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_does_not_run(tmp_path, path, zipped):
    trap = _Trap()
    trap.marker = tmp_path / "ran"
    torch.save({"weights": trap}, path, _use_new_zipfile_serialization=zipped)
    message_of(path)
    path.write_bytes(pickle.dumps(trap))
    message_of(path)
    assert not trap.marker.exists()


def test_files_that_are_something_else(tmp_path, path, f38):
    path.write_bytes(b"")
    assert "is empty" in message_of(path)
    path.write_bytes(b"\x08\x07\x12\x07pytorch:\x9a\x01\n" * 20)  # how an ONNX file begins
    assert "another kind of file" in message_of(path)
    path.write_text("not a checkpoint\n")
    assert "another kind of file" in message_of(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert "another kind of file" in message_of(path)
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    assert "another kind of file" in message_of(tmp_path / "weights.npz")
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    assert "is a TorchScript archive" in message_of(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.0001, 0.1, 0.5, 0.99, 0.9999])
def test_truncated_files(path, state, zipped, kept):
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert "expected a PyTorch state_dict" in message_of(path)


def test_paths_that_cannot_be_read(tmp_path):
    assert "does not exist" in message_of(tmp_path / "none.pth")
    assert "is a folder" in message_of(tmp_path)
    assert "cannot read" in message_of(tmp_path / ("x" * 300))


def test_no_permission(path, monkeypatch):
    def refused(self, mode="r"):
        raise PermissionError(13, "Permission denied", str(self))

    path.write_bytes(b"x")
    monkeypatch.setattr(type(path), "open", refused)  # root may read whatever its mode
    assert "cannot read" in message_of(path)
    assert "Permission denied" in message_of(path)


def test_an_interrupted_save_leaves_the_old_file(path, f38, monkeypatch):
    path.write_bytes(b"earlier")

    def interrupted(self, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(path), "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, *f38)
    monkeypatch.undo()
    assert path.read_bytes() == b"earlier"
    assert [entry.name for entry in path.parent.iterdir()] == ["model.pth"]
