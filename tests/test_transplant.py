"""Starting from a detector of another kind: what arithmetic can make equal is equal."""

from dataclasses import replace

import pytest
import torch
from tiny_network import randomise_batch_norm

from persondet.networks import build_network, initialise
from persondet.networks.ssd import SSD
from persondet.spec import DetectorSpec
from persondet.training import transplant
from persondet.training.transplant import recalibrate, start_from_network
from persondet.zoo import F38, F38_PERSON, SSDLITE_PERSON, detector_spec

SHIFT_PX = 11  # 300 and 150 pad (0, 1) in TensorFlow, 75 does not, 38 does: 1 + 2 + 8


def made(spec: DetectorSpec, seed: int) -> SSD:
    network = build_network(spec)
    initialise(network, seed)
    return network.eval()


def with_the_anchors_of(source: DetectorSpec) -> DetectorSpec:
    """f38-person whose second level has the source's three anchors as its first, middle, last."""
    spec = detector_spec(F38_PERSON)
    small, second, *rest = spec.levels
    one, two, three = source.levels[0].shapes_wh_px
    own = second.shapes_wh_px
    shapes = (one, own[1], two, own[3], own[4], three)
    second = replace(second, shapes_wh_px=shapes, stride_hw_px=source.levels[0].stride_hw_px)
    return replace(spec, levels=(small, second, *rest), clip_anchors=False)


def test_heads_of_the_same_anchors_give_the_same_boxes_and_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the interior, where padding plays no part, on activations below ReLU6's bend: the source
    on the picture moved right and down gives the boxes, moved likewise."""
    monkeypatch.setattr(transplant, "recalibrate", lambda network, images: None)
    source_spec = detector_spec(SSDLITE_PERSON)
    source = made(source_spec, 1)
    randomise_batch_norm(source, seed=2)
    with torch.no_grad():  # small activations: nothing reaches 6
        for module in source.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.mul_(0.1)
                module.bias.mul_(0.1)
    spec = with_the_anchors_of(source_spec)
    network = made(spec, 3)
    notes = start_from_network(network, spec, source, source_spec, lambda: torch.zeros(2, 3, 1, 1))
    assert any("stay for 3 shapes of anchors" in note for note in notes)
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 300, 300, generator=generator)
    moved = torch.roll(picture, (SHIFT_PX, SHIFT_PX), (2, 3))
    with torch.inference_mode():
        scores, boxes = network(picture)
        their_scores, their_boxes = source(moved)
    first = spec.levels[0].num_anchors
    cells = slice(6, 13)  # far from the borders, and from where the roll wraps
    mine = [boxes[0, first:][: 361 * 6].reshape(19, 19, 6, 4)[cells, cells]]
    mine += [scores[0, first:][: 361 * 6].reshape(19, 19, 6, 2)[cells, cells]]
    theirs = [their_boxes[0, : 361 * 3].reshape(19, 19, 3, 4)[cells, cells]]
    theirs += [their_scores[0, : 361 * 3].reshape(19, 19, 3, 2)[cells, cells]]
    for index, other in ((0, 0), (2, 1), (5, 2)):
        probability = mine[1][..., index, :].softmax(-1)[..., 1]
        torch.testing.assert_close(
            probability, theirs[1][..., other, 1].sigmoid(), atol=1e-5, rtol=0
        )
        width, height = spec.levels[1].shapes_wh_px[index]
        back = torch.tensor([SHIFT_PX / (0.1 * width), SHIFT_PX / (0.1 * height), 0, 0])
        torch.testing.assert_close(
            mine[0][..., index, :], theirs[0][..., other, :] - back, atol=1e-4, rtol=0
        )


def test_another_class_takes_the_trunk_and_leaves_the_heads() -> None:
    source_spec, spec = detector_spec(SSDLITE_PERSON), detector_spec(F38)
    source, network = made(source_spec, 1), made(spec, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = torch.rand(4, 3, 300, 300)
    notes = start_from_network(network, spec, source, source_spec, lambda: images)
    after = network.state_dict()
    assert torch.equal(after["base_net.7.conv.0.weight"], source.base_net[7].conv[0].weight)
    assert torch.equal(after["extras.0.conv.3.weight"], source.extras[0].conv[3].weight)
    for key, value in before.items():
        if "headers" in key and "running" not in key and "batches" not in key:
            assert torch.equal(after[key], value), key
    assert not any("stay for" in note for note in notes)
    assert "batch norm measured on 4 pictures" in notes


def test_the_same_network_is_a_plain_copy() -> None:
    spec = detector_spec(F38, width_mult=0.25)
    source, network = made(spec, 1), made(spec, 2)

    def never() -> torch.Tensor:
        raise AssertionError("no pictures are needed")

    assert start_from_network(network, spec, source, spec, never) == []
    for key, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key


def test_recalibrated_norms_have_the_statistics_of_the_pictures() -> None:
    network = made(detector_spec(F38, width_mult=0.25), 1)
    images = torch.rand(6, 3, 300, 300)
    recalibrate(network, images, batch_size=3)
    stem, norm = network.base_net[0][0], network.base_net[0][1]
    with torch.inference_mode():
        maps = stem(images)
        halves = [maps[:3], maps[3:]]
        means = torch.stack([half.mean((0, 2, 3)) for half in halves]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, atol=1e-5, rtol=1e-4)
    assert norm.momentum == 0.1 and not network.training
