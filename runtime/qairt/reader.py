"""Reading a DLC: what Qualcomm's loader finds in it. No byte of the format is guessed."""

from pathlib import Path

from persondet.errors import InputError
from persondet.sidecar import read_sidecar
from runtime.qairt import abi
from runtime.qairt.container import DlcContainer, check_container
from runtime.qairt.graph import DlcGraph, DlcOp, DlcTensor
from runtime.qairt.loader import walk_dlc
from runtime.qairt.probe import walk_in_child
from runtime.qairt.structs import data_size_problem, op_from_struct, tensor_from_struct

_DATA_ENTRY = "model.params.bin"
_REMEDY = "copy it again or convert the ONNX again with `persondet convert`"


def read_dlc(path: Path) -> DlcGraph:
    """The one graph of a DLC file.

    Raises InputError for a file that is no DLC, is damaged, is of SNPE 1.x or that the loader
    refuses; PersondetError where the libraries themselves fail.
    """
    container = check_readable(path)
    graphs: list[str] = []
    tensors: dict[str, DlcTensor] = {}
    ops: list[DlcOp] = []

    def on_tensor(struct: abi.Tensor) -> None:
        tensor = tensor_from_struct(struct)
        tensors[tensor.name] = tensor

    walk_dlc(
        container.path,
        on_graph=graphs.append,
        on_tensor=on_tensor,
        on_op=lambda struct: ops.append(op_from_struct(struct)),
    )
    if len(graphs) != 1:
        raise InputError(f"{path} holds {len(graphs)} graphs; only one is supported")

    def named(kind: str) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in tensors.values() if tensor.kind == kind)

    return DlcGraph(
        name=graphs[0],
        tensors=tensors,
        ops=tuple(ops),
        inputs=named("input"),
        outputs=named("output"),
        metadata=container.metadata,
    )


def check_readable(path: Path) -> DlcContainer:
    """Check all that makes the loader, or a backend behind it, fail or crash on a file.

    The loader verifies the structure of `model` and `model.params`, but takes the place of each
    tensor's data on trust: a short `model.params.bin` crashes who reads the weights. A few kinds of
    damage crash the loader itself, so that a file is walked in a child process first, unless it is
    the one that its sidecar describes: that was read when it was written.
    Raises InputError with the reason and the remedy.
    """
    container = check_container(Path(path))
    if container.generation == "SNPE 1.x":
        version = container.metadata.get("converter-version", "unknown")
        raise InputError(
            f"{path} was written by SNPE 1.x (converter {version}); Qualcomm's current libraries "
            "read SNPE 2.x and QAIRT files only: convert the original model again with "
            "`persondet convert`"
        )
    if not _is_known(container.path):
        walk_in_child(container.path, _REMEDY)
    _check_data(container)
    return container


def _is_known(path: Path) -> bool:
    try:
        return read_sidecar(path) is not None
    except InputError:  # of another file, or unreadable: who needs the sidecar says so
        return False


def _check_data(container: DlcContainer) -> None:
    """That each static tensor has all its data, and has it within the file's data entry.

    The loader hands out pointers into the mapped file, so that their span cannot be longer than
    the entry. Nothing is read through them here.
    """
    problems: list[str] = []
    starts, ends = [], [0]

    def on_tensor(tensor: abi.Tensor) -> None:
        if tensor.type == abi.TENSOR_STATIC:
            problems.extend(filter(None, [data_size_problem(tensor)]))
            starts.append(tensor.buffer or 0)
            ends.append((tensor.buffer or 0) + tensor.buffer_size)

    def on_op(op: abi.OpConfig) -> None:
        for index in range(op.num_params):
            if op.params[index].type == abi.PARAM_TENSOR:
                on_tensor(op.params[index].value.tensor)

    walk_dlc(container.path, on_graph=lambda _: None, on_tensor=on_tensor, on_op=on_op)
    needed = max(ends) - min(starts, default=0)
    available = container.entries.get(_DATA_ENTRY, needed)
    if needed > available:
        problems.append(f"entry {_DATA_ENTRY} has {available:,} bytes, the graph needs {needed:,}")
    if problems:
        raise InputError(f"{container.path} is damaged: {problems[0]}; {_REMEDY}")
