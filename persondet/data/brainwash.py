"""Brainwash's `.idl` (Stewart et al. 2016): heads in a cafe.

A line is `"folder/picture.png": (x1, y1, x2, y2), (x1, y1, x2, y2);` with a full stop for the
semicolon on the last line, and only the name where there is no head.
"""

import re
from pathlib import Path

from persondet.data.report import Report
from persondet.data.samples import BACKGROUND, DataSet, annotation_text, make_sample
from persondet.errors import InputError

_NUMBER = r"\s*([-+]?\d+(?:\.\d*)?)\s*"
# Behind a box there may be `:score/class`, as the family's tools write it.
_BOX = rf"\({_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\)(?::-?[\d.]+(?:/-?\d+)?)?"
_FOUND_BOX = re.compile(_BOX)
_LINE = re.compile(r'"(?P<name>[^"]+)"\s*(?::(?P<boxes>.*?))?[;.]?')


def read_brainwash(path: Path, images_root: Path, class_name: str = "head") -> DataSet:
    """Corners that are the wrong way round are put right, as they are in the published file.

    Raises InputError naming the line that cannot be read.
    """
    report = Report()
    samples = []
    for number, line in enumerate(annotation_text(path).splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        rest = (match["boxes"] or "") if match else ""
        if match is None or _FOUND_BOX.sub("", rest).strip(" \t,"):
            raise InputError(
                f'{path}, line {number}: expected "picture.png": (x1, y1, x2, y2), ...; '
                f"(Brainwash's .idl), found {line.strip()[:60]!r}"
            )
        boxes = []
        for found in _FOUND_BOX.finditer(rest):
            x1, y1, x2, y2 = map(float, found.groups())
            if x2 < x1 or y2 < y1:
                report.add("box with swapped corners: put right", f"line {number}")
            boxes.append(((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), 1, False))
        samples.append(make_sample(images_root / match["name"], boxes, [1]))
    return DataSet(str(path), (BACKGROUND, class_name), tuple(samples), report)
