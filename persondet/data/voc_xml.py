"""Pascal VOC's XML, a file a picture; SCUT-HEAD and labelImg write the same.

Boxes are 1-based and include their last pixel; here xmin - 1, ymin - 1, xmax, ymax.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from persondet.data.class_names import name_key, one_name_per_class
from persondet.data.plain_values import plain_flag, plain_side
from persondet.data.report import Report
from persondet.data.samples import BACKGROUND, DataSet, make_sample
from persondet.errors import InputError
from persondet.files import is_file, is_folder, parse_xml, read_bytes
from persondet.images import SUFFIXES


@dataclass(frozen=True)
class _Annotation:
    """objects: (name, xyxy in pixels, difficult) of each. path: below the folder of annotations."""

    path: Path
    filename: str
    size_hw: tuple[int, int] | None
    objects: tuple[tuple[str, tuple[float, float, float, float], bool], ...]


def read_voc_xml(
    annotations: Path, images_root: Path, classes: Mapping[str, str] | None = None
) -> DataSet:
    """A folder of XML files, at any depth. classes: our class name to an object's name; default:
    every object name that occurs, under its own name. Other objects are passed over and counted.
    Names that differ in capitals only are one class.

    Difficult objects are ignored. The picture is found by the XML file's own name, in the same
    sub-folder or in images_root, as `filename` inside is often wrong; where that fails, by
    `filename`.
    A file that is no such XML, or has an object without an upright box, is skipped and counted.
    Raises InputError where the folder holds no XML at all.
    """
    paths = _xml_files(annotations)
    if not paths:
        raise InputError(f"{annotations} holds no .xml files; expected Pascal VOC's Annotations")
    report = Report()
    read = [found for path in paths if (found := _read(annotations, path, report)) is not None]
    occurring = [name for annotation in read for name, _, _ in annotation.objects]
    names = sorted(one_name_per_class(occurring, report), key=name_key)
    chosen = classes or {name: name for name in names}
    ids = {name_key(name): index for index, name in enumerate(chosen.values(), 1)}
    images = _Images(images_root)
    samples = []
    for annotation in read:
        boxes = []
        for name, box_xyxy_px, difficult in annotation.objects:
            if name_key(name) in ids:
                boxes.append((box_xyxy_px, ids[name_key(name)], difficult))
            else:
                report.add(f"object {name!r}: not asked for", annotation.path.name)
        image = images.of(annotation)
        samples.append(make_sample(image, boxes, ids.values(), annotation.size_hw))
    return DataSet(str(annotations), (BACKGROUND, *chosen), tuple(samples), report)


def _xml_files(folder: Path) -> list[Path]:
    """Below the folder; hidden files and folders are passed over, as among images."""
    if not is_folder(folder):
        return []
    below = [path.relative_to(folder) for path in folder.rglob("*")]
    return sorted(
        path
        for path in below
        if path.suffix.lower() == ".xml" and not any(part.startswith(".") for part in path.parts)
    )


def _read(folder: Path, path: Path, report: Report) -> _Annotation | None:
    try:
        root = parse_xml(read_bytes(folder / path))
        if root.find("object/robndbox") is not None:
            report.add("annotation file with rotated boxes (robndbox): skipped", path)
            return None
        return _Annotation(
            path,
            root.findtext("filename") or "",
            _size_hw(root, path, report),
            tuple(_object(item) for item in root.iter("object")),
        )
    except (InputError, ValueError, OverflowError) as error:
        report.add("annotation file not readable: skipped", f"{path}: {error}")
        return None


def _size_hw(root: Element, path: Path, report: Report) -> tuple[int, int] | None:
    if root.find("size") is None:
        return None
    height, width = (
        plain_side(root.findtext("size/height")),
        plain_side(root.findtext("size/width")),
    )
    if height is None or width is None:
        report.add("image whose annotation has no usable size: its own is taken", path)
        return None
    return height, width


def _object(item: Element) -> tuple[str, tuple[float, float, float, float], bool]:
    x1, y1, x2, y2 = (
        float(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = plain_flag(item.findtext("difficult"))
    return _text(item, "name"), (x1 - 1, y1 - 1, x2, y2), difficult


def _text(item: Element, name: str) -> str:
    text = item.findtext(name)
    if not text or not text.strip():
        raise ValueError(f"an object has no {name}")
    return text.strip()


class _Images:
    """The images of a folder; each sub-folder is listed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_stem: dict[Path, dict[str, Path]] = {}

    def of(self, annotation: _Annotation) -> Path:
        """Return the annotation's image; one that does not exist if there is none."""
        folders = dict.fromkeys((self._root / annotation.path.parent, self._root))
        by_stem = [self._in(folder).get(annotation.path.stem) for folder in folders]
        if found := [path for path in by_stem if path is not None]:
            return found[0]
        # Backslashes: labelImg on Windows.
        name = annotation.filename.strip().replace("\\", "/")
        names = (name, name.rpartition("/")[2]) if name else ()
        by_name = [folder / name for folder in folders for name in names]
        found = [path for path in by_name if is_file(path)]
        return found[0] if found else self._root / annotation.path.with_suffix(SUFFIXES[0])

    def _in(self, folder: Path) -> dict[str, Path]:
        """By name without suffix; of several the one whose suffix comes first among SUFFIXES."""
        if folder not in self._by_stem:
            paths = folder.iterdir() if is_folder(folder) else ()
            images = [path for path in paths if path.suffix.lower() in SUFFIXES]
            images.sort(key=lambda path: SUFFIXES.index(path.suffix.lower()), reverse=True)
            self._by_stem[folder] = {path.stem: path for path in images}
        return self._by_stem[folder]
