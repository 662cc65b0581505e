"""Tensors as a file holds them, before torch makes anything of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from persondet.errors import InputError

# How many times over the tensors of one file may show its bytes, all of them together. Tied weights
# are stored once: the heads of all levels may be one (our networks have up to 7), and a state_dict
# stored twice with shared weights counts double. More than that would let a small file fill memory.
MOST_SHARING = 8
_MOST_DIMENSIONS = 16


class ExpandedError(InputError):
    """Tensors that claim more numbers than the file has."""


@dataclass(frozen=True, eq=False)
class Storage:
    """Bytes of a file that one tensor or several show. data: may be filled later."""

    dtype: torch.dtype
    data: bytearray


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredTensor:
    """A view of a storage: offset and strides in elements of its dtype."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        return prod(self.shape)

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.dtype.itemsize

    def tensor(self) -> Tensor:
        """The tensor on the CPU; it shares memory with every other view of its storage."""
        if not self.num_elements:
            return torch.empty(self.shape, dtype=self.dtype)
        flat = torch.frombuffer(self.storage.data, dtype=self.dtype)
        return flat.as_strided(self.shape, self.strides, self.offset)


def stored_tensor(
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
) -> StoredTensor:
    """A view that stays inside its storage and has no more elements than it.

    strides: None for rows first. dtype: None for the storage's. Raises ExpandedError when the shape
    has more elements than the storage, ValueError when the view reaches beyond it or is not made of
    numbers.
    """
    if len(shape) > _MOST_DIMENSIONS or len(shape if strides is None else strides) != len(shape):
        raise ValueError("a tensor's shape and strides do not fit each other")
    if any(type(n) is not int or not 0 <= n < 2**63 for n in (offset, *shape, *(strides or ()))):
        raise ValueError("a tensor's shape, strides and offset must be whole numbers from 0")
    strides = _rows_first(shape) if strides is None else strides
    dtype = dtype or storage.dtype
    available = len(storage.data) // dtype.itemsize
    if prod(shape) > available:
        claimed = prod(shape) * dtype.itemsize
        raise ExpandedError(
            f"a tensor of shape {_shown(shape)} claims {claimed:,} bytes, its storage has "
            f"{len(storage.data):,}"
        )
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if prod(shape) and last >= available:
        raise ValueError("a tensor reaches beyond its storage")
    return StoredTensor(storage=storage, dtype=dtype, offset=offset, shape=shape, strides=strides)


def check_sharing(tensors: Iterable[StoredTensor]) -> None:
    """Raise ExpandedError when the tensors claim more than MOST_SHARING times their storages."""
    claimed, stored = 0, {}
    for tensor in tensors:
        claimed += tensor.num_bytes
        stored[id(tensor.storage)] = len(tensor.storage.data)
    if claimed > MOST_SHARING * sum(stored.values()):
        raise ExpandedError(
            f"the tensors claim {claimed:,} bytes, their storages have {sum(stored.values()):,}"
        )


def _rows_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
