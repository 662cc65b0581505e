"""The weighted mean of checkpoints of one network that began alike (Wortsman et al. 2022).

`python -m persondet.training.soup START.pth RUN/best.pth ... --weights 0.25,0.75 -o mean.pth`
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from persondet.checkpoint import load_checkpoint, save_checkpoint
from persondet.errors import InputError


def soup(sources: Sequence[Path], weights: Sequence[float], destination: Path) -> None:
    """Write the mean; its spec and the record of its training are the last one's.

    weights: one a source, 1 in all. Raises InputError where they are not, and where a source is of
    another network or of other anchors.
    """
    if len(weights) != len(sources) or abs(sum(weights) - 1) > 1e-6:
        raise InputError(f"weights {list(weights)}: expected {len(sources)}, 1 in all")
    checkpoints = [load_checkpoint(source) for source in sources]
    last = checkpoints[-1]
    for source, checkpoint in zip(sources, checkpoints, strict=True):
        if checkpoint.spec.levels != last.spec.levels:
            raise InputError(
                f"{source} and {sources[-1]}: expected one network with one anchor set"
            )
    states = [checkpoint.network.state_dict() for checkpoint in checkpoints]
    with torch.no_grad():
        for name, value in last.network.state_dict().items():
            if value.is_floating_point():
                parts = [w * state[name] for w, state in zip(weights, states, strict=True)]
                value.copy_(torch.stack(parts).sum(0))
    training = {**last.training, "mean_of": len(sources), "mean_weights": list(weights)}
    save_checkpoint(destination, last.network, last.spec, training)


def main() -> None:
    parser = argparse.ArgumentParser(description="Average checkpoints of one network.")
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--weights", required=True, help="0.25,0.75")
    parser.add_argument("-o", "--output", required=True, type=Path)
    arguments = parser.parse_args()
    soup(
        arguments.sources,
        [float(part) for part in arguments.weights.split(",")],
        arguments.output,
    )


if __name__ == "__main__":
    main()
