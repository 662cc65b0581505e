"""A real OpenSSH server on a loopback port, with keys made for it."""

import json
import os
import shlex
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from giving_up import assert_ended, interrupted_when
from ssh_server import SshServer, ssh_server
from tiny_detector import SPEC, outputs_with, save_onnx

from benchmarks.devices import transport as module
from benchmarks.devices.python_board import open_python_board
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.ssh import SshLink
from benchmarks.devices.transport import open_transport
from persondet.cli import cli
from persondet.errors import InputError

NASTY = "a b;touch x$(id)'"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def board(running: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshServer:
    """The server, reached with our key; the device's folder has a name with everything in it."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    monkeypatch.setenv("PERSONDET_SSH_OPTIONS", running.options)
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / f"device {NASTY}"))
    monkeypatch.setenv("PERSONDET_DEVICE_PYTHON", sys.executable)
    monkeypatch.setenv("TMPDIR", str(_made(tmp_path / "t")))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return running


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def refused(device: str, match: str) -> None:
    with pytest.raises(InputError, match=match), open_transport(device):
        pass


def test_files_and_commands(board: SshServer, tmp_path: Path) -> None:
    given = tmp_path / NASTY
    given.write_bytes(bytes(range(256)) * 4000 + b"odd")
    with open_transport(board.device) as device:
        remote = f"{device.folder}/{NASTY}"
        assert device.push(given, remote) is True
        assert device.push(given, remote) is False
        device.pull(remote, tmp_path / "back")
        finished = device.run(
            ["sh", "-c", 'echo "$V $1"; pwd; echo err >&2; exit 255', "sh", NASTY],
            timeout_s=30,
            env={"V": "$HOME;"},
            cwd=device.folder,
        )
    assert (tmp_path / "back").read_bytes() == given.read_bytes()
    assert finished.stdout == f"$HOME; {NASTY}\n{device.folder}\n"
    assert (finished.code, finished.stderr) == (255, "err\n")
    assert list((tmp_path / "t").iterdir()) == []


def test_its_own_folder_is_in_the_user_s_cache(board: SshServer, monkeypatch) -> None:
    monkeypatch.delenv("PERSONDET_DEVICE_FOLDER")
    link = SshLink(board.device.removeprefix("ssh:"))
    assert link.home().endswith("/.cache")
    link.close()
    link.close()


@pytest.mark.parametrize(
    "address", ["", "-oProxyCommand=id", "u@-h", "host;id", "a b", "h:port", "$(id)@h", "u@h:22:1"]
)
def test_an_address_is_no_option_and_no_command(address: str) -> None:
    refused(f"ssh:{address}", r"expected ssh:USER@HOST or ssh:USER@HOST:PORT")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ("-F /dev/null -i {key} -o UserKnownHostsFile=/dev/null", r"host key is not known here"),
        ("-F /dev/null -i {other} -o IdentitiesOnly=yes -o UserKnownHostsFile={known}",
         r"Permission denied.*; no key of yours is accepted there: `ssh-copy-id`"),
        ("-o NoSuchOption=1", r"Bad configuration option.*check PERSONDET_SSH_OPTIONS"),
        ("'", r"PERSONDET_SSH_OPTIONS: No closing quotation"),
    ],
)  # fmt: skip
def test_boards_that_do_not_let_us_in(board, monkeypatch, options: str, match: str) -> None:
    places = {"key": "key", "other": "host_key", "known": "known_hosts"}
    quoted = {name: shlex.quote(str(board.folder / file)) for name, file in places.items()}
    monkeypatch.setenv("PERSONDET_SSH_OPTIONS", options.format(**quoted))
    refused(board.device, match)
    assert list(Path(os.environ["TMPDIR"]).iterdir()) == []


def test_no_server(board: SshServer) -> None:
    refused("ssh:root@127.0.0.1:1", r"Connection refused; no ssh server answers at that port")
    refused("ssh:no-such-host.invalid", r"Could not resolve hostname.*; check the name")


def test_a_command_that_is_given_up_ends_on_the_board(board, tmp_path, monkeypatch) -> None:
    ready = tmp_path / "pid"
    script = f"echo $$ > {shlex.quote(str(ready))}; exec sleep 60"
    with open_transport(board.device) as device:
        interrupted_when(ready, monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            device.run(["sh", "-c", script], timeout_s=60)
        assert_ended(ready)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_onnx(tmp_path / f"{NASTY}.onnx", outputs_with({3: (0, 9, 0)}))


def test_a_model_runs_on_the_board(board: SshServer, model: Path, tmp_path: Path) -> None:
    tensors = [np.full(SPEC.input_shape, number, np.float32) for number in range(3)]
    with (
        open_transport(board.device) as device,
        open_python_board(device, model, SPEC, threads=1) as there,
    ):
        runs = there.run(tensors, warmup=1, rounds=4)
        assert list(Path(device.folder).glob("persondet-run-*/model.onnx"))
    np.testing.assert_array_equal(
        runs.outputs["scores"][1:2], outputs_with({3: (0, 9, 0)})["scores"]
    )
    assert runs.durations_ns.shape == (4, 3) and runs.durations_ns.min() > 0
    assert runs.init_ns > 0 and runs.device.startswith("CPU, onnxruntime")
    assert [path.suffix for path in Path(device.folder).iterdir()] == [".zip"]
    assert list((tmp_path / "t").iterdir()) == []


def test_compare_and_benchmark_reach_the_board(board, model, tmp_path) -> None:
    pictures = _made(tmp_path / "pictures")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40, 3), np.uint8)
        cv2.imwrite(str(pictures / f"{number} {NASTY}.png"), pixels)

    def run(command: str, *words) -> dict:
        argv = [command, str(model), *map(str, words), "--device", board.device, "--json"]
        return json.loads(CliRunner().invoke(cli, argv, catch_exceptions=False).stdout)

    compared = run("compare", "--images", pictures)
    assert compared["images"] == 3
    assert compared["pairs"][0]["model"] == f"{model} on {board.device}"
    words = ("--runs", 2, "--threads", 1)
    measured = run("benchmark", "--image", pictures / f"0 {NASTY}.png", *words)
    assert board.device in json.dumps(measured) and '"p99' in json.dumps(measured)
    assert list((tmp_path / "t").iterdir()) == []
    assert not list((tmp_path / f"device {NASTY}").glob("persondet-run-*"))


def test_a_board_that_loses_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "device"))
    monkeypatch.setenv("TMPDIR", str(_made(tmp_path / "t")))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)

    def cut(server: SshServer) -> None:
        for _ in range(200):
            if (tmp_path / "started").exists():
                break
            time.sleep(0.05)
        server.stop()

    def work(device) -> None:
        with device.run_folder():
            script = f"touch {shlex.quote(str(tmp_path / 'started'))}; exec sleep 20"
            device.run(["sh", "-c", script], timeout_s=60)

    with ssh_server(tmp_path / "sshd") as server:
        monkeypatch.setenv("PERSONDET_SSH_OPTIONS", server.options)
        threading.Thread(target=cut, args=(server,), daemon=True).start()
        match = r"ssh:.* went away in the middle .*; its folder .*/persondet-run-\S+ could not be"
        with pytest.raises(DeviceLostError, match=match), open_transport(server.device) as device:
            work(device)
    assert list((tmp_path / "t").iterdir()) == []
