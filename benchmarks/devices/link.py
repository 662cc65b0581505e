"""What carries to one device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from export.process import Finished


class Link(Protocol):
    """adb, ssh or this machine. Paths on the device are absolute, with slashes.

    `send` and `fetch` copy one file and may fail half-way; they raise DeviceLostError where the
    device went away, PersondetError with the program's own text otherwise.
    """

    @property
    def name(self) -> str:
        """As `--device` names it."""

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Finished: ...

    def send(self, local: Path, remote: str, timeout_s: float) -> None: ...

    def fetch(self, remote: str, local: Path, timeout_s: float) -> None: ...

    def home(self) -> str:
        """The folder in which ours may be made."""

    def close(self) -> None: ...
