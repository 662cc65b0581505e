"""Finding a network's tensors in what training scripts save.

They are found by the names that every network of ours begins with, so that it does not matter under
which key a script puts the state_dict, and what a wrapper puts before its names.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persondet.checkpoint_file import EXPECTED, shown_entries
from persondet.errors import InputError
from persondet.stored_tensor import StoredTensor
from persondet.tensor_pickle import Named

_ROOTS = ("base_net", "extras", "classification_headers", "regression_headers", "landmark_headers")
# Wrappers of modules: DataParallel and DistributedDataParallel, torch.compile, FSDP and its
# activation checkpoints. They may stand anywhere in a name.
_WRAPPING = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# Buffers that say nothing of the weights: anchors and the numbers to decode with, counters of
# PyTorch, of its averaged models and of the package thop.
_NOT_WEIGHTS = {
    "priors",
    "anchors",
    "center_form_priors",
    "corner_form_priors",
    "default_boxes",
} | {
    *("center_variance", "size_variance", "variances", "mean", "std", "pixel_mean", "pixel_std"),
    *("n_averaged", "total_ops", "total_params"),
}
_COUNTER = "num_batches_tracked"
_PRIORS = ("priors", "anchors", "center_form_priors", "default_boxes")
# Of several networks in a file, the moving average is the one that training scripts evaluate.
_AVERAGED = {"ema", "average", "averaged", "avg", "swa", "shadow"}
# Then the usual keys, in this order.
_USUAL = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_DEEPEST = 4


@dataclass(frozen=True)
class NetworkState:
    """The entries of a network, under their published names; they may be other than tensors.

    priors: the anchors that the file stores beside them, in whatever form, or None.
    """

    weights: dict[Any, Any]
    notes: tuple[str, ...] = ()
    priors: StoredTensor | None = None


@dataclass
class _Network:
    """place: its keys and prefix in the file. beside: what else is in the same mapping."""

    place: tuple[str, ...]
    weights: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " / ".join(self.place) or "the one without a prefix"

    @property
    def rank(self) -> tuple[bool, bool, list[int]]:
        """Smaller is preferred. An average of parameters alone lacks what batch norm measured."""
        measured = any(name.endswith(".running_mean") for name in self.weights)
        words = re.split(r"[^a-z0-9]+", " ".join(self.place).lower())
        usual = [_USUAL.index(key) if key in _USUAL else len(_USUAL) for key in self.place]
        return not measured, not _AVERAGED.intersection(words), usual


def network_state(path: Path, content: Any) -> NetworkState:
    """The network in a checkpoint; without one of ours in it, the mapping with the most tensors.

    Raises InputError when there is no tensor, and when there are several networks and none of them
    is the moving average or under a usual key.
    """
    if not isinstance(content, Mapping):
        kind = "Tensor" if isinstance(content, StoredTensor) else kind_of(content)
        raise InputError(f"{path} holds a {kind}; {EXPECTED}")
    found = [n for place, table in _tables(content) for n in _networks(path, place, table)]
    if not found:
        return NetworkState(largest_table(path, content))
    chosen, *others = sorted(found, key=lambda network: network.rank)
    if others and others[0].rank == chosen.rank:
        raise InputError(
            f"{path} holds several networks ({', '.join(n.name for n in found)}), and it does not "
            "say which one is meant; save the state_dict of one of them alone"
        )
    notes = []
    if others:
        rest = ", ".join(network.name for network in others)
        notes.append(f"{path} holds several networks; taken: {chosen.name}; not taken: {rest}")
    if chosen.beside:
        ignored = ", ".join(shown_entries(sorted(chosen.beside)))
        notes.append(f"{path}: ignored, as not of the network's weights: {ignored}")
    stored = (value for name, value in chosen.beside.items() if name in _PRIORS)
    priors = next((value for value in stored if isinstance(value, StoredTensor)), None)
    return NetworkState(chosen.weights, tuple(notes), priors)


def largest_table(path: Path, content: Mapping[Any, Any]) -> dict[Any, Any]:
    """The mapping with the most tensors, wrappers removed from its names, counters left out.

    Raises InputError when there is no tensor.
    """
    tables = [table for _, table in _tables(content)]
    counts = [sum(isinstance(v, StoredTensor) for v in table.values()) for table in tables]
    if not any(counts):
        entries = [f"{key}: {kind_of(value)}" for key, value in content.items()]
        header = f"{path} holds no tensors; {EXPECTED}"
        raise InputError("\n  ".join([header, *shown_entries(entries)]))
    table = tables[counts.index(max(counts))]
    return {
        ".".join(_parts(key)) if isinstance(key, str) else key: value
        for key, value in table.items()
        if not str(key).endswith(_COUNTER)
    }


def kind_of(value: Any) -> str:
    """What an entry is, in a word or two."""
    if isinstance(value, StoredTensor):
        return f"{value.dtype} tensor"
    return value.name if isinstance(value, Named) else type(value).__name__


def _tables(content: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping in the file and its keys, outer ones first, each once."""
    seen: set[int] = set()
    queue: deque[tuple[tuple[str, ...], Mapping[Any, Any]]] = deque([((), content)])
    while queue:
        keys, table = queue.popleft()
        if id(table) in seen:
            continue
        seen.add(id(table))
        yield keys, table
        if len(keys) < _DEEPEST:
            inner = [(key, value) for key, value in table.items() if isinstance(value, Mapping)]
            queue.extend(((*keys, str(key)), value) for key, value in inner)


def _networks(path: Path, place: tuple[str, ...], table: Mapping[Any, Any]) -> list[_Network]:
    """The networks whose tensors are in this mapping, by what comes before their names."""
    found: dict[tuple[str, ...], _Network] = {}
    others: list[tuple[list[str], Any]] = []
    for key, value in table.items():
        parts = _parts(str(key))
        root = next((index for index, part in enumerate(parts[:-1]) if part in _ROOTS), None)
        if parts[-1:] == [_COUNTER] or isinstance(value, Mapping):
            continue
        if root is None or parts[-1] in _NOT_WEIGHTS:
            others.append((parts, value))
            continue
        prefix, name = tuple(parts[:root]), ".".join(parts[root:])
        network = found.setdefault(prefix, _Network((*place, *prefix)))
        if name in network.weights:
            raise InputError(f"{path} holds {name} twice: once as {key}, once in another wrapper")
        network.weights[name] = value
    found = {
        prefix: network
        for prefix, network in found.items()
        if any(name.startswith("base_net.") for name in network.weights)
    }
    for prefix, network in found.items():
        _add_others(network, prefix, others)
    return list(found.values())


def _add_others(
    network: _Network, prefix: tuple[str, ...], others: list[tuple[list[str], Any]]
) -> None:
    """A tensor under the network's prefix is taken for one of its weights, unless its name says
    that it is none; what else there is lies beside the network."""
    for parts, value in others:
        inside = tuple(parts[: len(prefix)]) == prefix
        if inside and isinstance(value, StoredTensor) and parts[-1] not in _NOT_WEIGHTS:
            network.weights[".".join(parts[len(prefix) :])] = value
        else:
            network.beside[parts[-1] if inside else parts[0]] = value


def _parts(key: str) -> list[str]:
    """The parts of a name without those of wrappers; at least one."""
    parts = key.split(".")
    return [part for part in parts if part not in _WRAPPING] or parts
