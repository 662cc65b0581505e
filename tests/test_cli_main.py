"""The entry point: exit codes, output that cannot be written, signals."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

PERSONDET = [sys.executable, "-m", "persondet.cli"]
FULL = "/dev/full"
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason="needs /dev/full")  # noqa: PTH110


def run(*arguments, stdout=subprocess.PIPE):
    done = subprocess.run(
        [*PERSONDET, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize("arguments", [["--help"], ["models", "--help"], ["models", "--json"]])
def test_a_full_disk_under_standard_output(arguments):
    with open(FULL, "w") as full:  # noqa: PTH123
        code, stderr = run(*arguments, stdout=full)
    assert code == 2
    assert stderr.startswith("persondet: cannot write the output: No space left on device")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--json"]])
def test_a_reader_that_went_away(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        assert run(*arguments, stdout=pipe) == (128 + signal.SIGPIPE, "")


def test_standard_output_closed():
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *PERSONDET, "models"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("persondet: standard output is closed")
    assert len(done.stderr.splitlines()) == 1


def waiting(before: str = "", *, marker: str) -> subprocess.Popen:
    """A process that runs `before`, then a command that says the marker and sleeps."""
    code = f"""
        import time, click
        {before}
        from persondet.cli import cli, main
        import persondet.cli.models
        @click.command()
        def command():
            try:
                print("{marker}", flush=True)
                time.sleep(60)
            finally:
                print("cleaned up", flush=True)
        persondet.cli.models.command = command
        import sys
        sys.argv[1:] = ["models"]
        main()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "ended by SIGTERM"),
        (signal.SIGHUP, "ended by SIGHUP"),
    ],
)
def test_signals_that_end_a_program_leave_it_clean(number, words):
    process = waiting(marker="ready")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (128 + number, "cleaned up\n")
    assert stderr.strip() == f"persondet: {words}; nothing half-written was left behind"


def test_a_mistyped_command_gets_a_suggestion():
    code, stderr = run("trian", "--epochs", "3")
    assert code == 2 and "No such command 'trian'. Did you mean train?" in stderr
    code, stderr = run("xyz")
    assert code == 2 and stderr.rstrip().endswith("No such command 'xyz'.")


def test_a_hangup_that_is_ignored_stays_so():
    process = waiting("import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)", marker="ready")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)  # as nohup has it
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT); finished = True"
    )
    code = """if True:
        import sys, time
        import persondet.cli  # installs the handler, before click is imported
        from persondet.cli.interruption import Interruption
        try:
            sys.path.insert(0, sys.argv[1])
            import slow
            time.sleep(20)
        except Interruption as error:
            print(sys.modules["slow"].finished, error.number)
    """
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"True {signal.SIGINT:d}\n", "")


def test_without_click():
    code = "import sys; sys.modules['click'] = None; import persondet.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "persondet: the command line needs click and rich: pip install click rich"
    ]
