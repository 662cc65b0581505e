"""Ctrl-C while a command runs on a device, without a clock."""

import time
from pathlib import Path

import pytest

from benchmarks.devices import shell_line


def interrupted_when(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands for a device are interrupted once the file is there, which they write."""
    real = shell_line.run_process

    def run(argv, *, on_line=lambda line: None, **options):
        def see(line: str) -> None:
            on_line(line)
            if line.startswith("persondet-pid="):
                _wait(lambda: ready.exists() and ready.read_text().strip())
                raise KeyboardInterrupt

        return real(argv, on_line=see, **options)

    monkeypatch.setattr(shell_line, "run_process", run)


def assert_ended(pid_file: Path) -> None:
    """The process whose number is in the file has ended, or does so now."""
    place = Path("/proc", pid_file.read_text().strip(), "stat")

    def has_ended() -> bool:
        try:
            return ") Z" in place.read_text()
        except OSError:
            return True

    _wait(has_ended)


def _wait(is_so) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")
