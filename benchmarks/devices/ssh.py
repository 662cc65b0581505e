"""A device behind OpenSSH: a Qualcomm Linux board. Only `ssh` is needed here, only a shell there.

One connection is opened and shared by all commands. Files go through standard input and, as base64,
output: boards often have no sftp.
"""

import base64
import binascii
import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.devices.shell_line import DeviceLostError, receiving_line, run_line, shell_line
from export.process import Finished, run_process
from persondet.errors import InputError, PersondetError
from persondet.temporary import temporary_folder

OPTIONS_VARIABLE = "PERSONDET_SSH_OPTIONS"
_ADDRESS = re.compile(
    r"(?:(?P<user>\w[\w.-]*)@)?(?P<host>\w[\w.-]*|\[[0-9a-fA-F:.]+(?:%\w+)?\])(?::(?P<port>\d{1,5}))?"
)
_CONNECT_S = 60.0
_LONGEST_SOCKET = 80  # a Unix socket's path has 107 bytes; ssh adds a name of 17 while connecting

# What ssh says -> what to do. ssh has one exit code, 255, for all of its own failures.
_REMEDIES = (
    (
        "Host key verification failed",
        "its host key is not known here: log in once with `ssh`, and accept the key after "
        "comparing it",
    ),
    (
        "Permission denied",
        f"no key of yours is accepted there: `ssh-copy-id` installs one, and {OPTIONS_VARIABLE}="
        "'-i FILE' names another (passwords are not asked for)",
    ),
    ("Could not resolve hostname", "check the name, or use the address"),
    ("Connection refused", "no ssh server answers at that port: is sshd running there?"),
    ("No route to host", "check the network, and that the board is on"),
    ("timed out", "check the network, and that the board is on"),
    ("Bad configuration option", f"check {OPTIONS_VARIABLE} and your ssh configuration"),
    ("Identity file", f"check the file named in {OPTIONS_VARIABLE}"),
)


class SshLink:
    """See benchmarks.devices.transport.Link. address: `user@host`, `host:port`, or a Host of
    ~/.ssh/config.

    Raises InputError for another form, where ssh is not installed, and where the board does not
    let us in.
    """

    def __init__(self, address: str) -> None:
        match = _ADDRESS.fullmatch(address)
        if match is None:
            raise InputError(
                f"--device ssh:{address}: expected ssh:USER@HOST or ssh:USER@HOST:PORT"
            )
        if shutil.which("ssh") is None:
            raise InputError(
                "--device ssh: the program ssh is not installed: apt install openssh-client"
            )
        self.name = f"ssh:{address}"
        own = _own_options()
        self._temporary = contextlib.ExitStack()
        folder = temporary_folder("persondet-ssh-", Path(_place_for_socket()))
        self._folder = self._temporary.enter_context(folder)
        host = match["host"].strip("[]")
        self._destination = f"{match['user']}@{host}" if match["user"] else host
        port = ["-p", match["port"]] if match["port"] else []
        self._prefix = ["ssh", *own, *_settings(str(self._folder)), *port, "--", self._destination]
        self._connected = False
        try:
            self._home = self._log_in()
        except BaseException:
            self.close()
            raise
        self._connected = True

    def run(
        self,
        argv: Sequence[str],
        *,
        what: str,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> Finished:
        line = shell_line(argv, env, cwd)
        return run_line(
            self._prefix, line, what=what, timeout_s=timeout_s, explain=self._explanation
        )

    def send(self, local: Path, remote: str, timeout_s: float) -> None:
        finished = run_line(
            *(self._prefix, receiving_line(remote)),
            what=f"copying {local} to {self.name}",
            timeout_s=timeout_s,
            explain=self._explanation,
            stdin=local,
        )
        if finished.code != 0:
            raise PersondetError(f"copying {local} to {self.name}: {finished.stderr.strip()}")

    def fetch(self, remote: str, local: Path, timeout_s: float) -> None:
        what = f"copying {remote} from {self.name}"
        # without its line ends, as one line is read a hundred times as fast as many
        script = 'base64 < "$1" | tr -d "\\n"'
        finished = self.run(["sh", "-c", script, "sh", remote], what=what, timeout_s=timeout_s)
        try:
            local.write_bytes(base64.b64decode(finished.stdout, validate=True))
        except binascii.Error:
            raise PersondetError(
                f"{what}: {finished.stderr.strip() or 'it arrived torn'}"
            ) from None

    def home(self) -> str:
        return f"{self._home}/.cache"

    def close(self) -> None:
        """End the shared connection. Again is harmless."""
        if self._folder.exists():
            with contextlib.suppress(PersondetError):
                end = [*self._prefix[:-2], "-O", "exit", *self._prefix[-2:]]
                run_process(end, what="closing the connection", timeout_s=10.0)
            self._temporary.close()

    def _log_in(self) -> str:
        what = f"logging in to {self.name}"
        finished = self.run(["sh", "-c", "cd && pwd"], what=what, timeout_s=_CONNECT_S)
        lines = finished.stdout.strip().splitlines()
        if finished.code != 0 or not lines or not lines[-1].startswith("/"):
            raise PersondetError(f"{self.name} does not tell its home folder: {finished.stderr}")
        return lines[-1].rstrip("/")

    def _explanation(self, process: Finished) -> Exception:
        text = process.stderr.strip()
        said = (text.splitlines() or [f"ssh ended with {process.code} and said nothing"])[-1]
        if self._connected:
            return DeviceLostError(
                f"{self.name} went away in the middle ({said}); check its power and the network, "
                "and run again"
            )
        for words, remedy in _REMEDIES:
            if words in text:
                return InputError(f"cannot reach {self.name}: {said}; {remedy}")
        return InputError(
            f"cannot reach {self.name}: {said}; does `ssh {self._destination} true` work?"
        )


def _own_options() -> list[str]:
    """The user's; they come first, as ssh takes the first value that it is given."""
    try:
        return shlex.split(os.environ.get(OPTIONS_VARIABLE, ""))
    except ValueError as error:
        raise InputError(f"{OPTIONS_VARIABLE}: {error}") from None


def _place_for_socket() -> str:
    """The temporary folder, or a shorter one where its path is too long for a socket's."""
    place = tempfile.gettempdir()
    if len(place) > _LONGEST_SOCKET - 32 and os.access("/tmp", os.W_OK):
        return "/tmp"
    return place


def _settings(folder: str) -> list[str]:
    """No questions, a lost board noticed within 15 s, one connection through a socket in folder."""
    settings = ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=5"]
    settings += ["ServerAliveCountMax=3", "LogLevel=ERROR"]
    if len(folder) < _LONGEST_SOCKET:
        settings += ["ControlMaster=auto", f"ControlPath={folder}/socket", "ControlPersist=120"]
    return [word for setting in settings for word in ("-o", setting)]
