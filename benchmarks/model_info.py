"""All that `persondet info` says about a model."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figures, figures_of
from persondet.errors import InputError
from persondet.sidecar import read_sidecar
from persondet.spec import DetectorSpec
from persondet.zoo import detector_spec
from runtime.backend import model_kind
from runtime.qairt.container import check_container
from runtime.qairt.generation import Origin, origin_of
from runtime.qairt.graph import Encoding

if TYPE_CHECKING:
    import onnx

    from persondet.checkpoint import Checkpoint


@dataclass(frozen=True)
class Port:
    """An input or output of the graph, as the file has it. encoding: of a quantized DLC's."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None = None


@dataclass(frozen=True)
class ModelInfo:
    """kind: onnx, dlc, pth, or network (a bare network of the zoo, untrained).

    network: the zoo's name, where the file or its sidecar tells. file_bytes: None without a file.
    op_counts: every op of the file, those that are no layers included, most frequent first.
    metadata: what a DLC's writer recorded; origin: what that means. sidecar: the one beside the
    file. notes: what was noticed on the way.
    """

    name: str
    kind: str
    network: str | None
    file_bytes: int | None
    figures: Figures
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    op_counts: Mapping[str, int]
    metadata: Mapping[str, Any] | None = None
    origin: Origin | None = None
    sidecar: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def info_of_file(path: Path, network: str | None = None) -> ModelInfo:
    """Everything about a .pth, .onnx or .dlc file. A .pth is exported in memory.

    network: of a checkpoint, where its keys do not tell. Raises InputError where the file cannot
    be read.
    """
    kind = model_kind(path)
    if network is not None and kind != "pth":
        raise InputError(f"{path} says itself what it is; a network is given for a .pth file only")
    sidecar, notes = sidecar_and_notes(path)
    common: dict[str, Any] = {
        "name": path.name,
        "kind": kind,
        "file_bytes": path.stat().st_size,
        "sidecar": sidecar,
    }
    if kind == "dlc":
        return ModelInfo(**common, **_of_dlc(path), network=network_in(sidecar), notes=notes)
    if kind == "onnx":
        from export.onnx_model import load_onnx

        model = load_onnx(path)
        named = {entry.key: entry.value for entry in model.metadata_props}
        network = named.get("persondet_network") or network_in(sidecar)
        return ModelInfo(**common, **_of_onnx(model, path), network=network, notes=notes)
    from persondet.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path, model=network)
    return ModelInfo(
        **common,
        **_of_checkpoint(checkpoint),
        network=checkpoint.spec.network,
        notes=(*notes, *checkpoint.notes),
    )


def info_of_network(name: str) -> ModelInfo:
    """Figures of a network of the zoo; they do not depend on the weights, and it is untrained."""
    from persondet.checkpoint import Checkpoint
    from persondet.networks import build_network

    spec: DetectorSpec = detector_spec(name)
    checkpoint = Checkpoint(spec, build_network(spec).eval(), (), Path(name))
    return ModelInfo(spec.network, "network", spec.network, None, **_of_checkpoint(checkpoint))


def sidecar_and_notes(path: Path) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """The sidecar; one that cannot be used is a note, as the figures do not need it."""
    try:
        return read_sidecar(path), ()
    except InputError as error:
        return None, (str(error),)


def network_in(sidecar: Mapping[str, Any] | None) -> str | None:
    spec = sidecar.get("spec") if sidecar else None
    return spec.get("network") if spec else None


def quantized_in(sidecar: Mapping[str, Any] | None) -> bool | None:
    """Return whether a DLC's sidecar says that it is quantized; None when it does not say."""
    if not sidecar:
        return None
    details = sidecar.get("details")
    told = details.get("quantized") if isinstance(details, dict) else None
    return True if sidecar.get("step") == "quantize" else told


def _of_dlc(path: Path) -> dict[str, Any]:
    from benchmarks.dlc_layers import dlc_layer_graph
    from runtime.qairt.reader import read_dlc

    dlc = read_dlc(path)

    def ports(names: tuple[str, ...]) -> tuple[Port, ...]:
        tensors = (dlc.tensors[name] for name in names)
        return tuple(Port(t.name, t.shape, t.dtype, t.encoding) for t in tensors)

    try:
        graph = dlc_layer_graph(dlc)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    inner = (tensor for tensor in dlc.tensors.values() if tensor.kind in ("native", "static"))
    is_quantized = any(tensor.encoding for tensor in inner)  # a float graph's input may be uint8
    return {
        "figures": figures_of(graph),
        "inputs": ports(dlc.inputs),
        "outputs": ports(dlc.outputs),
        "op_counts": dict(Counter(op.type for op in dlc.ops).most_common()),
        "metadata": dlc.metadata,
        "origin": origin_of(check_container(path), is_quantized=is_quantized),
    }


def _of_checkpoint(checkpoint: "Checkpoint") -> dict[str, Any]:
    from export.onnx_export import onnx_from_checkpoint

    model, _ = onnx_from_checkpoint(checkpoint)
    return _of_onnx(model, checkpoint.path)


def _of_onnx(model: "onnx.ModelProto", path: Path) -> dict[str, Any]:
    from benchmarks.onnx_layers import layers_of_model, tensor_info

    figures = figures_of(layers_of_model(model, path))
    stored = {tensor.name for tensor in model.graph.initializer}

    def ports(values: Any) -> tuple[Port, ...]:
        tensors = (tensor_info(value) for value in values if value.name not in stored)
        return tuple(Port(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors)

    return {
        "figures": figures,
        "inputs": ports(model.graph.input),
        "outputs": ports(model.graph.output),
        "op_counts": dict(Counter(node.op_type for node in model.graph.node).most_common()),
    }
