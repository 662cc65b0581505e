"""Numbers of images and classes as a COCO JSON has them, for results that its users compare."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from persondet.data.class_names import name_key
from persondet.data.coco_entries import name_parts, read_coco_entries
from persondet.data.plain_values import Id
from persondet.data.report import Report
from persondet.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CocoNumbering:
    """image_ids: by folders and name of the file_name. category_ids: by `name_key` of the name;
    of a name that several categories have, the first one's."""

    path: Path
    image_ids: Mapping[tuple[str, ...], Id]
    category_ids: Mapping[str, Id]

    def of_images(self, paths: Sequence[Path]) -> list[Id | None]:
        """Return the id of each image; None if the JSON does not list it.

        A path is the image whose file_name it ends with, folder by folder.
        Raises InputError if two paths are one image of the JSON, or none is in it.
        """
        by_name = defaultdict(list)
        for parts in self.image_ids:
            by_name[parts[-1]].append(parts)
        owners: dict[tuple[str, ...], Path] = {}
        ids: list[Id | None] = []
        for path in paths:
            ends = path.absolute().parts
            fitting = [parts for parts in by_name[path.name] if ends[-len(parts) :] == parts]
            if not fitting:
                ids.append(None)
                continue
            parts = max(fitting, key=len)
            if owners.setdefault(parts, path) != path:
                raise InputError(
                    f"{owners[parts]} and {path} are both {'/'.join(parts)} in {self.path}; give "
                    "the pictures of one folder"
                )
            ids.append(self.image_ids[parts])
        if not any(image_id is not None for image_id in ids):
            raise InputError(
                f"{self.path} lists none of the {len(paths)} pictures; expected paths that end in "
                "its file_name entries"
            )
        return ids

    def of_classes(self, class_names: Sequence[str]) -> dict[int, Id]:
        """Return category ids by class id, of the classes that the JSON has; 0 is the background.

        Raises InputError if it has none of them.
        """
        found = {
            index: self.category_ids[name_key(name)]
            for index, name in enumerate(class_names)
            if index > 0 and name_key(name) in self.category_ids
        }
        if not found:
            raise InputError(
                f"{self.path} has no category {', '.join(class_names[1:])}: its results cannot be "
                "numbered"
            )
        return found


def read_coco_numbering(path: Path) -> CocoNumbering:
    """Raises InputError if the file is not a COCO JSON, or two of its images have one file_name."""
    entries = read_coco_entries(path, Report())
    image_ids: dict[tuple[str, ...], Id] = {}
    for image in entries.images.values():
        parts = name_parts(image.file_name)
        if parts in image_ids:
            raise InputError(
                f"{path}: the images {image_ids[parts]} and {image.image_id} have one file_name, "
                f"{image.file_name}; results can have one number alone"
            )
        image_ids[parts] = image.image_id
    category_ids: dict[str, Id] = {}
    for key, name in entries.category_names.items():
        category_ids.setdefault(name_key(name), entries.category_ids[key])
    return CocoNumbering(path=path, image_ids=image_ids, category_ids=category_ids)
