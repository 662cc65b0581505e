"""export.child: a child's result, and every way of not getting one."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export import child
from export.child import run_module
from persondet import orphan
from persondet.errors import PersondetError

_POPEN = subprocess.Popen


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write the module `job` that the child runs; it finds RESULT and the arguments in argv."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)

    def write(body: str) -> str:
        text = f"import json, os, pathlib, sys, time\nresult = pathlib.Path(sys.argv[1])\n{body}\n"
        (tmp_path / "job.py").write_text(text)
        return "job"

    yield write
    assert list((tmp_path / "tmp").iterdir()) == []


def _run(module: str, *arguments: str | Path, timeout_s: float = 30) -> dict:
    return run_module(module, arguments, what="counting", timeout_s=timeout_s)


def test_the_result_comes_back(module, tmp_path) -> None:
    job = module("result.write_text(json.dumps({'argv': sys.argv[2:], 'name': __name__}))")
    odd = tmp_path / "a b;$(touch x).onnx"
    assert _run(job, "1", odd) == {"argv": ["1", str(odd)], "name": "__main__"}


def test_what_the_child_prints_is_not_ours(module, capfd) -> None:
    job = module("print('chatter'); os.write(2, b'more'); result.write_text('{}')")
    assert _run(job) == {}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "print('x' * 9); sys.exit(3)",
            r"^counting failed \(exit code 3\); its last lines:\n  x{9}$",
        ),
        ("raise ValueError('why')", r"^counting failed \(exit code 1\)[\s\S]*ValueError: why$"),
        ("pass", r"^counting failed \(exit code 0\), and said nothing$"),
        ("os.kill(os.getpid(), 11)", r"^counting crashed inside a native library \(SIGSEGV\)"),
        ("os.abort()", r"crashed inside a native library \(SIGABRT\)"),
        ("os.kill(os.getpid(), 9)", r"was killed \(SIGKILL\), which the system does when memory"),
    ],
)
def test_failures(module, body, message) -> None:
    with pytest.raises(PersondetError, match=message):
        _run(module(body))


def test_only_the_last_lines_are_told(module) -> None:
    job = module("print(*range(100), sep='\\n'); sys.exit(1)")
    with pytest.raises(PersondetError) as caught:
        _run(job)
    assert str(caught.value).splitlines()[1:] == [f"  {number}" for number in range(88, 100)]


def test_a_child_that_hangs_is_stopped_with_its_own_children(module, tmp_path) -> None:
    pids = tmp_path / "pids"
    job = module(
        "import subprocess\n"
        "other = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{other.pid}}')\n"
        "time.sleep(60)"
    )
    with pytest.raises(PersondetError, match=r"^counting did not finish in 2 s and was stopped$"):
        _run(job, timeout_s=2)
    for pid in pids.read_text().split():
        _assert_ends(int(pid))


def test_a_module_in_the_working_folder_is_not_taken_for_ours(
    module, tmp_path, monkeypatch
) -> None:
    job = module("import export.socs; result.write_text(json.dumps([export.__file__]))")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "export.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(elsewhere)
    assert _run(job) == [str(Path(child.__file__).with_name("__init__.py"))]


def test_ctrl_c_amid_starting_the_child_does_not_lose_it(module, monkeypatch) -> None:
    started = []
    before = signal.getsignal(signal.SIGINT)

    def interrupted(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        started.append(_POPEN(*arguments, **options))
        return started[0]

    monkeypatch.setattr(child.subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run(module("time.sleep(60)"))
    assert started[0].poll() == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_may_start_a_child(module) -> None:
    with ThreadPoolExecutor() as pool:
        assert pool.submit(_run, module("result.write_text('{}')")).result() == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_does_not_outlive_us(module, tmp_path, number) -> None:
    pid_file = tmp_path / "pid"
    job = module(
        f"pathlib.Path({str(pid_file)!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.rename({str(pid_file)!r} + '.new', {str(pid_file)!r})\n"
        "time.sleep(60)"
    )
    code = f"from export.child import run_module; run_module({job!r}, [], what='x', timeout_s=60)"
    ours = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    _wait_for(pid_file.exists)
    ours.send_signal(number)
    ours.wait(10)
    _assert_ends(int(pid_file.read_text()))
    for left in (tmp_path / "tmp").iterdir():  # SIGKILL and SIGTERM leave the folder
        assert number != signal.SIGINT
        for file in left.iterdir():
            file.unlink()
        left.rmdir()


def _assert_ends(pid: int) -> None:
    _wait_for(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(condition, timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_the_parent_is_checked(monkeypatch) -> None:
    """It may have ended before the child asked the kernel to be told."""
    monkeypatch.setattr(orphan.ctypes, "CDLL", lambda _: type("C", (), {"prctl": lambda *_: 0}))
    orphan.end_with_parent(os.getppid())
    with pytest.raises(SystemExit):
        orphan.end_with_parent(os.getpid())
