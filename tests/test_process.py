"""Programs that succeed, fail, hang, chatter and start others."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from export.process import run_process
from persondet.errors import InputError, PersondetError


def python(code: str, **options):
    options = {"what": "the test", "timeout_s": 30, **options}
    return run_process([sys.executable, "-c", code], **options)


def _ended(pid: int) -> bool:
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_code_and_both_streams_come_back_and_go_into_the_log(tmp_path: Path) -> None:
    log, seen = tmp_path / "log.txt", []
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    finished = python(code, log=log, on_line=seen.append)
    assert (finished.code, finished.stdout, finished.stderr) == (3, "out\n", "err\n")
    assert sorted(seen) == ["err", "out"]
    text = log.read_text()
    assert text.startswith(f"$ {sys.executable} -c") and text.endswith("exit code 3\n")
    assert {"out", "err"} <= set(text.split("\n"))


def test_a_chatty_program_does_not_block_on_either_stream() -> None:
    code = "import sys\nfor i in range(20000): print('x' * 40); print('y' * 40, file=sys.stderr)"
    finished = python(code)
    assert len(finished.stdout) == len(finished.stderr) == 20000 * 41


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert python("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_a_signal_is_a_negative_code() -> None:
    assert python("import os; os.kill(os.getpid(), 9)").code == -9


def test_words_reach_the_program_unchanged(tmp_path: Path) -> None:
    word = "a b; touch pwned $(id) '\""
    code = "import sys; print(sys.argv[1])"
    finished = run_process(
        [sys.executable, "-c", code, word], what="echo", timeout_s=30, cwd=tmp_path
    )
    assert finished.stdout == word + "\n"
    assert not list(tmp_path.iterdir())


def test_environment_folder_and_input_are_those_given(tmp_path: Path) -> None:
    given = tmp_path / "in.txt"
    given.write_text("hello")
    code = "import os, sys; print(os.getcwd(), os.environ.get('X'), sys.stdin.read())"
    finished = python(code, env={"X": "1"}, cwd=tmp_path, stdin=given)
    assert finished.stdout == f"{tmp_path} 1 hello\n"


def test_what_cannot_be_started_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"converting: cannot start .*nothing: No such file"):
        run_process([tmp_path / "nothing"], what="converting", timeout_s=1)


_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_the_time_out_ends_the_whole_group() -> None:
    pids: list[str] = []
    with pytest.raises(PersondetError, match=r"the test did not finish in 1\.5 s and was stopped"):
        python(_PARENT, timeout_s=1.5, on_line=pids.append)
    assert _ended(int(pids[0]))


def test_a_program_that_leaves_a_server_behind_is_not_waited_for() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True)\n"
        "print(child.pid)"
    )
    finished = python(code)
    os.kill(int(finished.stdout), signal.SIGKILL)  # it lives: that is what the test needs


def test_a_program_that_closes_its_streams_and_hangs_is_stopped() -> None:
    code = "import os, time; os.close(1); os.close(2); time.sleep(60)"
    with pytest.raises(PersondetError, match=r"did not finish in 1 s"):
        python(code, timeout_s=1)


def test_ctrl_c_ends_the_whole_group() -> None:
    pids: list[str] = []

    def interrupt(line: str) -> None:
        pids.append(line)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        python(_PARENT, on_line=interrupt)
    assert _ended(int(pids[0]))
