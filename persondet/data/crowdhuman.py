"""CrowdHuman's .odgt: one JSON object a line (Shao et al. 2018, crowdhuman.org)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from persondet.data.plain_values import plain_flag
from persondet.data.report import Report
from persondet.data.samples import (
    BACKGROUND,
    DataSet,
    Sample,
    annotation_text,
    make_sample,
    xyxy_from_xywh,
)
from persondet.errors import InputError
from persondet.files import parse_json

BOX_KINDS = ("hbox", "fbox", "vbox")  # head, full body, visible part
DEFAULT_CLASSES = {"head": "hbox", "person": "fbox"}


def read_crowdhuman(
    path: Path, images_root: Path, classes: Mapping[str, str] | None = None
) -> DataSet:
    """classes: our class name to "hbox", "fbox" or "vbox"; default: DEFAULT_CLASSES.

    `tag` other than "person" (mask: a crowd, a reflection, a picture in the picture) is an ignore
    region for every class; so is a box whose `extra` or, for heads, `head_attr` says ignore.
    Raises InputError naming the line that cannot be read.
    """
    classes = classes or DEFAULT_CLASSES
    if unknown := sorted(set(classes.values()) - set(BOX_KINDS)):
        raise InputError(
            f"CrowdHuman has no box {', '.join(unknown)}; expected {', '.join(BOX_KINDS)}"
        )
    report = Report()
    samples = []
    for number, line in enumerate(annotation_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            samples.append(_sample(parse_json(line), images_root, classes, report))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{path}, line {number}: expected a JSON object with ID and gtboxes "
                f"(CrowdHuman's .odgt), found {line.strip()[:60]!r} ({error!r})"
            ) from None
    return DataSet(str(path), (BACKGROUND, *classes), tuple(samples), report)


def _sample(
    record: Mapping[str, Any], images_root: Path, classes: Mapping[str, str], report: Report
) -> Sample:
    boxes = [
        ((xyxy_from_xywh(box)), class_id, _is_ignored(item, kind))
        for item in record["gtboxes"]
        for class_id, kind, box in _boxes_of(item, classes, report, record["ID"])
    ]
    return make_sample(images_root / f"{record['ID']}.jpg", boxes, range(1, len(classes) + 1))


def _boxes_of(
    item: Mapping[str, Any], classes: Mapping[str, str], report: Report, where: str
) -> Iterator[tuple[int, str, Any]]:
    for class_id, kind in enumerate(classes.values(), 1):
        box = item.get(kind)
        if box is None and item["tag"] != "person":
            box = item["fbox"]
        if box is None:
            report.add(f"person without {kind}: box skipped", where)
        else:
            yield class_id, kind, box


def _is_ignored(item: Mapping[str, Any], kind: str) -> bool:
    if item["tag"] != "person" or _says_ignore(item, "extra"):
        return True
    return kind == "hbox" and _says_ignore(item, "head_attr")


def _says_ignore(item: Mapping[str, Any], key: str) -> bool:
    return plain_flag((item.get(key) or {}).get("ignore"))
