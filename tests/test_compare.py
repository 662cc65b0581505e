"""Comparing models: fake backends with known outputs, on small pictures that are not square."""

import dataclasses
import json
import math

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.compare import comparable_detectors, compare
from benchmarks.compare_report import comparison_json
from persondet.errors import InputError, PersondetError
from persondet.spec import AnchorLevel, DetectorSpec

SPEC = DetectorSpec(
    "tiny",
    1.0,
    ("background", "person", "head"),
    (48, 80),
    (AnchorLevel((3, 5), (16.0, 16.0), ((16.0, 16.0),)),),
)


class FakeBackend:
    """Logits 8 for class 1 of the anchors in `found`, a bit more with the picture's mean."""

    device = "none"

    def __init__(self, found=(0, 7), shift=0.0, spec=SPEC):
        self.spec, self.found, self.shift = spec, found, shift
        self.name = "fake"
        self.tensors = []

    def infer(self, tensor):
        self.tensors.append(tensor)
        scores = np.zeros((1, 15, 3), np.float32)
        scores[0, list(self.found), 1] = 8.0
        scores += np.float32(self.shift * tensor.astype(np.float32).mean())
        return {"scores": scores, "boxes": np.zeros((1, 15, 4), np.float32)}

    def close(self):
        pass


@pytest.fixture
def pictures(tmp_path):
    """Three pictures of different brightness: 10, 40, 20."""
    paths = []
    for index, value in enumerate((10, 40, 20)):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((30, 70, 3), value, np.uint8))
        paths.append(path)
    return paths


UINT8 = dataclasses.replace(SPEC, input_format="uint8-nhwc")


def run(backends, pictures, **thresholds):
    names = [f"model{index}" for index in range(len(backends))]
    return compare(names, comparable_detectors(names, backends, **thresholds), pictures)


def test_equal_models(pictures):
    result = run([FakeBackend(), FakeBackend(), FakeBackend(spec=UINT8)], pictures)
    assert (result.reference, result.images) == ("model0", 3)
    assert [pair.model for pair in result.pairs] == ["model1", "model2"]
    for pair in result.pairs:
        assert pair.outputs["scores"].max_abs == 0.0
        assert pair.outputs["boxes"].sqnr_db == math.inf
        found = pair.detections
        assert (found.reference_count, found.matched, found.vanished) == (6, 6, 0)


def test_differences_and_the_worst_picture(pictures):
    shifted = FakeBackend(shift=0.5, spec=UINT8)
    pair = run([FakeBackend(), shifted], pictures).pairs[0]
    assert pair.outputs["scores"].max_abs == 20.0
    assert pair.outputs["scores"].mean_abs == pytest.approx((5 + 20 + 10) / 3)
    assert pair.outputs["boxes"].max_abs == 0.0
    assert (pair.worst_image.path, pair.worst_image.scores_max_abs) == (pictures[1], 20.0)
    assert pair.detections.max_score_difference == pytest.approx(0.0, abs=1e-6)  # softmax cancels


def test_vanished_and_appeared(pictures):
    pair = run([FakeBackend(found=(0, 7)), FakeBackend(found=(7, 14, 4))], pictures).pairs[0]
    found = pair.detections
    assert (found.reference_count, found.count) == (6, 9)
    assert (found.matched, found.vanished, found.appeared) == (3, 3, 6)
    score = math.exp(8) / (math.exp(8) + 2)  # of the one that vanished and the two that appeared
    assert pair.worst_image.detections == pytest.approx(3 * score)


def test_all_models_use_the_references_thresholds(pictures):
    strict = dataclasses.replace(SPEC, score_threshold=1.0, nms_iou=0.1, top_k=1)
    result = run([FakeBackend(), FakeBackend(spec=strict)], pictures)
    assert result.pairs[0].detections.vanished == 0
    assert (result.score_threshold, result.nms_iou) == (0.5, 0.45)
    result = run([FakeBackend(), FakeBackend(spec=strict)], pictures, score_threshold=0.0)
    assert result.score_threshold == 0.0


def test_models_fed_alike_share_one_tensor(pictures):
    backends = [FakeBackend(), FakeBackend(spec=UINT8), FakeBackend()]
    run(backends, pictures[:1])
    tensors = [backend.tensors[0] for backend in backends]
    assert tensors[0] is tensors[2]
    assert [tensor.dtype for tensor in tensors[:2]] == [np.float32, np.uint8]


