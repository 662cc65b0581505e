"""The rules of a recipe: matching, losses, augmentation. No torch, so that a configuration is
checked at once."""

from dataclasses import dataclass

CLASSIFICATION_LOSSES = ("focal", "cross-entropy")
LOCALISATION_LOSSES = ("smooth-l1", "giou")


@dataclass(frozen=True)
class MatchRule:
    """iou: an anchor whose best box overlaps less is background (0.35 heads, 0.3 persons).

    ignore_iou: an anchor that overlaps an ignored box at least this much, and no learnt one, learns
    nothing.
    """

    iou: float = 0.35
    ignore_iou: float = 0.35


@dataclass(frozen=True)
class LossRule:
    """What counts as wrong, and how much.

    classification: "focal" (Lin et al. 2017; gamma 2, alpha 0.25) or "cross-entropy" with hard
    negative mining, negatives to positives `negatives_ratio` (Liu et al. 2016: 3).
    localisation: "smooth-l1" of the offsets, or "giou", 1 minus the generalised IoU (Rezatofighi et
    al. 2019), which takes the four numbers of a box together, as the evaluation does. It counts
    localisation_weight times. distillation_weight: of what a teacher adds, where there is one.
    """

    classification: str = "focal"
    gamma: float = 2.0
    alpha: float = 0.25
    negatives_ratio: int = 3
    localisation: str = "smooth-l1"
    localisation_weight: float = 1.0
    distillation_weight: float = 1.0


@dataclass(frozen=True)
class AugmentRule:
    """Probabilities of each augmentation, and how far it goes.

    zoom: crops around an annotated box, so large that the box's shorter side comes to
    zoom_side_px at network scale: small heads become learnable. mosaic: four pictures in one, each
    half as large: for crowds of small ones (Bochkovskiy et al. 2020, section 3.3).
    """

    photometric: float = 0.8
    expand: float = 0.3
    max_expand: float = 3.0
    crop: float = 0.5
    zoom: float = 0.3
    zoom_side_px: tuple[float, float] = (16.0, 80.0)
    mirror: float = 0.5
    mosaic: float = 0.0
