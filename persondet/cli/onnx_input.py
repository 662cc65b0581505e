"""A MODEL of `convert` and `quantize`: an ONNX file, or what can be exported to one in passing."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.options import model_spec_option
from persondet.files import is_file, is_folder

if TYPE_CHECKING:
    from persondet.spec import DetectorSpec


def onnx_spec_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--spec FILE` of a command that takes an ONNX file or what becomes one."""
    return model_spec_option(
        "Spec, or sidecar of any artefact, of an ONNX with raw heads from elsewhere (it also names "
        "its tensors) or of a checkpoint; instead of the file's own."
    )(command)


def given_spec(spec_path: Path | None) -> "DetectorSpec | None":
    """The spec of --spec; None when it is not given."""
    from persondet.cli.opening import read_spec

    return read_spec(spec_path) if spec_path else None


@contextlib.contextmanager
def onnx_of(
    model: str, opset: int | None = None, spec: "DetectorSpec | None" = None
) -> Iterator[Path]:
    """The ONNX file of MODEL; of a .pth or a model's name one made for the while.

    opset: of one that is made; None for the exporter's own. spec: from which the network of a .pth
    is built. InputError for what is neither.
    """
    from persondet.models import resolve_model
    from runtime.backend import model_kind

    path = resolve_model(model)
    if is_folder(path) or model_kind(path) != "pth":
        yield path
        return
    from export.onnx_export import DEFAULT_OPSET, export_onnx
    from persondet.checkpoint import load_checkpoint
    from persondet.spec import INPUT_FORMATS
    from persondet.temporary import temporary_folder

    with temporary_folder("persondet-onnx-") as folder:
        exported = folder / f"{stem_of(model)}.onnx"
        checkpoint = load_checkpoint(path, spec=spec)
        result = export_onnx(
            checkpoint,
            exported,
            input_format=spec.input_format if spec else INPUT_FORMATS[0],
            opset=opset or DEFAULT_OPSET,
        )
        for note in checkpoint.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"note: {model} was exported in passing, input {result.spec.input_format}; "
            "`persondet export` keeps the ONNX and offers other inputs",
            err=True,
        )
        yield exported


def stem_of(model: str) -> str:
    """What results are called by default: the name, or the file's without its suffix."""
    from runtime.backend import without_suffix

    return without_suffix(Path(model).name)


def beside(model: str, suffix: str) -> Path:
    """The default destination: beside a file, in the working folder for a model's name."""
    path = Path(model)
    return (path.parent if is_file(path) else Path()) / f"{stem_of(model)}{suffix}"
