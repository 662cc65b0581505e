"""The pretrained person detector finds real persons, through our own preprocessing to NMS."""

import contextlib
import io
import json
from pathlib import Path

import pytest

from export.onnx_export import export_onnx
from persondet.checkpoint import load_checkpoint
from persondet.images import read_image_rgb
from persondet.models import resolve_model
from runtime.backend import open_backend
from runtime.detector import Detector

DATA = Path(__file__).parents[2] / "shared" / "data"
TEST_SPLIT = DATA / "coco_person" / "test.json"


@pytest.mark.skipif(not TEST_SPLIT.exists(), reason="no ../shared/data/coco_person/test.json here")
def test_the_pretrained_detector_reaches_its_published_accuracy_on_coco(tmp_path: Path) -> None:
    onnx_path = tmp_path / "person.onnx"
    export_onnx(load_checkpoint(resolve_model("ssdlite-mb2-person")), onnx_path)
    with contextlib.closing(open_backend(onnx_path)) as backend:
        # All that may count for average precision, which is the area under the whole curve.
        detector = Detector(backend, score_threshold=0.01)
        results = [
            {"image_id": image["id"], "category_id": 1, "score": float(score), "bbox": bbox}
            for image in json.loads(TEST_SPLIT.read_text())["images"]
            for score, bbox in _scored_xywh(detector, DATA / image["file_name"])
        ]
    assert _ap50(results) >= 0.43


def _scored_xywh(detector: Detector, path: Path) -> list[tuple[float, list[float]]]:
    found = detector(read_image_rgb(path))
    pairs = zip(found.scores, found.boxes_xyxy_px.astype(float), strict=True)
    return [(s, [b[0], b[1], b[2] - b[0], b[3] - b[1]]) for s, b in pairs]


def _ap50(results: list[dict]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(TEST_SPLIT))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])
