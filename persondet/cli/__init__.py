"""The command line: the composition root. It looks into every room; nobody imports it.

Commands are named here with their help line and imported when called, so that `persondet --help`
loads neither torch nor onnxruntime.
"""

import faulthandler
import sys
from importlib import import_module

from persondet import __version__
from persondet.cli.interruption import finish_imports_first
from persondet.errors import InputError, PersondetError

try:
    import click
except ImportError:  # a device installs runtime/ alone
    sys.exit("persondet: the command line needs click and rich: pip install 'persondet[cli]'")

# command: (module in this package, help line), in the order in which a user meets them
COMMANDS = {
    "demo": ("demo", "Run the whole chain on real pictures and show every result."),
    "init": ("init", "Write an untrained checkpoint of a network."),
    "export": ("export", "Checkpoint (.pth) to ONNX."),
    "convert": ("convert", "ONNX to DLC."),
    "quantize": ("quantize", "ONNX and calibration pictures to a quantized DLC."),
    "detect": ("detect", "Find persons or heads in pictures."),
    "live": ("live", "Find persons or heads in a video or a camera."),
    "anchors": ("anchors", "Statistics of annotated boxes, and anchors that fit them."),
    "info": ("info", "Parameters, MACs and memory, layer by layer."),
    "compare": ("compare", "Outputs and detections of two or more models side by side."),
    "evaluate": ("evaluate", "Average precision, miss rates and sizes on annotated pictures."),
    "benchmark": ("benchmark", "Latency, stage by stage."),
    "train": ("train", "Train a detector on annotated pictures."),
    "models": ("models", "The networks and models known by name."),
}


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def missing_package(error: ModuleNotFoundError) -> Exception:
    """A missing third-party package as the user's error; a missing module of ours as a bug."""
    package = (error.name or "").partition(".")[0]
    if package in {"persondet", "runtime", "export", "quantize", "benchmarks"}:
        return error
    return InputError(
        f"the Python package {package!r} is not installed, and this command needs it: "
        "pip install 'persondet[full]'"
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Take a PyTorch SSD person or head detector to Qualcomm SNPE DLC.

    A MODEL is a .pth, .onnx or .dlc file, or a name that `persondet models` lists.
    """


def main() -> None:
    """Entry point. Exit codes: 0 success, 1 a tool failed, 2 the user's mistake, 130 Ctrl-C."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in native code says at least where it was
    finish_imports_first()
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("persondet: interrupted; nothing half-written was left behind", file=sys.stderr)
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except PersondetError as error:
        print(f"persondet: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        failure = missing_package(error)
        if failure is error:
            raise
        print(f"persondet: {failure}", file=sys.stderr)
        sys.exit(2)
