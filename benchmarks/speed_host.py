"""How fast the host's side of detection is, beside what one would reach for instead.

`python -m benchmarks.speed_host [MODEL.onnx]` prints a table; everything in it is measured in the
same run, in turns, so that a busy machine slows both sides. Without a model an untrained
mb2-ssd-lite-f38 is exported first. One core: OMP_NUM_THREADS=1 python -m benchmarks.speed_host
"""

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from benchmarks.latency import this_machine
from benchmarks.tables import new_table, print_to_stdout
from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import cxcywh_from_xyxy
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from persondet.zoo import F38, detector_spec
from runtime.decode import Candidates, decode
from runtime.detector import Detector
from runtime.nms import nms
from runtime.onnx_backend import OnnxBackend

FRAME_HW = (1080, 1920)
CANDIDATES = 50


@dataclass(frozen=True)
class Comparison:
    """Medians of ours and of the alternatives, by name, in milliseconds.

    target: what ours is held to, in words; empty where there is none.
    """

    what: str
    ours_ms: float
    others_ms: dict[str, float]
    target: str = ""


def compare_speed(
    what: str,
    ours: Callable[[], object],
    others: Mapping[str, Callable[[], object]],
    rounds: int,
    target: str = "",
) -> Comparison:
    """Run ours and the others in turns."""
    runs = {"": ours, **others}
    times_s = np.empty((rounds, len(runs)))
    for round_s in times_s:
        for index, run in enumerate(runs.values()):
            start = perf_counter()
            run()
            round_s[index] = perf_counter() - start
    medians = dict(zip(runs, (np.median(times_s, axis=0) * 1e3).tolist(), strict=True))
    return Comparison(what, medians.pop(""), medians, target)


def preprocessing(spec: DetectorSpec, rounds: int) -> list[Comparison]:
    frame = np.random.default_rng(0).integers(0, 256, (*FRAME_HW, 3), np.uint8)
    height, width = spec.input_size_hw
    as_bytes = dataclasses.replace(spec, input_format="uint8-nhwc")

    def resized() -> np.ndarray:
        return cv2.resize(frame, (width, height))

    def with_numpy() -> np.ndarray:
        normalised = (resized().astype(np.float32) - spec.mean_rgb) / spec.std_rgb
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)

    def with_blob() -> np.ndarray:
        return cv2.dnn.blobFromImage(
            frame, 1 / spec.std_rgb[0], (width, height), spec.mean_rgb, crop=False
        )

    others = {"numpy": with_numpy, "cv2.dnn.blobFromImage": with_blob}
    return [
        compare_speed(
            "1920x1080 to float", lambda: preprocess(frame, spec), others, rounds, "< 1.0 ms"
        ),
        compare_speed(
            "1920x1080 to uint8",
            lambda: preprocess(frame, as_bytes),
            {"cv2.resize alone": resized},
            rounds,
            "< 0.5 ms",
        ),
    ]


def postprocessing(spec: DetectorSpec, rounds: int) -> list[Comparison]:
    outputs = crowd(spec, CANDIDATES)
    anchors = anchors_cxcywh_norm(spec)
    found = decode(outputs, anchors, spec)
    scores: Any = found.scores  # OpenCV's type hints ask for lists, its code is quicker with arrays
    xywh: Any = cxcywh_from_xyxy(found.boxes_xyxy_norm)
    xywh[:, :2] = found.boxes_xyxy_norm[:, :2]

    def ours() -> np.ndarray:
        return _nms(decode(outputs, anchors, spec), spec)

    def everything_first() -> list[int]:
        boxes, scores = decode_everything(outputs, anchors, spec)
        above = scores[:, 1] >= spec.score_threshold
        return numpy_nms(boxes[above], scores[above, 1], spec.nms_iou)

    others = {
        "numpy loop": lambda: numpy_nms(found.boxes_xyxy_norm, found.scores, spec.nms_iou),
        "cv2.dnn.NMSBoxes": lambda: cv2.dnn.NMSBoxes(xywh, scores, 0.0, spec.nms_iou),
    }
    anchor_count = f"{spec.num_anchors:,} anchors"
    return [
        compare_speed(
            f"decode + NMS, {anchor_count}, {len(found)} candidates",
            ours,
            {"numpy, all boxes decoded": everything_first},
            rounds,
            "< 0.3 ms",
        ),
        compare_speed(f"NMS, {len(found)} candidates", lambda: _nms(found, spec), others, rounds),
    ]


