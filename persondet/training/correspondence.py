"""What two detectors have in common: levels, anchors, classes."""

from collections.abc import Iterator

from persondet.spec import AnchorLevel, DetectorSpec

_SAME_SHAPE_PX = 0.01  # anchors whose sides differ less are the same


def common_levels(spec: DetectorSpec, other: DetectorSpec) -> Iterator[tuple[int, int]]:
    """(index here, index there) of levels of one map, where the inputs are of one size."""
    if spec.input_size_hw != other.input_size_hw:
        return
    grids = {level.grid_hw: index for index, level in enumerate(other.levels)}
    for index, level in enumerate(spec.levels):
        if level.grid_hw in grids:
            yield index, grids[level.grid_hw]


def same_anchors(level: AnchorLevel, other: AnchorLevel) -> list[tuple[int, int]]:
    """(index here, index there) of a cell's anchors of one shape."""
    return [
        (mine, theirs)
        for mine, shape in enumerate(level.shapes_wh_px)
        for theirs, their_shape in enumerate(other.shapes_wh_px)
        if max(abs(a - b) for a, b in zip(shape, their_shape, strict=True)) < _SAME_SHAPE_PX
    ]


def common_classes(spec: DetectorSpec, other: DetectorSpec) -> list[tuple[int, int]]:
    """(id here, id there) of classes of one name, without the background."""
    return [
        (index, other.class_names.index(name))
        for index, name in enumerate(spec.class_names)
        if index > 0 and name in other.class_names
    ]
