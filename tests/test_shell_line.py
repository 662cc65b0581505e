"""Words, exit codes and ends of connections through a real shell."""

import subprocess
import sys
from pathlib import Path

import pytest
from giving_up import assert_ended, interrupted_when

from benchmarks.devices.shell_line import (
    DeviceLostError,
    parse_finished,
    receiving_line,
    run_line,
    shell_line,
)
from export.process import Finished
from persondet.errors import InputError

NASTY = [
    "a b;touch x$(id)'.dlc",
    '"; rm -rf "$HOME',
    "`id`",
    "-rf",
    "line\nbreak",
    "\\",
    "*?[a]~",
    "$PATH",
    "a&b|c>d<e",
    "",
    "ä日本",
    "!!",
]


def through_sh(argv, **options):
    return run_line(
        ["sh", "-c"],
        shell_line(argv, **options),
        what="the test",
        timeout_s=30,
        explain=lambda process: DeviceLostError(f"lost: {process.stderr}"),
    )


@pytest.mark.parametrize("word", NASTY)
def test_a_word_is_a_word(word: str, tmp_path: Path) -> None:
    code = "import sys, os; sys.stdout.buffer.write(sys.argv[1].encode() + os.environb[b'V'])"
    finished = through_sh([sys.executable, "-c", code, word], env={"V": word}, cwd=str(tmp_path))
    assert (finished.code, finished.stdout, finished.stderr) == (0, word + word, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", [word for word in NASTY if word])
def test_a_folder_or_file_is_a_name(word: str, tmp_path: Path) -> None:
    folder = tmp_path / word
    folder.mkdir()
    (tmp_path / "given").write_bytes(b"\x00\xff\n")
    line = receiving_line(f"{folder}/{word}.bin")
    process = subprocess.run(["sh", "-c", line], input=b"\x00\xff\n", capture_output=True)
    assert process.stdout == b"\npersondet-exit=0\n"
    assert [path.name for path in folder.iterdir()] == [f"{word}.bin"]
    assert through_sh(["pwd"], cwd=str(folder)).stdout == f"{folder}\n"


def test_zero_bytes_and_odd_variables_are_refused() -> None:
    with pytest.raises(InputError, match=r"'a\\x00b' holds a zero byte"):
        shell_line(["a\0b"])
    with pytest.raises(InputError, match=r"'A;id' is no name of an environment variable"):
        shell_line(["true"], {"A;id": "1"})


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_code_is_the_command_s_own(code: int) -> None:
    finished = through_sh(["sh", "-c", f"echo out; echo err >&2; exit {code}"])
    assert (finished.code, finished.stdout, finished.stderr) == (code, "out\n", "err\n")


def test_a_program_or_folder_that_is_missing_is_a_code_with_words() -> None:
    assert through_sh(["no-such-program"]).code == 127
    finished = through_sh(["true"], cwd="/no/such/folder")
    assert finished.code != 0 and "/no/such/folder" in finished.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("persondet-pid=7\nout\n\npersondet-exit=0\n", (0, "out\n")),
        ("persondet-pid=7\nout\npersondet-exit=3\n", (3, "out")),
        ("Welcome!\npersondet-pid=7\nout\n\npersondet-exit=3\n", (3, "out\n")),
        ("persondet-pid=7\r\na\r\nb\r\n\r\npersondet-exit=9\r\n", (9, "a\nb\n")),
        ("persondet-pid=7\n\npersondet-exit=1\nfaked\n\npersondet-exit=2\n",
         (2, "\npersondet-exit=1\nfaked\n")),
        ("persondet-pid=7\nout\n", None),
        ("persondet-pid=7\nout\n\npersondet-exit=", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_comes_back(text: str, expected) -> None:
    finished = parse_finished(Finished((), 255, text, ""))
    assert (finished and (finished.code, finished.stdout)) == expected


def test_a_connection_that_ends_is_not_an_exit_code() -> None:
    with pytest.raises(DeviceLostError, match=r"^lost: gone"):
        run_line(
            ["sh", "-c", 'echo gone >&2; exit 255; "$0"'],
            shell_line(["true"]),
            what="the test",
            timeout_s=30,
            explain=lambda process: DeviceLostError(f"lost: {process.stderr}"),
        )


def test_a_command_that_is_given_up_is_ended_on_the_device(tmp_path: Path, monkeypatch) -> None:
    """The way there is a process of its own group, as ssh's server is: killing this side's program
    does not reach the command."""
    way, ready = tmp_path / "way", tmp_path / "pid"
    way.write_text('#!/bin/sh\nexec setsid -w sh -c "$1"\n')
    way.chmod(0o755)
    interrupted_when(ready, monkeypatch)
    code = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid()))\n"
    with pytest.raises(KeyboardInterrupt):
        run_line(
            [str(way)],
            shell_line([sys.executable, "-c", f"{code}time.sleep(60)"]),
            what="the test",
            timeout_s=60,
            explain=lambda process: AssertionError(process),
        )
    assert_ended(ready)
