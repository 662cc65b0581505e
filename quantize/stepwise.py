"""Running a graph one node at a time, so that a layer can be changed before the next one runs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from runtime.onnx_session import open_session


@dataclass(frozen=True)
class NodeRunner:
    """One node as a model of its own. inputs: the tensors that it reads, constants left out."""

    node: onnx.NodeProto
    inputs: tuple[str, ...]
    run: Callable[[Mapping[str, np.ndarray]], np.ndarray]
