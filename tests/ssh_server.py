"""An OpenSSH server on a loopback port, with keys made for it, until the block ends."""

import contextlib
import getpass
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PrintMotd no
"""


@dataclass
class SshServer:
    """options: for PERSONDET_SSH_OPTIONS. device: for --device."""

    folder: Path
    port: int
    process: subprocess.Popen

    @property
    def device(self) -> str:
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def options(self) -> str:
        words = ["-F", "/dev/null", "-i", str(self.folder / "key"), "-o", "IdentitiesOnly=yes"]
        words += ["-o", f"UserKnownHostsFile={self.folder}/known_hosts"]
        return shlex.join(words)

    def stop(self) -> None:
        """The server and its connections: a board that loses power."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        ).stdout.split()
        self.process.kill()
        self.process.wait()
        for child in children:
            subprocess.run(["kill", "-9", child], check=False)


def missing_program() -> str | None:
    """Why no server can be started here; None where one can."""
    if sys.platform != "linux":
        return "starts an OpenSSH server on Linux only"
    for program in ("ssh", "ssh-keygen", "ps"):
        if shutil.which(program) is None:
            return f"needs the program {program}"
    return None if _sshd() else "needs OpenSSH's server: apt install openssh-server"


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Skips the test where OpenSSH is missing or does not start."""
    if reason := missing_program():
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("key", "host_key"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    port = _free_port()
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=folder))
    with contextlib.suppress(OSError):  # sshd's own, made at boot; only root's sshd needs it
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [str(_sshd()), "-D", "-e", "-f", str(folder / "sshd_config")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    server = SshServer(folder, port, process)
    try:
        _wait_for(server)
        yield server
    finally:
        log.close()
        server.stop()


def _wait_for(server: SshServer) -> None:
    for _ in range(200):
        if server.process.poll() is not None:
            pytest.skip(f"sshd does not start: {(server.folder / 'log').read_text()}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
            break
        time.sleep(0.05)
    words = ["ssh", *shlex.split(server.options), "-o", "BatchMode=yes", "-p", str(server.port)]
    login = subprocess.run([*words, f"{getpass.getuser()}@127.0.0.1", "true"], capture_output=True)
    if login.returncode != 0:  # a locked account, for one
        pytest.skip(f"sshd lets nobody in: {(server.folder / 'log').read_text()[-500:]}")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _sshd() -> str | None:
    """With its whole path, as it starts itself again."""
    return shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
