"""The command line: the composition root. It looks into every room; nobody imports it.

Commands are named here with their help line and imported when called, so that `persondet --help`
loads neither torch nor onnxruntime.
"""

import contextlib
import difflib
import errno
import faulthandler
import os
import signal
import sys
from importlib import import_module

from persondet import __version__
from persondet.cli.interruption import Interruption, interrupt_by
from persondet.errors import InputError, PersondetError, missing_package
from persondet.terminal import guard_standard_streams

interrupt_by(signal.SIGINT)  # from here on: a traceback out of click's import helps nobody

try:
    import click
except ImportError:  # a device installs runtime/ alone
    print(
        "persondet: the command line needs click and rich: pip install click rich",
        file=sys.stderr,
    )
    sys.exit(InputError.exit_code)

# command: (module in this package, help line), in the order in which a user meets them
COMMANDS = {
    "demo": ("demo", "Run the whole chain on real pictures and show every result."),
    "init": ("init", "Write an untrained checkpoint of a network."),
    "export": ("export", "Checkpoint (.pth) to ONNX."),
    "convert": ("convert", "ONNX to DLC."),
    "equalize": (
        "equalize",
        "Rescale channels so that 8 bits hold them; float ONNX to float ONNX.",
    ),
    "quantize": ("quantize", "ONNX and calibration pictures to a quantized DLC."),
    "detect": ("detect", "Find persons or heads in pictures."),
    "decode": ("decode", "Boxes from the raw outputs of your own snpe-net-run."),
    "live": ("live", "Find persons or heads in a video or a camera."),
    "anchors": ("anchors", "Statistics of annotated boxes, and anchors that fit them."),
    "info": ("info", "Parameters, MACs and memory, layer by layer."),
    "compare": ("compare", "Outputs and detections of two or more models side by side."),
    "evaluate": ("evaluate", "Average precision, miss rates and sizes on annotated pictures."),
    "benchmark": ("benchmark", "Latency, stage by stage."),
    "train": ("train", "Train a detector on annotated pictures."),
    "label": ("label", "Annotate pictures by a model, to train another one on."),
    "doctor": ("doctor", "What is installed here, what is wrong with it, and what to do."),
    "models": ("models", "The networks and models known by name."),
}


# Reasons to refuse a file that are never a bug of ours.
_REFUSED = (
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP),
    *(errno.ENOSPC, errno.EDQUOT),
)


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            return import_module(f"persondet.cli.{module}").command
        except ModuleNotFoundError as error:
            raise missing_package(error) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = difflib.get_close_matches(name, COMMANDS, n=2)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Take a PyTorch SSD person or head detector to Qualcomm SNPE DLC.

    A MODEL is a .pth, .onnx or .dlc file, or a name that `persondet models` lists.
    """
    from persondet.cli.notes import notes_of_the_log

    context.with_resource(notes_of_the_log())


def main() -> None:
    """Entry point.

    Exit codes: 0 success; 1 a tool failed; 2 the user's mistake, a full disk under standard output
    among them; 128 + the signal's number where one ended the run: 130 Ctrl-C, 143 SIGTERM, 129
    SIGHUP, and 141 (SIGPIPE) where the reader of the output went away: `persondet ... | head`.
    """
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in native code says at least where it was
    interrupt_by(signal.SIGTERM, signal.SIGHUP)
    guard_standard_streams()
    try:
        code = _run()
    except OSError as error:
        code = _output_failed(error)
    sys.exit(code)


def _run() -> int:
    """Run the command; returns the exit code.

    Not click's own `main`: that exits with 1 where the reader of the output went away.
    """
    try:
        if sys.stdout is None:
            raise InputError("standard output is closed; to see nothing, send it to /dev/null")
        if "_PERSONDET_COMPLETE" in os.environ:
            cli.main(prog_name="persondet")  # completes the shell's line and exits
        # color: click must not take escapes out of a name, which `Printable` shows, only for pipes.
        with cli.make_context("persondet", sys.argv[1:], color=True) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        return _interrupted(error.number if isinstance(error, Interruption) else signal.SIGINT)
    except PersondetError as error:
        _say(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        failure = missing_package(error)
        if failure is error:
            raise
        _say(str(failure))
        return InputError.exit_code
    return 0


def _interrupted(number: int) -> int:
    if number == signal.SIGINT:
        _say("interrupted; nothing half-written was left behind", before="\n")  # after the ^C
    else:
        _say(f"ended by {signal.Signals(number).name}; nothing half-written was left behind")
    return 128 + number


def _output_failed(error: OSError) -> int:
    """The exit code where standard output could not be written, or the system refuses a file that
    the user named; raises any other error again."""
    if error.filename is not None and error.errno in _REFUSED:
        _say(f"cannot use {os.fsdecode(error.filename)}: {error.strerror}; name another place")
        return InputError.exit_code
    if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
        raise error
    with contextlib.suppress(OSError):  # what is still buffered would fail again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 128 + signal.SIGPIPE
    _say(f"cannot write the output: {error.strerror}; check the place that it goes to")
    return InputError.exit_code


def _say(message: str, before: str = "") -> None:
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"{before}persondet: {message}", file=sys.stderr)