def _nms(found: Candidates, spec: DetectorSpec) -> np.ndarray:
    return nms(found.boxes_xyxy_norm, found.scores, found.class_ids, spec.nms_iou, spec.top_k)


def crowd(spec: DetectorSpec, count: int) -> dict[str, np.ndarray]:
    """Outputs with `count` anchors above the threshold, in clumps of five neighbours."""
    rng = np.random.default_rng(0)
    scores = np.zeros((1, spec.num_anchors, spec.num_classes), np.float32)
    scores[..., 0] = 5.0
    first = rng.choice(spec.num_anchors // 5, count // 5, replace=False) * 5
    chosen = (first[:, None] + np.arange(5)).ravel()
    scores[0, chosen, 1] = rng.uniform(6, 9, len(chosen))
    boxes = rng.normal(size=(1, spec.num_anchors, 4)).astype(np.float32)
    return {spec.scores_name: scores, spec.boxes_name: boxes}


def decode_everything(
    outputs: Mapping[str, np.ndarray], anchors: np.ndarray, spec: DetectorSpec
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook way: softmax and boxes of every anchor, row by row of the output."""
    logits, offsets = outputs[spec.scores_name][0], outputs[spec.boxes_name][0]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    centres = offsets[:, :2] * spec.variances[0] * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(offsets[:, 2:] * spec.variances[1]) * anchors[:, 2:] / 2
    scores = exponents / exponents.sum(axis=1, keepdims=True)
    return np.hstack([centres - half, centres + half]), scores


def numpy_nms(boxes_xyxy: np.ndarray, scores: np.ndarray, max_iou: float) -> list[int]:
    """The loop of Fast R-CNN that most projects carry: one row of IoUs for each kept box."""
    x1, y1, x2, y2 = boxes_xyxy.T
    areas = (x2 - x1) * (y2 - y1)
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        intersection = np.maximum(0.0, width) * np.maximum(0.0, height)
        iou = intersection / (areas[best] + areas[rest] - intersection)
        order = rest[iou <= max_iou]
    return kept


def whole_detector(model: Path, frame_hw: tuple[int, int], rounds: int) -> Comparison:
    """The whole `Detector` beside its bare onnxruntime session fed with a ready tensor."""
    backend = OnnxBackend(model, threads=1)
    frame = np.random.default_rng(0).integers(0, 256, (*frame_hw, 3), np.uint8)
    tensor = Detector(backend).preprocess(frame)
    # An untrained model finds everything or nothing: a threshold that leaves a usual number.
    scores = np.sort(Detector(backend, 0.0).decode(backend.infer(tensor)).scores)
    detector = Detector(backend, max(float(scores[-CANDIDATES]), backend.spec.score_threshold))
    return compare_speed(
        f"Detector, {backend.spec.network}, {frame_hw[1]}x{frame_hw[0]}",
        lambda: detector(frame),
        {"bare session": lambda: backend.session.run(None, {backend.spec.input_name: tensor})},
        rounds,
        "< 1.15 sessions",
    )


def _exported(folder: Path) -> Path:
    from export.onnx_export import export_onnx
    from persondet.checkpoint import load_checkpoint, save_checkpoint
    from persondet.networks import build_network, initialise

    spec = detector_spec(F38)
    network = build_network(spec)
    initialise(network, seed=0)
    save_checkpoint(folder / "f38.pth", network, spec)
    return export_onnx(load_checkpoint(folder / "f38.pth"), folder / "f38.onnx").path


def main() -> None:
    cv2.setNumThreads(1)
    spec = detector_spec(F38)
    results = [*preprocessing(spec, 200), *postprocessing(spec, 500)]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(sys.argv[1]) if len(sys.argv) > 1 else _exported(Path(folder))
        results += [whole_detector(model, size_hw, 50) for size_hw in ((480, 640), FRAME_HW)]
    table = new_table("stage", "target", "beside", numbers=("ours ms", "theirs ms", "ours/theirs"))
    for result in results:
        for name, other_ms in result.others_ms.items():
            ours = f"{result.ours_ms:.3f}", f"{other_ms:.3f}", f"{result.ours_ms / other_ms:.2f}"
            table.add_row(result.what, result.target, name, *ours)
    print_to_stdout(table, f"medians, one core of {this_machine().cpu}")


if __name__ == "__main__":
    main()
