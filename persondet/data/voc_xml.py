"""Pascal VOC's XML, a file a picture; SCUT-HEAD and labelImg write the same.

Boxes are 1-based and include their last pixel; here xmin - 1, ymin - 1, xmax, ymax.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from persondet.data.report import Report
from persondet.data.samples import BACKGROUND, DataSet, make_sample
from persondet.errors import InputError
from persondet.files import is_file, is_folder, parse_xml, read_bytes
from persondet.images import SUFFIXES


@dataclass(frozen=True)
class _Annotation:
    """objects: (name, xyxy in pixels, difficult) of each."""

    path: Path
    filename: str
    size_hw: tuple[int, int] | None
    objects: tuple[tuple[str, tuple[float, float, float, float], bool], ...]


def read_voc_xml(
    annotations: Path, images_root: Path, classes: Mapping[str, str] | None = None
) -> DataSet:
    """A folder of XML files. classes: our class name to an object's name; default: every object
    name that occurs, under its own name. Other objects are passed over and counted.

    Difficult objects are ignored. The picture is found by the XML file's own name, as `filename`
    inside is often wrong; where that fails, by `filename`.
    A file that is no such XML, or has an object without a box, is skipped and counted.
    Raises InputError where the folder holds no XML at all.
    """
    paths = sorted(annotations.glob("*.xml")) if is_folder(annotations) else []
    if not paths:
        raise InputError(f"{annotations} holds no .xml files; expected Pascal VOC's Annotations")
    report = Report()
    read = [annotation for path in paths if (annotation := _read(path, report))]
    names = sorted({name for annotation in read for name, _, _ in annotation.objects})
    chosen = classes or {name: name for name in names}
    ids = {name: index for index, name in enumerate(chosen.values(), 1)}
    samples = []
    for annotation in read:
        boxes = []
        for name, box_xyxy_px, difficult in annotation.objects:
            if name in ids:
                boxes.append((box_xyxy_px, ids[name], difficult))
            else:
                report.add(f"object {name!r}: not asked for", annotation.path.name)
        image = _image(annotation, images_root)
        samples.append(make_sample(image, boxes, ids.values(), annotation.size_hw))
    return DataSet(str(annotations), (BACKGROUND, *chosen), tuple(samples), report)


def _read(path: Path, report: Report) -> _Annotation | None:
    try:
        root = parse_xml(read_bytes(path))
        size = [int(float(root.findtext(f"size/{side}") or 0)) for side in ("height", "width")]
        return _Annotation(
            path,
            root.findtext("filename") or "",
            (size[0], size[1]) if min(size) > 0 else None,
            tuple(_object(item) for item in root.iter("object")),
        )
    except (InputError, ValueError, OverflowError) as error:
        report.add("annotation file not readable: skipped", f"{path.name}: {error}")
        return None


def _object(item: Element) -> tuple[str, tuple[float, float, float, float], bool]:
    x1, y1, x2, y2 = (
        float(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = (item.findtext("difficult") or "0").strip() == "1"
    return _text(item, "name"), (x1 - 1, y1 - 1, x2, y2), difficult


def _text(item: Element, name: str) -> str:
    text = item.findtext(name)
    if not text or not text.strip():
        raise ValueError(f"an object has no {name}")
    return text.strip()


def _image(annotation: _Annotation, images_root: Path) -> Path:
    stem = annotation.path.stem
    suffixes = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
    candidates = [images_root / f"{stem}{suffix}" for suffix in suffixes]
    if annotation.filename:
        # Backslashes: labelImg on Windows.
        candidates.append(
            images_root / annotation.filename.strip().replace("\\", "/").split("/")[-1]
        )
    return next((path for path in candidates if is_file(path)), candidates[0])
