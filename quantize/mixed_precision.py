"""Which layers need more than eight bits per tensor: 16-bit activations, or weights with a scale
per output channel.

The candidates are tried in the order of what rounding each of them alone does to the outputs
(`rounding_noise`), the noisiest first: as many as are needed, found by doubling and halving their
number. Then, if they are few, each is tried without.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from persondet.errors import PersondetError
from quantize.channel_spaces import constants_of, tensor_shapes
from quantize.converts import encoded_as, layers
from quantize.rounding_noise import Candidate

WIDE_BITS = 16
_MOST_DROPPED = 8  # candidates that are tried without, one after the other


@dataclass(frozen=True)
class Mix:
    """What differs from a scheme. wide: activations of 16 bits, by tensor; a layer runs at the
    width that it writes. per_channel: weights with a scale per output channel."""

    wide: frozenset[str] = frozenset()
    per_channel: frozenset[str] = frozenset()


UNIFORM = Mix()


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A node that computes.

    outputs, inputs: encoded activations. weight, macs: of a convolution; else None and 0.
    """

    name: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    weight: str | None
    macs: int


@dataclass(frozen=True, kw_only=True)
class Try:
    """A mix that was evaluated. wide, per_channel: how many layers. points_lost: AP50 points
    against the float model."""

    wide: int
    per_channel: int
    points_lost: float


@dataclass(frozen=True, kw_only=True)
class FoundMix:
    """The cheapest mix that loses little enough.

    wide, per_channel: names of layers, in graph order. converts: tensors that change between 8 and
    16 bits. macs_share: of the convolutions' multiplications, at 16 bits.
    """

    max_drop: float
    points_lost: float
    wide: tuple[str, ...]
    per_channel: tuple[str, ...]
    layers: int
    converts: int
    macs_share: float
    tries: tuple[Try, ...]

    def record(self) -> dict[str, Any]:
        """What a sidecar keeps."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class MixSearch:
    """What `quantize` is to search by.

    max_drop: AP50 points that may be lost. points_lost: evaluates a QDQ ONNX file, which is gone
    afterwards, against the float model. report: called after each try.
    """

    max_drop: float
    points_lost: Callable[[Path], float]
    report: Callable[[Try], None] = lambda found: None


def graph_layers(model: onnx.ModelProto, encoded: Collection[str]) -> tuple[Layer, ...]:
    """The layers of a float graph, in order; encoded: its activations that have encodings."""
    source = encoded_as(model.graph, encoded)
    constants = constants_of(model.graph)
    shapes = tensor_shapes(model)

    def layer(node: onnx.NodeProto) -> Layer:
        weight = constants.get(node.input[1]) if node.op_type == "Conv" else None
        pixels = math.prod(shapes.get(node.output[0], (0,)))
        return Layer(
            name=node.name,
            outputs=tuple(source[name] for name in node.output if name in source),
            inputs=tuple(source[name] for name in node.input if name in source),
            weight=None if weight is None else node.input[1],
            macs=0 if weight is None else pixels * math.prod(weight.shape[1:]),
        )

    return tuple(layer(node) for node in layers(model.graph, source))


def mix_of(
    chosen: Collection[Candidate], graph: Sequence[Layer], *, narrow: Collection[str] = ()
) -> Mix:
    """What it takes to hold the chosen tensors better.

    An activation of 16 bits needs its layer and those that read it to run so. An 8-bit layer all of
    whose neighbours are wide becomes wide, too, which saves its converts. An input of the graph
    is stored wide if only wide layers read it; narrow: inputs that are not.
    """
    held = {candidate.tensor for candidate in chosen if not candidate.is_weight}
    wide = {
        name for layer in graph if held & {*layer.inputs, *layer.outputs} for name in layer.outputs
    }
    readers: dict[str, list[Layer]] = {}
    for layer in graph:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)

    def is_read_wide(name: str) -> bool:
        return all(wide.issuperset(reader.outputs) for reader in readers.get(name, []))

    count = -1
    while count != len(wide):
        count = len(wide)
        for layer in graph:
            if layer.inputs and wide.issuperset(layer.inputs):
                wide |= {*layer.outputs} if all(map(is_read_wide, layer.outputs)) else set()
    made = {name for layer in graph for name in layer.outputs}
    wide |= {name for name in set(readers) - made - set(narrow) if is_read_wide(name)}
    return Mix(
        frozenset(wide), frozenset(candidate.tensor for candidate in chosen if candidate.is_weight)
    )


def fewest(
    candidates: Sequence[Candidate], is_enough: Callable[[Sequence[Candidate]], bool]
) -> tuple[Candidate, ...] | None:
    """Return as few of the candidates, the first ones first, as are enough; None if all are not.

    What is enough is taken to stay so with more, which AP50 does not quite keep to: fewer might do.
    """
    if is_enough(()):
        return ()
    low, high = 0, min(1, len(candidates))
    while not is_enough(candidates[:high]):
        if high == len(candidates):
            return None
        low, high = high, min(2 * high, len(candidates))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(candidates[:middle]) else (middle, high)
    return _without_needless(tuple(candidates[:high]), is_enough)


def _without_needless(
    chosen: tuple[Candidate, ...], is_enough: Callable[[Sequence[Candidate]], bool]
) -> tuple[Candidate, ...]:
    """The last one is needed, and of many each does too little to be tried."""
    if len(chosen) > _MOST_DROPPED:
        return chosen
    for candidate in chosen[:-1]:
        fewer = tuple(other for other in chosen if other != candidate)
        if is_enough(fewer):
            chosen = fewer
    return chosen


def searched_mix(
    candidates: Sequence[Candidate],
    graph: Sequence[Layer],
    search: MixSearch,
    evaluate: Callable[[Mix], float],
    *,
    narrow: Collection[str] = (),
) -> tuple[Mix, dict[Mix, Try]]:
    """Return the mix of the fewest candidates that keeps to the limit, and all tries by mix.

    evaluate: AP50 points that a mix loses. Raises PersondetError saying what was reached if no mix
    keeps to it.
    """
    tries: dict[Mix, Try] = {}

    def is_enough(chosen: Sequence[Candidate]) -> bool:
        mix = mix_of(chosen, graph, narrow=narrow)
        if mix not in tries:
            wide, per_channel = layer_names(mix, graph)
            tries[mix] = Try(
                wide=len(wide), per_channel=len(per_channel), points_lost=evaluate(mix)
            )
            search.report(tries[mix])
        return tries[mix].points_lost <= search.max_drop

    chosen = fewest(candidates, is_enough)
    if chosen is None:
        best = min(tries.values(), key=lambda found: found.points_lost)
        raise PersondetError(
            f"no mix of 8 and 16 bits keeps to --max-drop {search.max_drop:g}: the least that was "
            f"lost is {best.points_lost:.2f} AP50 points, with {best.wide} of {len(graph)} layers "
            f"at 16 bits and {best.per_channel} with weights per channel; nothing was written; "
            "allow more, give more calibration images, or try --preset best"
        )
    return mix_of(chosen, graph, narrow=narrow), tries


def layer_names(mix: Mix, graph: Sequence[Layer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers at 16 bits, and those with weights per channel."""
    return (
        tuple(layer.name for layer in graph if mix.wide.intersection(layer.outputs)),
        tuple(layer.name for layer in graph if layer.weight in mix.per_channel),
    )


def macs_share(mix: Mix, graph: Sequence[Layer]) -> float:
    """The share of the convolutions' multiplications in layers of 16 bits."""
    wide = sum(layer.macs for layer in graph if mix.wide.intersection(layer.outputs))
    return wide / max(sum(layer.macs for layer in graph), 1)
