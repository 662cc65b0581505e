"""A file that is there already gets a sidecar, as a command would have written both."""

from pathlib import Path
from typing import Any

from persondet.sidecar import publishing, sidecar_path


def describe(artefact: Path, **record: Any) -> Path:
    content = artefact.read_bytes()
    with publishing() as publication:
        publication.file(artefact).write_bytes(content)
        publication.describe(artefact, **record)
    return sidecar_path(artefact)
