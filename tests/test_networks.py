"""The networks against an independent reference that reads published key names, and the figures."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from persondet import zoo
from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.networks.layers import TfSameConv2d
from persondet.spec import DetectorSpec

RELU, RELU6 = F.relu, F.relu6
# What the published description says, typed a second time on purpose:
# backbone, extras, classification heads, regression heads; has the 38x38 map; plain last head
MOBILENETS = {
    "mb2-ssd-lite-f38": ((RELU, RELU6, RELU, RELU), True, False),
    "mb2-ssd-lite-f38-person": ((RELU, RELU6, RELU6, RELU), True, True),
    "mb2-ssd-lite-f19": ((RELU6, RELU6, RELU6, RELU6), False, True),
}
STRIDE_2_BLOCKS = (2, 4, 7, 14)
BLOCKS_WITH_ADDITION = (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)


def random_network(spec: DetectorSpec, seed: int = 1) -> nn.Module:
    """Random weights and batch-norm statistics, so that no norm is the identity."""
    network = build_network(spec)
    initialise(network, seed)
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.2, generator=generator)
        elif key.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.dim() == 1 and value.dtype == torch.float32:
            value.uniform_(-0.3, 1.5, generator=generator)
    return network.eval()


def images(spec: DetectorSpec, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, *spec.input_size_hw, generator=torch.Generator().manual_seed(7))


def conv(state, key, x, **options):
    return F.conv2d(x, state[f"{key}.weight"], state.get(f"{key}.bias"), **options)


def norm(state, key, x):
    names = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(state[f"{key}.{name}"] for name in names), eps=1e-5)


def depthwise(state, key, x, stride=1):
    return conv(state, key, x, stride=stride, padding=1, groups=x.shape[1])


def expanded(state, key, x, act):
    return act(norm(state, f"{key}.conv.1", conv(state, f"{key}.conv.0", x)))


def reduced(state, key, x, act, stride):
    x = act(norm(state, f"{key}.conv.4", depthwise(state, f"{key}.conv.3", x, stride)))
    return norm(state, f"{key}.conv.7", conv(state, f"{key}.conv.6", x))


def head(state, key, x, act):
    x = act(norm(state, f"{key}.1", depthwise(state, f"{key}.0", x)))
    return conv(state, f"{key}.3", x)


def rows(outputs, numbers_an_anchor):
    flat = [out.permute(0, 2, 3, 1).reshape(len(out), -1, numbers_an_anchor) for out in outputs]
    return torch.cat(flat, dim=1)


def mobilenet_reference(state, x, acts, has_38, plain_last, num_classes):
    act, extra_act, class_act, box_act = acts
    maps = []
    x = act(norm(state, "base_net.0.1", conv(state, "base_net.0.0", x, stride=2, padding=1)))
    x = act(norm(state, "base_net.1.conv.1", depthwise(state, "base_net.1.conv.0", x)))
    x = norm(state, "base_net.1.conv.4", conv(state, "base_net.1.conv.3", x))
    for index in range(2, 18):
        key = f"base_net.{index}"
        wide = expanded(state, key, x, act)
        if index == 14 or (index == 7 and has_38):
            maps.append(wide)
        narrow = reduced(state, key, wide, act, 2 if index in STRIDE_2_BLOCKS else 1)
        x = x + narrow if index in BLOCKS_WITH_ADDITION else narrow
    x = act(norm(state, "base_net.18.1", conv(state, "base_net.18.0", x)))
    maps.append(x)
    while f"extras.{len(maps) - 2 - has_38}.conv.0.weight" in state:
        key = f"extras.{len(maps) - 2 - has_38}"
        x = reduced(state, key, expanded(state, key, x, extra_act), extra_act, 2)
        maps.append(x)
    scores, boxes = [], []
    for level, features in enumerate(maps):
        class_key, box_key = f"classification_headers.{level}", f"regression_headers.{level}"
        if plain_last and level == len(maps) - 1:
            scores.append(conv(state, class_key, features))
            boxes.append(conv(state, box_key, features))
        else:
            scores.append(head(state, class_key, features, class_act))
            boxes.append(head(state, box_key, features, box_act))
    return rows(scores, num_classes), rows(boxes, 4)


def rfb_reference(state, x, num_classes):
    def block(key, x, stride):
        x = F.relu(norm(state, f"{key}.1", depthwise(state, f"{key}.0", x, stride)))
        return F.relu(norm(state, f"{key}.4", conv(state, f"{key}.3", x)))

    def basic(key, x, **options):
        return norm(
            state, f"base_net.7.{key}.bn", conv(state, f"base_net.7.{key}.conv", x, **options)
        )

    def rfb(x):
        a = basic("branch0.0", x)
        a = F.relu(basic("branch0.1", a, padding=1))
        a = basic("branch0.2", a, padding=2, dilation=2)
        b = basic("branch1.0", x)
        b = F.relu(basic("branch1.1", b, padding=1))
        b = basic("branch1.2", b, padding=3, dilation=3)
        c = basic("branch2.0", x)
        c = F.relu(basic("branch2.1", c, padding=1))
        c = F.relu(basic("branch2.2", c, padding=1))
        c = basic("branch2.3", c, padding=5, dilation=5)
        return F.relu(basic("ConvLinear", torch.cat([a, b, c], 1)) + basic("shortcut", x))

    maps = []
    x = F.relu(norm(state, "base_net.0.1", conv(state, "base_net.0.0", x, stride=2, padding=1)))
    for index in range(1, 13):
        stride = 2 if index in (2, 4, 8, 11) else 1
        x = rfb(x) if index == 7 else block(f"base_net.{index}", x, stride)
        if index in (7, 10, 12):
            maps.append(x)
    x = F.relu(conv(state, "extras.0.0", x))
    x = F.relu(norm(state, "extras.0.2.1", depthwise(state, "extras.0.2.0", x, 2)))
    maps.append(F.relu(conv(state, "extras.0.2.3", x)))
    kinds = ("classification_headers", "regression_headers")
    outputs = {}
    for kind in kinds:
        outputs[kind] = [head(state, f"{kind}.{i}", maps[i], F.relu) for i in range(3)]
        outputs[kind].append(conv(state, f"{kind}.3", maps[3], padding=1))
    return rows(outputs[kinds[0]], num_classes), rows(outputs[kinds[1]], 4)


@torch.no_grad()
@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenets_equal_the_reference(name, num_classes):
    spec = zoo.detector_spec(name, num_classes=num_classes)
    network, x = random_network(spec), images(spec)
    scores, boxes = network(x)
    expected = mobilenet_reference(network.state_dict(), x, *MOBILENETS[name], num_classes)
    assert scores.shape == (1, spec.num_anchors, num_classes)
    torch.testing.assert_close(scores, expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(boxes, expected[1], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["rfb-tiny-mb2-ssd-c64", "rfb-tiny-mb2-ssd-c32"])
def test_rfb_tiny_equals_the_reference(name):
    spec = zoo.detector_spec(name, num_classes=3)
    network, x = random_network(spec), images(spec)
    expected = rfb_reference(network.state_dict(), x, 3)
    for found, wanted in zip(network(x), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("part", range(4), ids=["backbone", "extras", "classes", "boxes"])
@pytest.mark.parametrize("name", MOBILENETS)
def test_one_wrong_activation_would_be_noticed(name, part):
    """Otherwise the comparisons above would prove nothing about the activation table."""
    spec = zoo.detector_spec(name)
    network, x = random_network(spec), images(spec)
    acts, *rest = MOBILENETS[name]
    wrong = list(acts)
    wrong[part] = RELU if acts[part] is RELU6 else RELU6
    found = torch.cat(network(x), dim=2)
    other = torch.cat(mobilenet_reference(network.state_dict(), x, wrong, *rest, 2), dim=2)
    assert (found - other).abs().max() > 1e-3


def conv_macs(network: nn.Module, x: torch.Tensor) -> int:
    total = 0

    def count(module, inputs, output):
        nonlocal total
        kernel = module.weight[0].numel()  # input channels a group * kernel height * width
        total += output[0].numel() * kernel

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return total


def test_the_figures_of_f38():
    spec = zoo.detector_spec("mb2-ssd-lite-f38", num_classes=2)
    network = build_network(spec).eval()
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert sum(c.weight.numel() + c.out_channels for c in convs) == 2_750_864
    assert sum(p.numel() for p in network.parameters()) == 2_779_184
    assert conv_macs(network, images(spec)) == 618_007_664


@pytest.mark.parametrize(
    ("name", "anchors"),
    [("mb2-ssd-lite-f38", 3860), ("rfb-tiny-mb2-ssd-c32", 13260), ("ssdlite-mb2-person", 1917)],
)
@torch.no_grad()
def test_output_shapes_of_a_batch(name, anchors):
    spec = zoo.detector_spec(name, num_classes=3)
    scores, boxes = build_network(spec).eval()(images(spec, 2))
    assert scores.shape == (2, anchors, 3)
    assert boxes.shape == (2, anchors, 4)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "mb2-ssd-lite-f38",
            {
                "base_net.0.0.weight": (32, 3, 3, 3),
                "base_net.0.1.running_mean": (32,),
                "base_net.1.conv.0.weight": (32, 1, 3, 3),
                "base_net.14.conv.0.weight": (576, 96, 1, 1),
                "base_net.18.0.weight": (1280, 320, 1, 1),
                "extras.0.conv.3.weight": (256, 1, 3, 3),
                "classification_headers.0.0.weight": (192, 1, 3, 3),
                "classification_headers.2.3.bias": (4,),
                "regression_headers.0.0.weight": (192, 1, 3, 3),
                "regression_headers.0.0.bias": (192,),
                "regression_headers.3.3.weight": (8, 512, 1, 1),
            },
        ),
        (
            "mb2-ssd-lite-f38-person",
            {
                "extras.3.conv.6.weight": (64, 64, 1, 1),
                "classification_headers.0.3.weight": (12, 192, 1, 1),
                "classification_headers.6.weight": (12, 64, 1, 1),
                "regression_headers.6.bias": (24,),
            },
        ),
        ("mb2-ssd-lite-f19", {"regression_headers.5.weight": (24, 64, 1, 1)}),
        (
            "rfb-tiny-mb2-ssd-c64",
            {
                "base_net.0.0.weight": (64, 3, 3, 3),
                "base_net.7.branch0.0.conv.weight": (32, 256, 1, 1),
                "base_net.7.branch2.1.conv.weight": (48, 32, 3, 3),
                "base_net.7.ConvLinear.conv.weight": (256, 192, 1, 1),
                "base_net.7.shortcut.bn.running_var": (256,),
                "extras.0.2.3.weight": (1024, 256, 1, 1),
                "classification_headers.3.weight": (18, 1024, 3, 3),
            },
        ),
    ],
)
def test_published_key_names_and_shapes(name, shapes):
    state = build_network(zoo.detector_spec(name)).state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


@pytest.mark.parametrize(
    ("width", "stem", "tap", "last"), [(0.5, 16, 288, 1280), (1.4, 44, 804, 1792)]
)
def test_width_multiplier(width, stem, tap, last):
    """int(c * w) everywhere; the expanded maps follow; the last layer never narrows."""
    network = build_network(zoo.detector_spec("mb2-ssd-lite-f38", width_mult=width))
    state = network.state_dict()
    assert state["base_net.0.0.weight"].shape[0] == stem
    assert state["classification_headers.1.0.weight"].shape[0] == tap == int(96 * width) * 6
    assert state["base_net.18.0.weight"].shape[0] == last
    assert state["extras.0.conv.0.weight"].shape[0] == round(last * 0.2)


class _Positions(nn.Module):
    """A head whose outputs say where they come from: row, column, shape in the cell."""

    def __init__(self, shapes: int, numbers: int):
        super().__init__()
        self.shapes, self.numbers = shapes, numbers

    def forward(self, x):
        rows, columns = x.shape[2:]
        out = torch.zeros(1, self.shapes, self.numbers, rows, columns)
        out[:, :, 0] = torch.arange(rows).reshape(1, 1, -1, 1)
        out[:, :, 1] = torch.arange(columns)
        if self.numbers > 2:
            out[:, :, 2] = torch.arange(self.shapes).reshape(1, -1, 1, 1)
        return out.reshape(1, -1, rows, columns)


@torch.no_grad()
def test_rows_of_the_output_are_the_anchors_in_order():
    spec = zoo.detector_spec("rfb-tiny-mb2-ssd-c32")  # rows and columns differ
    network = build_network(spec).eval()
    counts = [len(level.shapes_wh_px) for level in spec.levels]
    network.classification_headers = nn.ModuleList(_Positions(n, 2) for n in counts)
    network.regression_headers = nn.ModuleList(_Positions(n, 4) for n in counts)
    scores, boxes = (output[0].numpy() for output in network(images(spec)))
    anchors = anchors_cxcywh_norm(spec)
    start = 0
    for level in spec.levels:
        part = slice(start, start := start + level.num_anchors)
        rows, columns = level.grid_hw
        assert (scores[part, 0] == (anchors[part, 1] * rows).astype(int)).all()
        assert (boxes[part, 1] == (anchors[part, 0] * columns).astype(int)).all()
        shapes = boxes[part, 2].astype(int)
        for index, (width, height) in enumerate(level.shapes_wh_px):
            assert anchors[part][shapes == index, 2] == pytest.approx(min(width / 320, 1))
            assert anchors[part][shapes == index, 3] == pytest.approx(min(height / 240, 1))


def test_tf_same_padding_by_axis():
    """Even (0, 1), odd (1, 1); F.pad takes left, right, top, bottom."""
    module = TfSameConv2d(4, 4, size_hw=(38, 19), stride=2)
    assert module.pad_lrtb == [1, 1, 0, 1]
    assert module(torch.zeros(1, 4, 38, 19)).shape[2:] == (19, 10)


def test_a_spec_of_another_grid_is_refused():
    spec = zoo.detector_spec("mb2-ssd-lite-f38")
    with pytest.raises(InputError, match=r"expected the grids \[\(40, 38\), \(20, 19\)"):
        build_network(dataclasses.replace(spec, input_size_hw=(320, 300)))
    with pytest.raises(InputError, match="anchor levels of the spec do not fit"):
        build_network(dataclasses.replace(spec, levels=spec.levels[:3]))
    with pytest.raises(InputError, match="unknown network 'resnet'; known: mb2"):
        build_network(dataclasses.replace(spec, network="resnet"))
    with pytest.raises(InputError, match=r"width multiplier 0\.05 leaves layers without channels"):
        build_network(dataclasses.replace(spec, width_mult=0.05))


@torch.no_grad()
@pytest.mark.parametrize("name", zoo.network_names())
def test_initial_weights_are_seeded_and_keep_outputs_in_range(name):
    spec = zoo.detector_spec(name)
    network = build_network(spec).eval()
    before = torch.random.get_rng_state()
    initialise(network, 3)
    first = {key: value.clone() for key, value in network.state_dict().items()}
    initialise(network, 4)
    assert not torch.equal(first["base_net.0.0.weight"], network.base_net[0][0].weight)
    initialise(network, 3)
    assert all(torch.equal(first[key], value) for key, value in network.state_dict().items())
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(0.05 < output.std() < 20 for output in network(images(spec)))


@pytest.mark.filterwarnings("ignore")
def test_tf_same_padding_becomes_the_convolutions_own_in_onnx(tmp_path):
    """No Pad node is left: old converters do not fold it."""
    onnx, onnxsim = pytest.importorskip("onnx"), pytest.importorskip("onnxsim")
    spec = zoo.detector_spec("ssdlite-mb2-person")
    path = tmp_path / "m.onnx"
    torch.onnx.export(build_network(spec).eval(), (images(spec),), str(path), dynamo=False)
    model, _ = onnxsim.simplify(onnx.load(path))
    ops = {node.op_type for node in model.graph.node} - {"Constant"}
    assert ops == {"Conv", "Clip", "Add", "Transpose", "Reshape", "Concat"}
    stem = next(node for node in model.graph.node if node.op_type == "Conv")
    pads = next(a.ints for a in stem.attribute if a.name == "pads")
    assert list(pads) == [0, 0, 1, 1]
