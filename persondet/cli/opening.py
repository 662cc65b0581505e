"""A MODEL, as the user names it, to a backend."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from persondet.errors import InputError
from persondet.files import FormatError, is_file, read_json
from persondet.models import resolve_model
from persondet.sidecar import spec_beside
from persondet.spec import DetectorSpec, spec_from_dict
from persondet.zoo import detector_spec, full_name, known_network, network_names
from runtime.backend import Backend, model_kind, open_backend


def open_model(model: str, spec_path: Path | None = None, threads: int | None = None) -> Backend:
    """Open a file or a model's name.

    spec_path: used for an ONNX or a DLC that came without its spec, and for a .pth, whose own
    anchors may be guessed. A note says if it differs from the one that is used. Raises InputError
    as `open_backend` does.
    """
    path = resolve_model(model)
    kind = model_kind(path)
    options: dict[str, Any] = {}
    if threads is not None:
        if kind == "dlc":
            raise InputError(f"{model}: --threads is of onnxruntime and PyTorch; a DLC has none")
        options["threads"] = threads
    given = read_spec(spec_path) if spec_path is not None else None
    own = spec_beside(path) if given is not None and kind == "dlc" else None
    backend = open_backend(path, own or given, **options)
    if given is not None and not _is_same_model(given, backend.spec):
        click.echo(f"note: --spec {spec_path} is not used: {model} comes with its own", err=True)
    for note in getattr(backend, "notes", ()):
        click.echo(f"note: {note}", err=True)
    return backend


def _is_same_model(given: DetectorSpec, used: DetectorSpec) -> bool:
    """Return True if the specs are equal but for how the graph takes its input."""
    return dataclasses.replace(given, input_format=used.input_format) == used


def spec_if_known(model: str, spec_path: Path | None = None) -> DetectorSpec | None:
    """The spec that MODEL will have, if its sidecar or --spec says it; no model is loaded.

    Raises InputError if there is no such model, or if what is there is none.
    """
    path = resolve_model(model)
    kind = model_kind(path)
    if spec_path is not None and not (kind == "dlc" and spec_beside(path)):
        return read_spec(spec_path)
    return spec_beside(path)


def check_detection_options(
    spec: DetectorSpec | None,
    *,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    top_k: int | None = None,
    classes: Sequence[str] | None = None,
) -> None:
    """Raise InputError for options that the model cannot take, before it is loaded.

    spec: None if it is not known yet: the options are checked again when the model is open.
    """
    from runtime.detector import BoxDecoder

    if spec is not None:
        BoxDecoder(
            spec,
            model_name="",
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            top_k=top_k,
            classes=classes,
        )


def spec_of_model(model: str, spec_path: Path | None = None) -> DetectorSpec:
    """The spec that `open_model` would find. A DLC is not loaded for it: it may be of an SDK or for
    a chip that is not here."""
    path = resolve_model(model)
    if model_kind(path) != "dlc":
        with contextlib.closing(open_model(model, spec_path)) as backend:
            return backend.spec
    from runtime.dlc_backend import spec_of_dlc

    if spec_path is not None and not spec_beside(path):
        return read_spec(spec_path)
    return spec_of_dlc(path)


def read_spec(path: Path) -> DetectorSpec:
    """The spec in a sidecar, or a spec alone, as JSON."""
    try:
        record = read_json(path)
    except FormatError as error:
        raise InputError(f"{error}; name a model's sidecar (model.onnx.json) or a spec") from None
    is_sidecar = isinstance(record, dict) and "spec" in record
    try:
        return spec_from_dict(record["spec"] if is_sidecar else record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def open_spec(model: str) -> DetectorSpec:
    """The spec of a network's name or short name (f38), of a JSON file (a spec or a sidecar), or
    of a model file with its sidecar. Raises InputError where it is none of these."""
    path = Path(model)
    if full_name(model) in network_names():
        return detector_spec(model)
    if not is_file(path):
        try:
            known_network(model)
        except InputError as error:
            raise InputError(f"{path} is not a file, and no network either: {error}") from None
    if path.suffix.lower() == ".json":
        return read_spec(path)
    spec = spec_beside(path)
    if spec is None:
        raise InputError(f"{path} has no sidecar that says its anchors; name its network instead")
    return spec


def load_libraries(model: str) -> bool:
    """Import what the model's backend needs, so that opening it is timed without that.

    Returns whether it runs on an emulated chip.
    """
    kind = model_kind(resolve_model(model))
    if kind == "dlc":
        import runtime.dlc_backend
        from runtime.qairt.libraries import is_emulated

        return is_emulated()
    if kind == "pth":
        import torch  # noqa: F401

        import persondet.checkpoint  # noqa: F401
    else:
        import runtime.onnx_backend  # noqa: F401
    return False
