"""The numbers are pycocotools' own: files in, its usual calls, against ours."""

import contextlib
import io
import json

import numpy as np
import pytest
from evaluation_data import SIZE_HW, found_picture, random_data, truth_picture

from benchmarks.evaluation.average_precision import coco_average_precision
from benchmarks.evaluation.coco_ap import coco_precision
from benchmarks.evaluation.tally import counts, set_itself


def pycocotools_stats(tmp_path, truth, found, class_id):
    """As its documentation has it: COCO(file), loadRes(file), summarize."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, annotations, results = [], [], []
    for index, (picture, result) in enumerate(zip(truth.pictures, found, strict=True), 100):
        if class_id not in picture.annotated_class_ids:
            continue
        images.append({"id": index, "height": SIZE_HW[0], "width": SIZE_HW[1]})
        for box, class_, ignored, area in zip(
            picture.boxes_xyxy_px, picture.class_ids, picture.ignored, picture.areas_px, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": int(class_),
                    "bbox": [*box[:2], *(box[2:] - box[:2])],
                    "area": area,
                    "iscrowd": int(ignored),
                }
            )
        detections = result.detections
        for box, score, class_ in zip(
            detections.boxes_xyxy_px.astype(float),
            detections.scores.astype(float),
            detections.class_ids,
            strict=True,
        ):
            bbox = [*box[:2], *(box[2:] - box[:2])]
            results.append(
                {"image_id": index, "category_id": int(class_), "bbox": bbox, "score": score}
            )
    path = tmp_path / "truth.json"
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]
    record = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(record))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.catIds = [class_id]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("class_id", [1, 2])
def test_equal_to_pycocotools_with_crowds_and_empty_pictures(tmp_path, seed, class_id):
    truth, found = random_data(seed, annotated=((1, 2), (1,), (1, 2), (2,)))
    expected = pycocotools_stats(tmp_path, truth, found, class_id)
    detections = [result.detections for result in found]
    ours = coco_precision(truth.pictures, detections, class_id)
    values = [ours.ap, ours.ap50, ours.ap75, *ours.by_size.values()]
    np.testing.assert_allclose(np.nan_to_num(values, nan=-1), expected[:6], atol=1e-9)
    assert 0.02 < ours.ap < ours.ap50 < 1


@pytest.mark.parametrize("seed", range(4))
def test_the_tallies_give_the_same_again(seed):
    """What the bootstrap resamples is what pycocotools summed up."""
    truth, found = random_data(seed)
    ours = coco_precision(truth.pictures, [result.detections for result in found], 1)
    values = [coco_average_precision(counts(tally, set_itself(tally)))[0] for tally in ours.tallies]
    assert np.mean(values) == pytest.approx(ours.ap, abs=1e-9)
    assert values[0] == pytest.approx(ours.ap50, abs=1e-9)
    assert values[5] == pytest.approx(ours.ap75, abs=1e-9)


def test_no_detections_no_boxes():
    picture = truth_picture([(10, 10, 40, 40)])
    nothing = found_picture([], []).detections
    assert coco_precision([picture], [nothing], 1).ap50 == 0
    assert np.isnan(coco_precision([picture], [nothing], 2).ap50)
    assert np.isnan(coco_precision([picture], [nothing], 1).by_size["large"])


def test_at_most_a_hundred_detections_a_picture():
    box = (10, 10, 40, 40)
    boxes = [(60, 60, 80, 80)] * 100 + [box]
    found = found_picture(boxes, np.linspace(0.9, 0.1, 101)).detections
    assert coco_precision([truth_picture([box])], [found], 1).ap50 == 0


def test_prints_nothing(capfd):
    truth, found = random_data(0)
    coco_precision(truth.pictures, [result.detections for result in found], 1)
    assert capfd.readouterr() == ("", "")
