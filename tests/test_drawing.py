"""Drawing: where pixels may change, and that labels stay in the picture."""

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.drawing import draw_caption, draw_detections, titled

NAMES = ("background", "person", "head")


def detections(*boxes, classes=None):
    scores = np.linspace(0.99, 0.5, len(boxes)).astype(np.float32)
    ids = np.array(classes or [1] * len(boxes), np.int64)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, ids)


def changed(before, after):
    return (before != after).any(axis=2)


def test_a_box_is_drawn_and_the_picture_given_is_not_touched():
    picture = np.full((200, 300, 3), 90, np.uint8)
    drawn = draw_detections(picture, detections([100, 80, 220, 180]), NAMES)
    assert (picture == 90).all()
    mask = changed(picture, drawn)
    for row, column in ((80, 150), (180, 150), (120, 100), (120, 220)):
        assert mask[row - 1 : row + 2, column - 1 : column + 2].any()
    assert not mask[100:170, 120:200].any()  # inside
    assert not mask[190:].any()
    assert mask[60:78, 100:140].any()  # the label, above


def test_nothing_found_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    drawn = draw_detections(picture, detections(), NAMES)
    np.testing.assert_array_equal(drawn, picture)
    assert not np.shares_memory(drawn, picture)


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 500), (500, 3), (48, 80), (2000, 3000)])
def test_pictures_of_every_size(size_hw):
    height, width = size_hw
    boxes = [[0, 0, width, height], [width - 0.5, height - 0.5, width, height]]
    boxes.append([width / 2, 0, width, height / 2])
    picture = np.zeros((height, width, 3), np.uint8)
    drawn = draw_detections(picture, detections(*boxes, classes=[1, 2, 1]), NAMES)
    assert drawn.shape == picture.shape
    assert changed(picture, drawn).any()


def test_the_label_of_a_box_at_the_top_stands_inside():
    picture = np.zeros((200, 300, 3), np.uint8)
    mask = changed(picture, draw_detections(picture, detections([150, 0, 299, 199]), NAMES))
    assert mask[2:10, 155:190].all(axis=0).any()


def test_line_and_label_grow_with_the_picture():
    small, large = (
        changed(picture, draw_detections(picture, detections([0, h // 2, w, h]), NAMES))
        for h, w in ((300, 400), (1500, 2000))
        for picture in [np.zeros((h, w, 3), np.uint8)]
    )
    assert large[:750].sum() > 5 * small[:150].sum() > 0  # labels


def test_classes_have_colours_of_their_own():
    picture = np.zeros((100, 300, 3), np.uint8)
    boxes = [[10, 50, 90, 90], [110, 50, 190, 90]]
    drawn = draw_detections(picture, detections(*boxes, classes=[1, 2]), NAMES)
    assert (drawn[90, 50] != drawn[90, 150]).any()


def test_labels_do_not_cover_one_another():
    picture = np.zeros((200, 300, 3), np.uint8)
    one = draw_detections(picture, detections([50, 100, 150, 190], classes=[1]), NAMES)
    both = draw_detections(
        picture, detections([50, 100, 150, 190], [52, 100, 152, 190], classes=[1, 2]), NAMES
    )
    np.testing.assert_array_equal(both[80:99, 50:120], one[80:99, 50:120])


def test_a_tiny_box_has_no_label():
    picture = np.zeros((200, 300, 3), np.uint8)
    mask = changed(picture, draw_detections(picture, detections([150, 100, 158, 110]), NAMES))
    assert not mask[:99].any()
    assert not mask[:, 162:].any()


def test_views_can_be_drawn_on():
    picture = np.zeros((60, 90, 3), np.uint8)[::-1, ::2, ::-1]
    assert draw_detections(picture, detections([5, 30, 40, 50]), NAMES).any()


def test_a_caption_is_drawn_in_the_corner():
    picture = np.full((100, 200, 3), 90, np.uint8)
    draw_caption(picture, "12.3 frames/s")
    mask = (picture != 90).any(axis=2)
    assert mask[2:8, 2:30].any()
    assert not mask[50:].any()


@pytest.mark.parametrize("size_hw", [(100, 200), (700, 300), (9, 7)])
def test_a_title_stands_above_the_picture_and_covers_nothing(size_hw):
    picture = np.full((*size_hw, 3), 90, np.uint8)
    result = titled(picture, "model.quantized.dlc")
    assert result.shape[0] > size_hw[0] and result.shape[1:] == picture.shape[1:]
    np.testing.assert_array_equal(result[-size_hw[0] :], picture)
    assert result[: -size_hw[0]].any()


def test_titles_of_different_letters_make_strips_of_one_height():
    picture = np.zeros((512, 512, 3), np.uint8)
    heights = {titled(picture, text).shape[0] for text in ("onnxruntime", "8-bit DLC, per channel")}
    assert len(heights) == 1
