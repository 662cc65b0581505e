"""The layers that give a network's outputs: what SNPE 1.x names them by in an input list."""

from collections.abc import Iterable
from pathlib import Path

from persondet.errors import InputError
from runtime.qairt.snpe1 import read_snpe1


def output_layers(dlc: Path, outputs: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the layers that make the tensors `outputs`, for an SNPE 1.x DLC.

    Without a `#` line of these the tools of 1.x take the last layer's outputs alone. Empty for a
    file that our reader cannot read, which leaves it at that.
    """
    try:
        graph = read_snpe1(dlc)
    except InputError:
        return ()
    layer_of = {tensor: layer.name for layer in graph.layers for tensor in layer.outputs}
    found = [layer_of[name] for name in outputs if name in layer_of]
    return tuple(dict.fromkeys(name for name in found if not any(map(str.isspace, name))))
