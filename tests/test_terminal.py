"""What is printed: valid UTF-8 and JSON in every locale, and nothing that a terminal obeys."""

import ast
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_detector import outputs_with, save_onnx

from persondet.terminal import (
    guard,
    printable,
    shell_line,
    shell_word,
    unguarded,
    without_passwords,
)
from runtime.output import json_line

ROOT = Path(__file__).parents[1]
PERSONDET = [sys.executable, "-m", "persondet.cli"]
NAMES = (
    b"caf\xe9.png",
    "gr\u00f6\u00dfe \u96ea.png".encode(),
    b"red\x1b[31m\x1b]0;title\x07.png",
    b"c1\xc2\x9b31m.png",
)
LOCALES = (
    {},
    {"LC_ALL": "C"},
    {"PYTHONIOENCODING": "utf-8:strict"},
    {"PYTHONIOENCODING": "latin-1:strict"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},  # ASCII, as in old containers
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n\u96ea", "plain\ttext\n\u96ea"),
        ("\x1b[31m \x07 \x7f \x9b \r\n", "\\x1b[31m \\x07 \\x7f \\x9b \n"),
        ("over\rwritten", "over\\x0dwritten"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("caf\udce9", "caf\\xe9"),
        ("gr\udcc3\udcb6\udcc3\udc9f\udcff", "gr\u00f6\u00df\\xff"),
        ("\udcc2\udc9b", "\\x9b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_printable_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:s3cret@10.0.0.2:554/a", "rtsp://admin:***@10.0.0.2:554/a"),
        ("cannot read rtsp:/u:p@h/x; check", "cannot read rtsp:/u:***@h/x; check"),
        ("http://u:p@ss/w@cam/1", "http://u:***@cam/1"),
        ("http://:p@cam", "http://:***@cam"),
        ("http://c/v?user=a&pwd=b&Token=c#d", "http://c/v?user=a&pwd=***&Token=***"),
        ("http://host:80/path", "http://host:80/path"),
        ("https://user@host/x", "https://user@host/x"),
        ('{"a": "http://x:1", "b": "c@d"}', '{"a": "http://x:1", "b": "c@d"}'),
        ("ssh:root@board:22", "ssh:root@board:22"),
    ],
)
def test_passwords_in_addresses_are_masked(text, shown):
    assert without_passwords(text) == shown


def test_a_guarded_stream():
    inner = io.StringIO()
    stream = guard(inner)
    print("caf\udce9\x1b[1m", file=stream)
    stream.writelines(["http://a:b@c\n"])
    assert inner.getvalue() == "caf\\xe9\\x1b[1m\nhttp://a:***@c\n"
    assert unguarded(stream) is inner
    assert unguarded(inner) is inner
    assert not stream.isatty()


WORDS = (
    "plain",
    "",
    "two words",
    "it's",
    "$HOME `x`",
    "a\nb\t",
    "caf\udce9'\\x",
    "\x1b[31m",
    "\u96ea",
)


def test_a_shell_line_is_read_back_to_the_byte():
    line = shell_line(("printf", r"%s\0", *WORDS))
    assert "\n" not in line
    assert printable(line) == line
    done = subprocess.run(["bash", "-c", line.encode()], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(word) for word in WORDS]
    assert shell_word("plain.png") == "plain.png"


def test_a_name_in_json_comes_back_to_the_byte():
    for name in NAMES:
        line = json_line({"path": os.fsdecode(name)})
        assert printable(line) == line
        assert os.fsencode(json.loads(line.encode("utf-8"))["path"]) == name
    assert "gr\u00f6\u00dfe" in json_line({"path": "gr\u00f6\u00dfe"})


