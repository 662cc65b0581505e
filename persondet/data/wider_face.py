"""WIDER FACE's `wider_face_*_bbx_gt.txt` (Yang et al. 2016): faces, taken for heads.

A picture is: its file name; the number of boxes; that many lines of
`x y w h blur expression illumination invalid occlusion pose`. A picture without faces has the
number 0 and, in the published files, one line of zeros all the same.
"""

from pathlib import Path

from persondet.data.samples import (
    BACKGROUND,
    DataSet,
    Sample,
    annotation_text,
    make_sample,
    xyxy_from_xywh,
)
from persondet.errors import InputError

_INVALID = 7  # column of the flag that annotators set on faces too poor to use
_COLUMNS = 10
_LARGEST = 2**31  # of a number; a much larger one is no float either


def read_wider_face(path: Path, images_root: Path, class_name: str = "head") -> DataSet:
    """Invalid faces are ignored. Raises InputError naming the line that cannot be read."""
    lines = [line.strip() for line in annotation_text(path).splitlines()]
    samples, at = [], 0
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        sample, at = _sample(path, lines, at, images_root)
        samples.append(sample)
    return DataSet(str(path), (BACKGROUND, class_name), tuple(samples))


def _sample(path: Path, lines: list[str], at: int, images_root: Path) -> tuple[Sample, int]:
    """The picture whose name is lines[at], and where the next one begins."""
    name = lines[at]
    count = lines[at + 1] if at + 1 < len(lines) else "the end of the file"
    if not count.isdecimal() or len(count) > 9:
        raise InputError(
            f"{path}, line {at + 2}: expected the number of faces of {name[:60]!r} "
            f"(WIDER FACE's wider_face_split text), found {count[:60]!r}"
        )
    begin, after = at + 2, at + 2 + int(count)
    if after == begin and after < len(lines) and _is_row_of_zeros(lines[after]):
        after += 1
    rows = [_numbers(path, lines, row) for row in range(begin, begin + int(count))]
    boxes = [(xyxy_from_xywh(row[:4]), 1, row[_INVALID] != 0) for row in rows]
    return make_sample(images_root / name, boxes, [1]), after


def _numbers(path: Path, lines: list[str], at: int) -> list[int]:
    found = lines[at] if at < len(lines) else "the end of the file"
    try:
        numbers = [int(word) for word in found.split()]
    except ValueError:
        numbers = []
    if len(numbers) != _COLUMNS or max(map(abs, numbers)) > _LARGEST:
        raise InputError(
            f"{path}, line {at + 1}: expected {_COLUMNS} whole numbers, found {found[:60]!r}"
        )
    return numbers


def _is_row_of_zeros(line: str) -> bool:
    return line.split() == ["0"] * _COLUMNS
