"""A detector's findings as annotations to train on (pseudo-labels, Lee 2013)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from persondet.data.samples import DataSet, Sample
from persondet.errors import InputError


@dataclass(frozen=True)
class LabelRule:
    """Scores from `certain` on are taken as labels; those from `doubtful` on as ignored boxes, so
    that what the teacher is not sure of is learnt neither as an object nor as background."""

    certain: float = 0.5
    doubtful: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.doubtful <= self.certain <= 1:
            raise InputError(
                f"scores {self.doubtful} (doubtful) and {self.certain} (certain): expected "
                "0 < doubtful <= certain <= 1"
            )


def pseudo_labelled(
    image_path: Path,
    size_hw: tuple[int, int],
    boxes_xyxy_px: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    labeled_class_ids: Sequence[int],
    rule: LabelRule,
) -> Sample:
    """boxes_xyxy_px (N, 4), scores (N,) and class_ids (N,) of a detector on one picture."""
    kept = scores >= rule.doubtful
    return Sample(
        image_path,
        boxes_xyxy_px[kept],
        class_ids[kept],
        scores[kept] < rule.certain,
        tuple(labeled_class_ids),
        size_hw,
    )


def coco_record(data: DataSet, images_root: Path) -> dict[str, Any]:
    """The data set as COCO's instances JSON; every sample has a size. Inverse of `read_coco_json`.

    `file_name` is relative to images_root, in which all pictures must be; `labeled_category_ids`
    says for each picture which classes were looked for. Ignored boxes have `ignore` and `iscrowd`.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, sample in enumerate(data.samples, 1):
        assert sample.size_hw is not None
        images.append(
            {
                "id": image_id,
                "file_name": sample.image_path.relative_to(images_root).as_posix(),
                "height": sample.size_hw[0],
                "width": sample.size_hw[1],
                "labeled_category_ids": list(sample.labeled_class_ids),
            }
        )
        for box, class_id, ignore in zip(
            sample.boxes_xyxy_px, sample.class_ids, sample.ignore, strict=True
        ):
            left, top, right, bottom = (round(float(side), 2) for side in box)
            width, height = round(right - left, 2), round(bottom - top, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(class_id),
                    "bbox": [left, top, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": int(ignore),
                    "ignore": int(ignore),
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(data.class_names) if i > 0]
    return {"images": images, "annotations": annotations, "categories": categories}