def test_json_has_the_promised_keys_and_no_infinity(pictures):
    record = json.loads(json.dumps(comparison_json(run([FakeBackend()] * 2, pictures))))
    assert (record["images"], record["reference"]) == (3, "model0")
    (pair,) = record["pairs"]
    assert set(pair["outputs"]) == {"scores", "boxes"}
    metrics = {"max_abs", "mean_abs", "rmse", "cosine", "sqnr_db"}
    assert set(pair["outputs"]["scores"]) == metrics
    assert pair["outputs"]["scores"]["sqnr_db"] is None
    assert {"matched", "vanished", "appeared", "max_score_difference"} <= set(pair["detections"])


OTHER_LEVEL = AnchorLevel((3, 5), (16.0, 16.0), ((16.0, 17.0),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": (OTHER_LEVEL,)}, "anchors that differ by up to 0.0208"),
        ({"levels": SPEC.levels * 2}, "anchors 15 against 30"),
        ({"class_names": ("background", "person")}, "classes with the background 3 against 2"),
        ({"variances": (0.1, 0.3)}, "variances"),
        ({"score_function": "sigmoid"}, "score function softmax against sigmoid"),
    ],
)
def test_models_whose_outputs_mean_other_things_are_refused(changes, message):
    other = FakeBackend(spec=dataclasses.replace(SPEC, **changes))
    with pytest.raises(InputError, match=f"a.onnx and b.dlc cannot be compared: .*{message}"):
        comparable_detectors(["a.onnx", "b.dlc"], [FakeBackend(), other])


def test_one_model_and_no_pictures_are_refused():
    with pytest.raises(InputError, match="two models or more"):
        comparable_detectors(["a.onnx"], [FakeBackend()])
    with pytest.raises(InputError, match="no pictures"):
        run([FakeBackend()] * 2, [])


def test_outputs_that_are_no_numbers_are_refused(pictures):
    with pytest.raises(PersondetError, match="NaN or infinite"):
        run([FakeBackend(), FakeBackend(shift=math.nan)], pictures)


@pytest.fixture
def command(monkeypatch):
    """`persondet compare` on fake models: a, b (equal), c (shifted)."""
    from persondet.cli import opening
    from persondet.cli.compare import command as compare_command

    models = {
        "a": FakeBackend(),
        "b": FakeBackend(spec=UINT8),
        "c": FakeBackend(shift=0.5, spec=UINT8),
    }
    monkeypatch.setattr(opening, "open_model", lambda name, spec_path: models[name])
    monkeypatch.setattr(opening, "spec_if_known", lambda name, spec_path: models[name].spec)

    def invoke(*arguments):
        return CliRunner().invoke(compare_command, list(map(str, arguments)))

    return invoke


def test_the_command_prints_tables(command, pictures):
    result = command("a", "b", "c", "--images", pictures[0].parent)
    assert result.exit_code == 0
    assert "Against a, on 3 pictures" in result.stdout
    assert "equal" in result.stdout
    assert f"c differs most on {pictures[1]}" in result.stdout
    assert "b differs most" not in result.stdout


def test_the_command_prints_one_json_object(command, pictures):
    result = command("a", "c", "--images", pictures[0].parent, "--limit", 1, "--json")
    assert json.loads(result.stdout)["images"] == 1


def test_a_limit_that_is_kept_and_one_that_is_not(command, pictures):
    common = ("--images", pictures[0].parent, "--json")
    assert command("a", "c", *common, "--fail-above", "boxes.max_abs=0").exit_code == 0
    result = command("a", "c", *common, "--fail-above", "scores.max_abs=19")
    assert isinstance(result.exception, PersondetError)
    assert result.exception.exit_code == 1
    assert "c: scores.max_abs is 20, above the limit 19" in str(result.exception)
    assert json.loads(result.stdout)["pairs"]  # the numbers are there all the same


def test_a_limit_that_makes_no_sense_is_refused_before_the_work(command, pictures):
    result = command("a", "c", "--images", pictures[0].parent, "--fail-above", "cosine=1")
    assert isinstance(result.exception, InputError)
    assert result.stdout == ""


def test_the_worst_picture_is_drawn_side_by_side(command, pictures, tmp_path):
    out = tmp_path / "drawn"
    result = command("a", "c", "--images", pictures[0].parent, "--out", out)
    assert f"drawn: {out}/1-c-1.png" in result.stderr
    drawn = cv2.imread(str(out / "1-c-1.png"))
    assert drawn.shape[1] == 140 and drawn.shape[0] > 30  # two pictures under their titles
    assert (drawn != 40).any()  # boxes and captions on a plain picture
