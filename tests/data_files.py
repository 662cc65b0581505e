"""Pictures and annotation files that tests of data sets write."""

import struct
from pathlib import Path

import cv2
import numpy as np

ORIENTATION = 0x0112


def write_picture(path: Path, size_hw: tuple[int, int], orientation: int | None = None) -> Path:
    """A picture of noise, .jpg or .png; size_hw as stored, before the EXIF orientation."""
    pixels = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), np.uint8)
    data = cv2.imencode(path.suffix, pixels)[1].tobytes()
    if orientation is not None:
        data = data[:2] + app1(b"Exif\0\0" + tiff(orientation)) + data[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def tiff(orientation: int, order: str = "<") -> bytes:
    """EXIF of a make and an orientation."""
    begin = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, 2)
    make = struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc")
    return begin + make + struct.pack(order + "HHIHHI", ORIENTATION, 3, 1, orientation, 0, 0)


def app1(payload: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


def voc_xml(
    objects: list[tuple[str, tuple[object, ...], int]],
    filename: str = "wrong.xml",
    size_hw: tuple[int, int] | None = (48, 80),
) -> str:
    """objects: (name, xmin ymin xmax ymax, difficult)."""
    size = "" if size_hw is None else "<size><width>{1}</width><height>{0}</height></size>"
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        f"<part><name>hand</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
        "</bndbox></part></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    )
    size = size.format(*(size_hw or (0, 0)))
    return f"<annotation><filename>{filename}</filename>{size}{items}</annotation>"
