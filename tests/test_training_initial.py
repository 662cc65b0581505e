"""Starting weights: ImageNet's, put into our layout so that the backbone computes the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.networks.mobilenet_v2 import NETWORKS
from persondet.networks.ssd import SSD
from persondet.training.folded_npz import read_folded
from persondet.training.initial import (
    _conv_norm_names,
    _folded_shapes,
    favour_background,
    is_imagenet_backbone,
    start_from_checkpoint,
    start_from_imagenet,
)
from persondet.zoo import F38, RFB_C32, detector_spec

FOLDED = "mobilenet_v2_1.0_224_imagenet_bnfolded_int8.npz"


def fake_npz(folder: Path) -> Path:
    """Random weights under the published names and shapes."""
    rng = np.random.default_rng(0)
    network = build_network(detector_spec(F38))
    modules = dict(network.named_modules())
    arrays = {}
    for our_conv, _, their_conv, _ in _conv_norm_names(network):
        shape = modules[our_conv].weight.shape
        fan_in = int(np.prod(shape[1:]))
        arrays[f"{their_conv}.weight_int8"] = rng.integers(-127, 128, shape).astype(np.int8)
        arrays[f"{their_conv}.scale"] = np.full(shape[0], 0.02 / np.sqrt(fan_in), np.float32)
        arrays[f"{their_conv}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    path = folder / "imagenet.npz"
    np.savez(path, **arrays)
    return path


def folded_stem_and_block(folded, images: torch.Tensor) -> torch.Tensor:
    """base_net.0 and base_net.1 as the folded file has them, by hand."""

    def conv(name, x, **options):
        weight, bias = folded[name]
        return F.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias), **options)

    x = F.relu(conv("features.0.0", images, stride=2, padding=1))
    x = F.relu(conv("features.1.conv.0.0", x, padding=1, groups=32))
    return conv("features.1.conv.1", x)


@pytest.mark.parametrize("real", [False, True])
def test_the_backbone_computes_what_the_folded_file_says(
    real: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue("shared_weights") / FOLDED if real else fake_npz(tmp_path)
    network = build_network(detector_spec(F38))
    images = torch.randn(2, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    notes = start_from_imagenet(network, path, images)
    assert "batch norm restored on 2 pictures" in notes[0]
    network.eval()
    with torch.no_grad():
        found = network.base_net[1](network.base_net[0](images))
        expected = folded_stem_and_block(read_folded(path, _folded_shapes(network)), images)
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-5, rtol=0)


def test_another_width_and_a_file_without_the_layers_are_refused(tmp_path: Path) -> None:
    path = fake_npz(tmp_path)
    images = torch.zeros(1, 3, 300, 300)
    with pytest.raises(InputError, match=r"only width 1\.0 can start from it"):
        start_from_imagenet(build_network(detector_spec(F38, width_mult=0.5)), path, images)
    empty = tmp_path / "empty.npz"
    np.savez(empty, a=np.zeros(3))
    with pytest.raises(InputError, match=r"the weights to start from lack features\.0\.0"):
        start_from_imagenet(build_network(detector_spec(F38)), empty, images)


@pytest.mark.parametrize("name", NETWORKS)
def test_other_classes_start_anew_and_the_rest_is_kept(name: str) -> None:
    source = build_network(detector_spec(name, num_classes=2))
    initialise(source, seed=3)
    target = build_network(detector_spec(name, num_classes=4))
    notes = start_from_checkpoint(target, source.state_dict())
    assert len(notes) == 1 and "classification_headers.0" in notes[0]
    assert "regression_headers" not in notes[0] and "base_net" not in notes[0]
    assert torch.equal(target.base_net[18][0].weight, source.base_net[18][0].weight)
    same = build_network(detector_spec(name, num_classes=2))
    assert start_from_checkpoint(same, source.state_dict()) == []


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(InputError, match="no backbone of this network"):
        start_from_checkpoint(build_network(detector_spec(F38)), {"fc.weight": torch.zeros(3)})


@pytest.mark.parametrize(("name", "classes"), [(F38, 2), (F38, 4), (RFB_C32, 3)])
def test_at_the_start_an_anchor_is_foreground_one_time_in_a_hundred(
    name: str, classes: int
) -> None:
    spec = detector_spec(name, num_classes=classes)
    network = build_network(spec)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    favour_background(network)
    with torch.no_grad():
        scores, _ = network.eval()(torch.zeros(1, 3, *spec.input_size_hw))
    foreground = 1 - scores.softmax(-1)[..., 0]
    torch.testing.assert_close(foreground, torch.full_like(foreground, 0.01), atol=1e-6, rtol=0)


V = torch.zeros(3)


def saved_backbone(path: Path, names, name: str = F38, **options) -> SSD:
    """Save a network's backbone, its names changed by `names`; returns the network."""
    source = build_network(detector_spec(name, **options))
    initialise(source, seed=7)
    backbone = source.base_net.state_dict()
    torch.save(names(backbone), path)
    return source


