"""This machine as the device: a board on which the command itself runs."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.process import Finished, run_process
from persondet.errors import PersondetError
from persondet.models import cache_folder


class LocalLink:
    """See benchmarks.devices.transport.Link."""

    name = "local"

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Finished:
        return run_process(
            argv,
            what=what,
            timeout_s=timeout_s,
            env={**os.environ, **(env or {})},
            cwd=Path(cwd) if cwd else None,
        )

    def send(self, local: Path, remote: str, timeout_s: float) -> None:
        _copy(local, Path(remote))

    def fetch(self, remote: str, local: Path, timeout_s: float) -> None:
        _copy(Path(remote), local)

    def home(self) -> str:
        return str(cache_folder().absolute() / "device")

    def close(self) -> None:
        pass


def _copy(source: Path, destination: Path) -> None:
    part = destination.with_name(destination.name + ".part")
    try:
        shutil.copyfile(source, part)
        part.replace(destination)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise PersondetError(f"copying {source} to {destination}: {error.strerror}") from error
