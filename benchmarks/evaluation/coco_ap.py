"""COCO's average precisions, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.evaluation.matching import FALSE, IGNORED, TRUE
from benchmarks.evaluation.tally import Tally, tally_of
from benchmarks.evaluation.truth import TruthPicture
from runtime.detections import Detections

IOU_LEVELS = 10  # 0.50, 0.55 ... 0.95
MAX_DETECTIONS = 100  # per image: the last of pycocotools' maxDets
_IOU_75 = 5
_SIZES = ("all", "small", "medium", "large")  # below 32^2, below 96^2, above: pixels of area


@dataclass(frozen=True, eq=False)
class CocoPrecision:
    """Of one class. ap: mean over IoU 0.50:0.05:0.95; NaN where no box is to be found.

    by_size: of "small", "medium", "large", by the JSON's area in the picture's own pixels.
    tallies: of the ten IoUs; at most 100 detections a picture, as COCO counts.
    """

    ap: float
    ap50: float
    ap75: float
    by_size: dict[str, float]
    tallies: tuple[Tally, ...]


def coco_precision(
    pictures: Sequence[TruthPicture], found: Sequence[Detections], class_id: int
) -> CocoPrecision:
    """Evaluate one class over the pictures that are annotated for it. found: one a picture."""
    evaluation = _evaluated(pictures, found, class_id)
    precision = evaluation.eval["precision"][:, :, 0, :, -1]  # (10 IoUs, 101 recalls, 4 sizes)
    averages = np.where(precision >= 0, precision, np.nan).mean(axis=1)
    return CocoPrecision(
        float(averages[:, 0].mean()),
        float(averages[0, 0]),
        float(averages[_IOU_75, 0]),
        {size: float(averages[:, i].mean()) for i, size in enumerate(_SIZES) if i > 0},
        _tallies(evaluation, pictures, class_id),
    )


def _evaluated(pictures: Sequence[TruthPicture], found: Sequence[Detections], class_id: int) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotated = [i for i, p in enumerate(pictures) if class_id in p.annotated_class_ids]
    truth, results = COCO(), COCO()
    for coco, boxes in (
        (truth, [box for i in annotated for box in _truth_boxes(i, pictures[i], class_id)]),
        (results, [box for i in annotated for box in _found_boxes(i, found[i], class_id)]),
    ):
        for number, box in enumerate(boxes, 1):  # 0 would be taken for "not matched"
            box["id"] = number
        coco.dataset = {
            "images": [{"id": i} for i in annotated],
            "categories": [{"id": class_id}],
            "annotations": boxes,
        }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _truth_boxes(index: int, picture: TruthPicture, class_id: int) -> list[dict[str, Any]]:
    chosen = np.flatnonzero(picture.class_ids == class_id)
    return [
        {
            **_box(index, picture.boxes_xyxy_px[i], class_id),
            "area": float(picture.areas_px[i]),
            "iscrowd": int(picture.ignored[i]),
        }
        for i in chosen
    ]


def _found_boxes(index: int, detections: Detections, class_id: int) -> list[dict[str, Any]]:
    boxes = []
    for i in np.flatnonzero(detections.class_ids == class_id):
        box = _box(index, detections.boxes_xyxy_px[i].astype(np.float64), class_id)
        area = box["bbox"][2] * box["bbox"][3]
        boxes.append({**box, "score": float(detections.scores[i]), "area": area, "iscrowd": 0})
    return boxes


def _box(index: int, box_xyxy: np.ndarray, class_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box_xyxy.tolist()
    return {"image_id": index, "category_id": class_id, "bbox": [x1, y1, x2 - x1, y2 - y1]}


def _tallies(evaluation: Any, pictures: Sequence[TruthPicture], class_id: int) -> tuple[Tally, ...]:
    """pycocotools' own matches; its list begins with those of all sizes."""
    by_picture = {
        e["image_id"]: e for e in evaluation.evalImgs[: len(evaluation.params.imgIds)] if e
    }
    results = [by_picture.get(index) for index in range(len(pictures))]
    scores = [np.array(r["dtScores"] if r else []) for r in results]
    truths = [int((r["gtIgnore"] == 0).sum()) if r else 0 for r in results]
    annotated = [class_id in picture.annotated_class_ids for picture in pictures]
    return tuple(
        tally_of(scores, [_judgement(r, level) for r in results], truths, annotated)
        for level in range(IOU_LEVELS)
    )


def _judgement(result: Any, iou_level: int) -> np.ndarray:
    if result is None:
        return np.zeros(0, np.int8)
    judgement = np.where(result["dtMatches"][iou_level] > 0, TRUE, FALSE).astype(np.int8)
    judgement[result["dtIgnore"][iou_level].astype(bool)] = IGNORED
    return judgement