def test_json_with_letters_as_they_are_comes_from_one_place():
    """json.dumps alone gives ASCII; what gives more has to escape what is unprintable."""
    makers = {
        path.relative_to(ROOT).as_posix()
        for room in ("persondet", "runtime", "export", "quantize", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "ensure_ascii"
    }
    # The second is for messages, which are escaped when they are printed.
    assert makers == {"runtime/output.py", "persondet/wording.py"}


@pytest.fixture
def model(tmp_path):
    return save_onnx(tmp_path / "tiny.onnx", outputs_with({23: (0, 0, 9)}))


@pytest.fixture
def pictures(tmp_path):
    """Files with names as an archive from another system may hold them, and one that is broken."""
    folder = os.fsencode(tmp_path) + b"/d\xe9"
    data = cv2.imencode(".png", np.full((48, 80, 3), 90, np.uint8))[1].tobytes()
    try:
        os.mkdir(folder)  # noqa: PTH102
        for name in NAMES:
            with open(os.path.join(folder, name), "wb") as file:  # noqa: PTH118, PTH123
                file.write(data)
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    with open(folder + b"/broken\xe9\x1b[31m.png", "wb") as file:  # noqa: PTH123
        file.write(b"no picture")
    return folder


def run(*arguments, env=None, check=True):
    done = subprocess.run(
        [*PERSONDET, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        timeout=120,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode("utf-8", "replace")
    for stream in (done.stdout, done.stderr):
        text = stream.decode("utf-8")
        assert printable(text) == text
    return done


@pytest.mark.parametrize("env", LOCALES)
def test_every_name_is_printed_in_every_locale(model, pictures, tmp_path, env):
    done = run("detect", model, pictures, "--json", "--coco", tmp_path / "coco.json", env=env)
    assert done.returncode == 2
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found = {os.fsencode(record["path"]) for record in records}
    assert found == {os.path.join(pictures, name) for name in NAMES}  # noqa: PTH118
    assert b"broken\\xe9\\x1b[31m.png" in done.stderr
    listed = {entry["file_name"] for entry in json.loads((tmp_path / "coco.json").read_bytes())}
    assert {os.fsencode(name) for name in listed} == set(NAMES)


@pytest.mark.parametrize("env", LOCALES[1:3])
def test_lines_for_people_in_every_locale(model, pictures, env):
    done = run("detect", model, pictures, "--out", pictures + b"/drawn", env=env)
    lines = done.stdout.decode("utf-8")
    assert "/caf\\xe9.png: 1 head" in lines
    assert "/gr\u00f6\u00dfe \u96ea.png: 1 head" in lines
    assert (
        "/red\\x1b[31m\\x1b]0;title\\x07.png: 1 head" in lines
    )  # a pipe gets what a terminal does
    assert sorted(os.listdir(pictures + b"/drawn")) == sorted(NAMES)  # noqa: PTH208


def test_a_terminal_gets_no_escape_of_a_name(model, pictures):
    terminal, side = pty.openpty()
    try:
        subprocess.run(
            [*PERSONDET, "detect", model, pictures],
            stdout=side,
            stderr=side,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
            timeout=120,
        )
        shown = os.read(terminal, 100_000)
    finally:
        os.close(side)
        os.close(terminal)
    assert b"red\\x1b[31m" in shown
    assert b"broken\\xe9\\x1b[31m.png" in shown
    assert b"\x1b" not in shown


LINES_BESIDE_A_BAR = """
import sys
from persondet.terminal import guard_standard_streams
guard_standard_streams()
from persondet.cli.progress import progress_bar
with progress_bar("working", 2) as advance:
    print("caf\\udce9 \\x1b[31m \\x1b]0;title\\x07 \\x9b", file=sys.stderr)
    advance()
print("after \\x1b[32m", file=sys.stderr)
"""


def test_no_escape_reaches_the_terminal_beside_a_bar():
    terminal, side = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    try:
        subprocess.run([sys.executable, "-c", LINES_BESIDE_A_BAR], stderr=side, env=env, check=True)
        shown = os.read(terminal, 100_000)
    finally:
        os.close(side)
        os.close(terminal)
    assert b"\x1b[?25l" in shown  # the bar's own escapes do: it hides the cursor
    assert rb"caf\xe9 \x1b[31m \x1b]0;title\x07 \x9b" in shown
    assert rb"after \x1b[32m" in shown


@pytest.mark.parametrize("force", ["", "1"])
def test_a_recorded_command_is_shown_without_its_escapes(force):
    """As `info` shows it: in a table, on a terminal (which FORCE_COLOR stands for) and a pipe."""
    code = (
        "from persondet.terminal import guard_standard_streams\n"
        "guard_standard_streams()\n"
        "from benchmarks.tables import labelled_lines, new_table, print_to_stdout\n"
        "table = new_table('layer \\x1b[1m', numbers=['n'])\n"
        "table.add_row('conv\\x9b\\x1b]0;x\\x07', '1')\n"
        "print_to_stdout('title \\x1b[31m', labelled_lines([('Command', 'a \\x1b[2J b')]), table)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    env |= {"FORCE_COLOR": force} if force else {}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    text = done.stdout.decode("utf-8")
    for words in (r"title \x1b[31m", r"a \x1b[2J b", r"conv\x9b\x1b]0;x\x07", r"layer \x1b[1m"):
        assert words in text
    for raw in ("\x1b[2J", "\x1b]0", "\x9b", "\x07", "\x1b[31m"):
        assert raw not in text


@pytest.mark.parametrize("env", LOCALES[1:4])
def test_a_dry_run_in_a_pipe_names_the_file_exactly(tmp_path, env):
    path = os.fsencode(tmp_path) + "/gr\u00f6\u00dfe ".encode() + b"\xe9\x1b[1m $x'.onnx"
    save_onnx(Path(os.fsdecode(path)), outputs_with({23: (0, 0, 9)}))
    options = ("--dry-run", "--toolchain", "snpe", "--sdk-version", "2.10")
    done = run("convert", path, *options, env=env)
    assert done.returncode == 0
    line = done.stdout.splitlines()[-1]
    script = b"snpe-onnx-to-dlc() { printf '%s\\0' \"$@\"; }\n" + line
    words = subprocess.run(["bash"], input=script, capture_output=True, check=True).stdout
    assert path in words.split(b"\0")


def test_no_password_in_a_message(model):
    address = "rtsp://admin:s3cret@127.0.0.1:1/stream"
    for command in ("live", "detect"):
        done = run(command, model, address)
        assert done.returncode == 2
        assert b"s3cret" not in done.stderr
        assert b"admin:***@127.0.0.1" in done.stderr
