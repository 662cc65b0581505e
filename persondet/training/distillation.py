"""Learning what another detector says (Hinton et al. 2015), anchor by anchor.

The teacher sees the same augmented pictures. Where both detectors have an anchor of one shape at
one place of the grid, the student's probability of each common class is drawn to the teacher's, and
its boxes to the teacher's as far as the teacher believes in them. A picture need not be annotated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from persondet.anchors import anchors_cxcywh_norm
from persondet.errors import InputError
from persondet.networks.ssd import SSD
from persondet.spec import DetectorSpec
from persondet.training.correspondence import common_classes, common_levels, same_anchors
from persondet.training.examples import normalised
from persondet.training.targets import encode


@dataclass(frozen=True)
class _Common:
    """Indices of what student and teacher both have, (K,) of anchors and (M,) of classes."""

    student_anchors: Tensor
    teacher_anchors: Tensor
    student_classes: Tensor
    teacher_classes: Tensor


class Teacher:
    """A trained network, asked during another's training.

    Raises InputError where it has no anchor or no class in common with the student's spec.
    """

    def __init__(
        self, network: SSD, spec: DetectorSpec, student: DetectorSpec, device: str = "cpu"
    ) -> None:
        self._network = network.to(device).eval().requires_grad_(False)
        self._spec, self._student = spec, student
        common = _common(student, spec)
        if not len(common.student_anchors) or not len(common.student_classes):
            raise InputError(
                f"the teacher {spec.network} ({', '.join(spec.class_names[1:])}) has no anchor or "
                f"no class in common with {student.network} ({', '.join(student.class_names[1:])}):"
                " take its anchors into the spec that is trained, or label pictures by it "
                "(`persondet label`)"
            )
        self._common = _Common(*(part.to(device) for part in vars(common).values()))
        self._teacher_anchors, self._student_anchors = (
            torch.from_numpy(anchors_cxcywh_norm(each)).to(device)[anchors]
            for each, anchors in (
                (spec, self._common.teacher_anchors),
                (student, self._common.student_anchors),
            )
        )

    @property
    def num_anchors(self) -> int:
        """How many anchors are in common."""
        return len(self._common.student_anchors)

    @torch.no_grad()
    def says(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (N, H, W, 3) uint8 RGB to probabilities (N, K, M) of the common classes and
        (N, K, 4) offsets in the student's code, at the K common anchors."""
        logits, offsets = self._network(normalised(images, self._spec))
        logits = logits[:, self._common.teacher_anchors].float()
        if self._spec.score_function == "softmax":
            probabilities = logits.softmax(dim=-1)
        else:
            probabilities = logits.sigmoid()
        boxes = _decoded(
            offsets[:, self._common.teacher_anchors].float(),
            self._teacher_anchors,
            self._spec.variances,
        )
        anchors, variances = self._student_anchors, self._student.variances
        coded = torch.stack([encode(of_one, anchors, variances) for of_one in boxes])
        return probabilities[..., self._common.teacher_classes], coded

    def loss(self, logits: Tensor, offsets: Tensor, images: Tensor) -> Tensor:
        """How far the student's logits (N, A, C) and offsets (N, A, 4) on these images are from
        what the teacher says; 0 where they agree."""
        said = self.says(images)
        return distillation_loss(
            logits[:, self._common.student_anchors],
            offsets[:, self._common.student_anchors],
            *said,
            self._common.student_classes,
        )


def distillation_loss(
    logits: Tensor,
    offsets: Tensor,
    probabilities: Tensor,
    target_offsets: Tensor,
    classes: Tensor,
) -> Tensor:
    """logits (N, K, C), offsets (N, K, 4), probabilities (N, K, M) of the classes (M,),
    target_offsets (N, K, 4).

    The divergence (Kullback and Leibler) of each class's yes or no, plus the smooth L1 distance of
    the offsets times the probability of any class; summed, and divided by the sum of the
    probabilities (at least 1), which is about the number of objects' anchors.
    """
    log_student = F.log_softmax(logits, dim=-1)
    yes = log_student[..., classes]
    no = torch.log1p(-yes.exp().clamp(max=1 - 1e-6))
    entropy = -(torch.xlogy(probabilities, probabilities))
    entropy = entropy - torch.xlogy(1 - probabilities, 1 - probabilities)
    divergence = -(probabilities * yes + (1 - probabilities) * no) - entropy
    distance = F.smooth_l1_loss(offsets, target_offsets, reduction="none").sum(dim=-1)
    believed = probabilities.amax(dim=-1)
    total = divergence.sum() + (believed * distance).sum()
    return total / believed.sum().clamp(min=1)


def _common(student: DetectorSpec, teacher: DetectorSpec) -> _Common:
    pairs = np.array(list(_anchor_pairs(student, teacher)), np.int64).reshape(-1, 2)
    ids = np.array(common_classes(student, teacher), np.int64).reshape(-1, 2)
    return _Common(*(torch.from_numpy(column.copy()) for column in (*pairs.T, *ids.T)))


def _anchor_pairs(student: DetectorSpec, teacher: DetectorSpec) -> Iterator[tuple[int, int]]:
    """Anchors (index in the student's output, in the teacher's) of one place and shape."""
    starts, teacher_starts = _starts(student), _starts(teacher)
    for index, other_index in common_levels(student, teacher):
        level, other = student.levels[index], teacher.levels[other_index]
        count, other_count = len(level.shapes_wh_px), len(other.shapes_wh_px)
        for mine, theirs in same_anchors(level, other):
            for cell in range(level.grid_hw[0] * level.grid_hw[1]):
                yield (
                    starts[index] + cell * count + mine,
                    teacher_starts[other_index] + cell * other_count + theirs,
                )


def _starts(spec: DetectorSpec) -> list[int]:
    """Of each level, the index of its first anchor."""
    counts = [
        level.grid_hw[0] * level.grid_hw[1] * len(level.shapes_wh_px) for level in spec.levels
    ]
    return [sum(counts[:index]) for index in range(len(counts))]


def _decoded(offsets: Tensor, anchors_cxcywh: Tensor, variances: tuple[float, float]) -> Tensor:
    """(N, K, 4) offsets to boxes, corners, relative to the input."""
    centre = offsets[..., :2] * variances[0] * anchors_cxcywh[:, 2:] + anchors_cxcywh[:, :2]
    half = torch.exp(offsets[..., 2:] * variances[1]) * anchors_cxcywh[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)
