"""Learning from another detector: which anchors, what is learnt, and that a run goes by it."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from training_data import CONFIG, made_data

from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.networks.ssd import SSD
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from persondet.training.distillation import Teacher, distillation_loss
from persondet.training.trainer import Run, train
from persondet.zoo import F19, F38, detector_spec
from runtime.decode import decode

STUDENT = detector_spec(F38, width_mult=0.25)


def network_of(spec: DetectorSpec, seed: int) -> SSD:
    network = build_network(spec)
    initialise(network, seed)
    return network.eval()


def images(count: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(3)
    return torch.from_numpy(rng.integers(0, 256, (count, 300, 300, 3), dtype=np.uint8))


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    pictures = images()
    teacher = Teacher(network_of(STUDENT, 1), STUDENT, STUDENT)
    assert teacher.num_anchors == STUDENT.num_anchors
    tensors = [preprocess(picture.numpy(), STUDENT) for picture in pictures]
    with torch.no_grad():
        logits, offsets = network_of(STUDENT, 1)(torch.from_numpy(np.concatenate(tensors)))
    assert float(teacher.loss(logits, offsets, pictures)) == pytest.approx(0, abs=1e-3)
    assert float(teacher.loss(logits + torch.tensor([0.0, 2.0]), offsets, pictures)) > 0.1
    assert float(teacher.loss(logits, offsets + 1, pictures)) > 0.1


def test_another_code_of_boxes_and_scores_says_the_same() -> None:
    """A teacher of other anchors beside the common ones, other variances, sigmoid scores: what it
    says at the common anchors, in the student's code, are its own boxes and scores there."""
    level = STUDENT.levels[1]
    shapes = ((11.0, 90.0), level.shapes_wh_px[1], (200.0, 17.0), level.shapes_wh_px[0])
    levels = (
        dataclasses.replace(STUDENT.levels[0], shapes_wh_px=((3.0, 3.0),)),
        dataclasses.replace(level, shapes_wh_px=shapes, stride_hw_px=(300 / 19, 300 / 19)),
    )
    spec = dataclasses.replace(
        STUDENT,
        class_names=("background", "cart", "head"),
        levels=levels,
        variances=(0.15, 0.3),
        score_function="sigmoid",
        clip_anchors=False,
    )
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(1, spec.num_anchors, 3)).astype(np.float32)
    offsets = rng.normal(size=(1, spec.num_anchors, 4)).astype(np.float32)

    class Canned(torch.nn.Module):
        def forward(self, _):
            return torch.from_numpy(logits), torch.from_numpy(offsets)

    teacher = Teacher(Canned(), spec, STUDENT)  # type: ignore[arg-type]
    probabilities, said = teacher.says(images(1))
    # (student's anchor, teacher's): its shapes 0 and 1 are the teacher's 3 and 1.
    pairs = [
        (2 * 38 * 38 + 2 * cell + mine, 38 * 38 + 4 * cell + theirs)
        for mine, theirs in ((0, 3), (1, 1))
        for cell in range(19 * 19)
    ]
    assert teacher.num_anchors == len(pairs)
    assert probabilities.shape == (1, len(pairs), 1)
    coded = np.zeros((1, STUDENT.num_anchors, 4), np.float32)
    for row, (mine, theirs) in enumerate(pairs):
        coded[0, mine] = said[0, row].numpy()
        expected = 1 / (1 + math.exp(-logits[0, theirs, 2]))
        assert float(probabilities[0, row, 0]) == pytest.approx(expected, rel=1e-5)
    scores = np.zeros((1, STUDENT.num_anchors, 2), np.float32)
    ours = decode(
        {"scores": scores, "boxes": coded}, anchors_cxcywh_norm(STUDENT), STUDENT, 0.0
    ).boxes_xyxy_norm
    its = decode(
        {"scores": logits, "boxes": offsets}, anchors_cxcywh_norm(spec), spec, 0.0, np.array([2])
    ).boxes_xyxy_norm
    for mine, theirs in pairs:
        np.testing.assert_allclose(ours[mine], its[theirs], atol=1e-5)


def test_the_loss_by_hand_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    offsets = torch.randn(1, 2, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    probabilities = torch.tensor([[[0.9], [0.0]]], dtype=torch.float64)
    wanted = torch.zeros(1, 2, 4, dtype=torch.float64)
    classes = torch.tensor([2])
    found = distillation_loss(logits, offsets, probabilities, wanted, classes)
    expected = 0.0
    for anchor, p in enumerate((0.9, 0.0)):
        exponents = [math.exp(x) for x in logits[0, anchor].tolist()]
        q = exponents[2] / sum(exponents)
        expected += p * math.log(p / q) if p else 0.0
        expected += (1 - p) * math.log((1 - p) / (1 - q))
        for d in offsets[0, anchor].tolist():
            expected += p * (d * d / 2 if abs(d) < 1 else abs(d) - 0.5)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-6)

    def loss(a, b):
        return distillation_loss(a, b, probabilities, wanted, classes)

    assert torch.autograd.gradcheck(loss, (logits, offsets))


@pytest.mark.parametrize(
    "teacher",
    [detector_spec(F19), dataclasses.replace(STUDENT, class_names=("background", "cat"))],
)
def test_a_teacher_of_other_things_is_refused(teacher: DetectorSpec) -> None:
    with pytest.raises(InputError, match=r"no anchor or no class in common with mb2-ssd-lite-f38"):
        Teacher(build_network(teacher), teacher, STUDENT)


def test_pictures_without_annotations_are_learnt_from(tmp_path) -> None:
    data = made_data(tmp_path / "pictures")
    bare = [dataclasses.replace(s, labeled_class_ids=()) for s in data.samples]
    data = dataclasses.replace(data, samples=tuple(bare))
    (tmp_path / "run").mkdir()
    records: list[dict] = []
    run = Run(
        *(STUDENT, dataclasses.replace(CONFIG, epochs=4), data, tmp_path / "run"),
        teacher=Teacher(network_of(STUDENT, 9), STUDENT, STUDENT),
        report=lambda record: records.append(dict(record)),
    )
    train(run, network_of(STUDENT, 1))
    losses = [record["distillation_loss"] for record in records]
    assert losses[-1] < losses[0] / 2
    assert records[0]["localisation_loss"] == 0
