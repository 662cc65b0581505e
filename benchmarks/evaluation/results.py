"""The detections of an evaluation as a COCO results file, numbered as the annotations are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.evaluation.found import FoundPicture
from benchmarks.evaluation.truth import Truth
from runtime.detections import Detections
from runtime.output import coco_image_ids, coco_results, found_record


def results_of(truth: Truth, found: Sequence[FoundPicture]) -> list[dict[str, Any]]:
    """Return the entries: what was evaluated, of every image the classes annotated there.

    Without numbers of its own, a data set's images are numbered as `detect --coco` does, and
    categories are class ids.
    """
    image_ids: Sequence[int | str | None] = [picture.image_id for picture in truth.pictures]
    if None in image_ids:
        image_ids = coco_image_ids([picture.path for picture in truth.pictures])
    category_ids = truth.category_ids or {i: i for i in truth.evaluated_class_ids}
    results = []
    for picture, one, image_id in zip(truth.pictures, found, image_ids, strict=True):
        assert image_id is not None
        wanted = set(picture.annotated_class_ids) & set(truth.evaluated_class_ids)
        detections = _of_classes(one.detections, wanted)
        record = found_record(one.size_hw, detections, truth.class_names)
        results += coco_results(record, image_id, picture.path.name, category_ids=category_ids)
    return results


def _of_classes(detections: Detections, class_ids: set[int]) -> Detections:
    kept = np.isin(detections.class_ids, list(class_ids))
    return Detections(
        boxes_xyxy_px=detections.boxes_xyxy_px[kept],
        scores=detections.scores[kept],
        class_ids=detections.class_ids[kept],
    )