@pytest.mark.parametrize(
    "names",
    [
        lambda state: state,  # as the public ancestor's mb2-imagenet-71_70.pth
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"features.{key}": value for key, value in state.items()},
        lambda state: {f"model.base_net.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"features.{k}": v for k, v in state.items()} | {"classifier.1.bias": V},
    ],
    ids=["bare", "module", "features", "base_net", "wrapped", "with a classifier"],
)
@pytest.mark.parametrize("network_name", [F38, RFB_C32])
def test_a_backbone_alone_starts_a_run(tmp_path: Path, names, network_name: str) -> None:
    path = tmp_path / "mb2-imagenet-71_70.pth"
    source = saved_backbone(path, names, network_name)
    assert is_imagenet_backbone(path)
    network = build_network(detector_spec(network_name))
    notes = start_from_imagenet(network, path, torch.zeros(0))
    assert notes[0] == "backbone from mb2-imagenet-71_70.pth" and "base_net" not in notes[1]
    for name, value in source.base_net.state_dict().items():
        assert torch.equal(network.base_net.state_dict()[name], value), name


def test_a_backbone_of_another_network_or_width_is_refused(tmp_path: Path) -> None:
    for name, options in ((RFB_C32, {}), (F38, {"width_mult": 0.5})):
        saved_backbone(tmp_path / "other.pth", lambda state: state, name, **options)
        network = build_network(detector_spec(F38))
        with pytest.raises(
            InputError, match=r"other\.pth holds another backbone than .* of 260 ten"
        ):
            start_from_imagenet(network, tmp_path / "other.pth", torch.zeros(0))


def test_a_detector_is_no_backbone(tmp_path: Path) -> None:
    torch.save(build_network(detector_spec(F38)).state_dict(), tmp_path / "f38.pth")
    assert not is_imagenet_backbone(tmp_path / "f38.pth")


def test_damaged_npz_files_are_refused(tmp_path: Path) -> None:
    network = build_network(detector_spec(F38))
    path, images = tmp_path / "weights.npz", torch.zeros(1, 3, 300, 300)
    whole = fake_npz(tmp_path).read_bytes()
    flipped = whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]
    for data in (b"", b"text\n", whole[:500], whole[: len(whole) // 2], flipped):
        path.write_bytes(data)
        with pytest.raises(
            InputError, match=r"cannot read the weights .*weights\.npz: expected arrays"
        ):
            start_from_imagenet(network, path, images)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").replace(path)
    with pytest.raises(InputError, match="found a damaged or another file"):
        start_from_imagenet(network, path, images)


def test_an_npz_with_objects_or_numbers_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    network, images = build_network(detector_spec(F38)), torch.zeros(1, 3, 300, 300)
    arrays = dict(np.load(fake_npz(tmp_path)))
    key, path = "features.0.0.scale", tmp_path / "changed.npz"
    for value, message in (
        (np.full(32, np.nan, np.float32), r"features\.0\.0 holds numbers that are not finite"),
        (np.full(32, None), "Object arrays cannot be loaded"),
        (np.full(32, "x"), "holds <U1, expected numbers"),
        (np.full(31, 1.0), r"has shape \(31,\), the network's layer \(32,\)"),
    ):
        np.savez(path, **(arrays | {key: value}))
        with pytest.raises(InputError, match=rf"changed\.npz: .*{message}"):
            start_from_imagenet(network, path, images)


def test_an_npz_for_another_kind_of_backbone_is_refused(tmp_path: Path) -> None:
    network = build_network(detector_spec(RFB_C32))
    with pytest.raises(InputError, match="is for a MobileNetV2, and this network has another"):
        start_from_imagenet(network, fake_npz(tmp_path), torch.zeros(1, 3, 240, 320))
