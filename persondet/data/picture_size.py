"""The size of a picture as displayed, from the first bytes of its file."""

from pathlib import Path

from persondet.errors import InputError
from persondet.image_header import read_image_header
from persondet.images import read_image_rgb


def displayed_size_hw(path: Path) -> tuple[int, int]:
    """Height and width as `read_image_rgb` gives them: the EXIF orientation is applied.

    JPEG and PNG are not decoded: their headers are read, and whether their end is there. Other
    formats are decoded. Raises InputError where the file is missing, cut off or no picture.
    """
    try:
        with path.open("rb") as file:
            header = read_image_header(file)
    except FileNotFoundError:
        raise InputError(f"cannot read the picture {path}: no such file; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read the picture {path}: {error.strerror}") from None
    said = header is not None and header.kind in ("JPEG", "PNG") and header.is_whole
    if header is not None and said and header.displayed_size_hw is not None:
        return header.displayed_size_hw
    height, width, _ = read_image_rgb(path).shape
    return height, width
