"""What a DLC holds, as plain data."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runtime.qairt import abi


@dataclass(frozen=True)
class Encoding:
    """Quantization of a tensor: real = (stored + offset) * scale.

    scales, offsets: one each per tensor, or one a slice along `axis`.
    """

    scales: tuple[float, ...]
    offsets: tuple[int, ...]
    axis: int | None = None


@dataclass(frozen=True)
class DlcTensor:
    """kind: "input", "output", "native" or "static"; dtype: see abi.DATA_TYPES.

    Activations are NHWC, convolution weights HWIO. data: the stored values of a static tensor.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding | None
    data: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def numpy_dtype(self) -> str:
        """numpy's name of the stored element type."""
        return abi.NUMPY_DTYPES[self.dtype]


@dataclass(frozen=True)
class DlcOp:
    """type: Qualcomm's op type (Conv2d, DepthWiseConv2d, ...); inputs and outputs by tensor name.

    params: numbers, texts, and arrays where the parameter is a tensor.
    """

    name: str
    type: str
    params: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class DlcGraph:
    """One graph of a DLC. tensors: by name, in file order; metadata: the container's."""

    name: str
    tensors: dict[str, DlcTensor]
    ops: tuple[DlcOp, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict, repr=False)
