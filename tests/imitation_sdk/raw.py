"""An imitation of how the SDK's tools read input lists and raw tensors, by its documents.

It cannot show in what words a real tool refuses a file of a wrong size: those are not known.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imitation_sdk.command_line import ToolError

if TYPE_CHECKING:
    import numpy as np
    import onnx


@dataclass(frozen=True)
class InputList:
    """feeds: the files of each inference by input name; "" where a line names none."""

    feeds: tuple[dict[str, Path], ...]
    layers: tuple[str, ...]
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class GraphInput:
    name: str
    shape: tuple[int, ...]
    dtype: str  # numpy's name


def read_input_list(path: Path, marks: str = "#%") -> InputList:
    """marks: of the first lines that name outputs, which are files to a tool that lacks the mark.

    Raises ToolError where the file cannot be read or holds no inference.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise ToolError(f"[ERROR] Failed to open input list: {path}") from None
    asked: dict[str, tuple[str, ...]] = {"#": (), "%": ()}
    feeds = []
    for line in lines:
        if not feeds and line[:1] in tuple(marks):
            if line[0] == "#" and asked["%"]:
                raise ToolError(
                    "[ERROR] Invalid input list: the # line must come before the % line"
                )
            asked[line[0]] = tuple(line[1:].split())
        elif line.strip():
            feeds.append(dict(_named(word) for word in line.split()))
    if not feeds:
        raise ToolError(f"[ERROR] Input list {path} is empty")
    return InputList(tuple(feeds), asked["#"], asked["%"])


def _named(word: str) -> tuple[str, Path]:
    name, separator, path = word.partition(":=")
    return (name, Path(path)) if separator else ("", Path(word))


def graph_inputs(model: "onnx.ModelProto") -> tuple[GraphInput, ...]:
    import onnx

    return tuple(
        GraphInput(
            value.name,
            tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
        )
        for value in model.graph.input
    )


def read_feed(
    files: dict[str, Path], inputs: tuple[GraphInput, ...], *, native: dict[str, str] | None
) -> dict[str, "np.ndarray"]:
    """The tensors of one inference, in each input's own element type.

    native: numpy type of the file of each input, where files hold the tensor's own type; else they
    are float32. Raises ToolError for a missing file, a wrong size and an unknown name.
    """
    import numpy as np

    if "" in files and len(inputs) == 1:
        files = {inputs[0].name: files[""]}
    if set(files) != {item.name for item in inputs}:
        names = ", ".join(item.name for item in inputs)
        raise ToolError(f"[ERROR] Input list does not match the network's inputs: {names}")
    feed = {}
    for item in inputs:
        dtype = np.dtype(native[item.name] if native else "float32").newbyteorder("<")
        try:
            data = files[item.name].read_bytes()
        except OSError:
            raise ToolError(f"[ERROR] Failed to open raw file: {files[item.name]}") from None
        expected = int(np.prod(item.shape)) * dtype.itemsize
        if len(data) != expected:
            raise ToolError(
                f"[ERROR] Input {item.name}: size of {files[item.name]} is {len(data)} bytes, "
                f"expected {expected}"
            )
        feed[item.name] = np.frombuffer(data, dtype).reshape(item.shape)
    return feed
