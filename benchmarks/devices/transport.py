"""The way to a device: files there and back, proved by their sha256, and commands run there.

A `Link` (adb, ssh, local) only carries; what makes carrying safe is here, once for all of them.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from benchmarks.devices.link import Link
from benchmarks.devices.shell_line import DeviceLostError
from export.process import Finished
from persondet.errors import InputError, PersondetError
from persondet.sidecar import sha256_of

FOLDER_VARIABLE = "PERSONDET_DEVICE_FOLDER"
DEVICE_FORMS = "adb, adb:SERIAL, ssh:USER@HOST, ssh:USER@HOST:PORT or local"
_ATTEMPTS = 3
_PAUSE_S = 1.0
_SHORT_S = 60.0  # for commands that look or tidy
_FULL = ("No space left on device", "Disk quota exceeded")
_MAKE_FOLDER = 'mkdir -p -- "${file%/*}" || exit 1; '
# A folder that the user named may hold other things: what is removed has unmistakable names.
RUN_NAME = "persondet-run-"
RUNTIME_NAME = "persondet-runtime-"
SNPE_NAME = "persondet-snpe-"
# $1: the run's folder; $2: what the run uses of what stays.
_MAKE_RUN_FOLDER = f"""mkdir -- "$1" || exit 1
{{
touch -c -- "$2"
find "${{1%/*}}" -maxdepth 1 -name "{RUN_NAME}*" -mtime +0 -exec rm -rf {{}} +
find "${{1%/*}}" -maxdepth 1 "(" -name "{RUNTIME_NAME}*.zip" -o -name "{SNPE_NAME}*" ")" \\
  ! -name "${{2##*/}}" -mtime +6 -exec rm -rf {{}} +
}} 2> /dev/null
true"""
_CHUNK = 100  # paths in one command: Android's shell takes lines of limited length


class Transport:
    """One device, reached. folder: ours on the device; what is pushed for good lies in it.

    copy_timeout_s: of one file.
    """

    def __init__(self, link: Link, folder: str, copy_timeout_s: float = 600.0) -> None:
        self.name = link.name
        self.folder = folder
        self._link = link
        self._copy_timeout_s = copy_timeout_s

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        what: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Finished:
        """Run a program on the device to its end; its exit code is the caller's to judge.

        env: added to the device's own. Words are quoted: none becomes a command. Raises
        DeviceLostError where the device goes away, PersondetError at the time-out, which ends the
        program there too.
        """
        what = what or f"running {argv[0]} on {self.name}"
        return self._link.run(argv, what=what, timeout_s=timeout_s, env=env, cwd=cwd)

    def push(self, local: Path, remote: str) -> bool:
        """Copy a file to the device, unless it is there already; whether it was copied.

        Raises InputError where the device is full, PersondetError where the copy is not the file
        after several attempts, DeviceLostError.
        """
        return self.push_all({remote: local}) == 1

    def push_all(self, files: Mapping[str, Path]) -> int:
        """`push` of several files, device path to local path; folders are made.

        Returns how many were copied.
        """
        wanted = {remote: sha256_of(local) for remote, local in files.items()}
        there = self._checksums(list(wanted), _MAKE_FOLDER)
        missing = [remote for remote in wanted if there.get(remote) != wanted[remote]]
        torn = list(missing)

        def copy() -> None:
            for remote in torn:
                self._link.send(files[remote], remote, self._copy_timeout_s)
            there = self.checksums(torn)
            torn[:] = [remote for remote in torn if there.get(remote) != wanted[remote]]

        try:
            if missing:
                self._copied(
                    copy, lambda: not torn, lambda: f"{files[torn[0]]} to {self.name}:{torn[0]}"
                )
        except BaseException:
            parts = [path for remote in torn for path in (remote, f"{remote}.part")]
            with contextlib.suppress(PersondetError):  # what came is of no use, and takes room
                self.run(["rm", "-f", "--", *parts], timeout_s=_SHORT_S)
            raise
        return len(missing)

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device; it appears whole or not at all. Raises as `push`."""
        wanted = self.checksums([remote]).get(remote)
        if wanted is None:
            raise PersondetError(f"{self.name} has no file {remote}, which was expected there")
        part = local.with_name(local.name + ".part")
        try:
            self._copied(
                lambda: self._link.fetch(remote, part, self._copy_timeout_s),
                lambda: part.exists() and sha256_of(part) == wanted,
                lambda: f"{self.name}:{remote} to {local}",
            )
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def checksums(self, remotes: Sequence[str]) -> dict[str, str]:
        """sha256 of those of the device's files that exist."""
        return self._checksums(remotes, "")

    def _checksums(self, remotes: Sequence[str], before_each: str) -> dict[str, str]:
        """before_each: shell words to run before a file is looked at, with its path as $file."""
        found: dict[str, str] = {}
        for start in range(0, len(remotes), _CHUNK):
            chunk = remotes[start : start + _CHUNK]
            script = f'for file in "$@"; do {before_each}'
            script += 'if [ -f "$file" ]; then sha256sum < "$file"; else echo none; fi; done'
            finished = self.check(
                ["sh", "-c", script, "sh", *chunk], what=f"checking files on {self.name}"
            )
            lines = finished.stdout.split("\n")
            if len(lines) <= len(chunk):
                raise PersondetError(
                    f"{self.name} has no working sha256sum, which shows that files arrive whole: "
                    + _said(finished)
                )
            pairs = zip(chunk, lines, strict=False)
            found |= {remote: line.split()[0] for remote, line in pairs if line != "none"}
        return found

    def check(
        self, argv: Sequence[str], *, what: str, timeout_s: float = _SHORT_S, cwd: str | None = None
    ) -> Finished:
        """`run` of a command that must succeed; raises PersondetError with its text where not."""
        finished = self.run(argv, timeout_s=timeout_s, what=what, cwd=cwd)
        if finished.code != 0:
            self.raise_if_full(finished.stderr + finished.stdout)
            raise PersondetError(f"{what} failed (exit code {finished.code}): {_said(finished)}")
        return finished

    def make_folder(self, remote: str) -> None:
        self.check(["mkdir", "-p", "--", remote], what=f"making the folder {remote} on {self.name}")

    def remove_folder(self, remote: str) -> None:
        """Remove a folder of ours with all that is in it."""
        inside = PurePosixPath(remote).is_relative_to(self.folder) and ".." not in remote
        if not inside or PurePosixPath(remote) == PurePosixPath(self.folder):
            raise ValueError(f"{remote} is not below {self.folder}")
        self.check(["rm", "-rf", "--", remote], what=f"removing {remote} on {self.name}")

    @contextlib.contextmanager
    def run_folder(self, uses: str = "") -> Iterator[str]:
        """A folder on the device for one run, removed whatever happens while the device is there.

        uses: what it needs of what was pushed for good, directly below our folder. Folders that an
        earlier run had to leave behind, a day old, are removed too, and runtimes of other versions
        that no run has used for a week.
        """
        remote = f"{self.folder}/{RUN_NAME}{os.getpid()}-{secrets.token_hex(4)}"
        what = f"making the folder {remote} on {self.name}"
        self.check(["sh", "-c", _MAKE_RUN_FOLDER, "sh", remote, uses], what=what)
        try:
            yield remote
        except DeviceLostError as error:
            with contextlib.suppress(PersondetError):
                self.remove_folder(remote)
                raise
            error.args = (f"{error}; its folder {remote} could not be removed",)
            raise
        except BaseException:
            with contextlib.suppress(PersondetError):
                self.remove_folder(remote)
            raise
        else:
            self.remove_folder(remote)

    def free_bytes(self) -> int | None:
        """Free space of our folder; None where the device does not tell."""
        with contextlib.suppress(PersondetError, ValueError, IndexError):
            lines = self.check(["df", "-k", self.folder], what="asking for space").stdout.split(
                "\n"
            )
            numbers = [word for word in " ".join(lines[1:]).split() if word.isdigit()]
            return int(numbers[2]) * 1024
        return None

    def raise_if_full(self, text: str) -> None:
        """Raise InputError where a program's text says that the device's storage is full."""
        if any(words in text for words in _FULL):
            free = self.free_bytes()
            left = "" if free is None else f" ({free / 2**20:.0f} MiB free)"
            raise InputError(
                f"the storage of {self.name} is full: {self.folder}{left}; remove files there, or "
                f"name a folder with more room by the variable {FOLDER_VARIABLE}"
            )

    def close(self) -> None:
        self._link.close()

    def _copied(
        self, copy: Callable[[], None], is_whole: Callable[[], bool], what: Callable[[], str]
    ) -> None:
        """Copy until the copy is whole; the last attempt's failure is the error."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                copy()
                if is_whole():
                    return
                failure = PersondetError(
                    f"copying {what()}: another sha256 arrived, {_ATTEMPTS} times; check the cable "
                    "or network, and the device's storage"
                )
            except InputError:
                raise
            except PersondetError as error:
                self.raise_if_full(str(error))
                failure = error
            if attempt < _ATTEMPTS:
                time.sleep(_PAUSE_S)
        raise failure


@contextlib.contextmanager
def open_transport(device: str) -> Iterator[Transport]:
    """Reach a device and make our folder on it.

    device: `adb`, `adb:SERIAL`, `ssh:USER@HOST[:PORT]` or `local`. Raises InputError for another
    word and where the device cannot be reached, saying what to do.
    """
    link = _link(device)
    try:
        folder = os.environ.get(FOLDER_VARIABLE) or f"{link.home()}/persondet"
        if not folder.startswith("/"):
            raise InputError(f"{FOLDER_VARIABLE}={folder}: expected an absolute path on the device")
        transport = Transport(link, folder)
        transport.make_folder(folder)
        yield transport
    finally:
        link.close()


def _link(device: str) -> Link:
    kind, _, address = device.partition(":")
    if device == "local":
        from benchmarks.devices.local import LocalLink

        return LocalLink()
    if kind == "adb":
        from benchmarks.devices.adb import AdbLink

        return AdbLink(address)
    if kind == "ssh":
        from benchmarks.devices.ssh import SshLink

        return SshLink(address)
    raise InputError(f"--device {device}: expected {DEVICE_FORMS}")


def _said(finished: Finished) -> str:
    """The end of what a program said, for a message."""
    lines = (finished.stderr.strip() or finished.stdout.strip()).splitlines()[-5:]
    return "\n  ".join(lines) or "it said nothing"
