"""A MODEL of `convert` and `quantize`: an ONNX file, or what can be exported to one in passing."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click


@contextlib.contextmanager
def onnx_of(model: str, opset: int | None = None) -> Iterator[Path]:
    """The ONNX file of MODEL; of a .pth or a model's name one made for the while.

    opset: of one that is made; None for the exporter's own. InputError for what is neither.
    """
    from persondet.models import resolve_model
    from runtime.backend import model_kind

    path = resolve_model(model)
    if path.is_dir() or model_kind(path) != "pth":
        yield path
        return
    from export.onnx_export import DEFAULT_OPSET, export_onnx
    from persondet.checkpoint import load_checkpoint
    from persondet.temporary import temporary_folder

    with temporary_folder("persondet-onnx-") as folder:
        exported = folder / f"{stem_of(model)}.onnx"
        checkpoint = load_checkpoint(path)
        result = export_onnx(checkpoint, exported, opset=opset or DEFAULT_OPSET)
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
    return (path.parent if path.is_file() else Path()) / f"{stem_of(model)}{suffix}"
