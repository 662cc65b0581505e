"""Whether reading and augmenting pictures keep the network busy.

`python -m benchmarks.speed_training DATA... [--model f38] [--workers 2] [--batches 8]` measures
pictures a second of the loader alone, of the step alone (on batches in memory) and of both
together, in turns in the same run; DATA as `persondet train` takes it. Together they should be
within 10 % of the slower one.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks.latency import this_machine
from benchmarks.tables import new_table, print_to_stdout
from persondet.data.samples import DataSet
from persondet.data.sources import open_datasets
from persondet.networks import build_network, initialise
from persondet.spec import DetectorSpec
from persondet.training.config import TrainConfig
from persondet.training.examples import Batch
from persondet.training.trainer import Run, Trainer
from persondet.zoo import detector_spec, full_name

ROUNDS = 3


@dataclass(frozen=True)
class TrainingSpeed:
    """Pictures a second, medians."""

    loader: float
    step: float
    both: float

    @property
    def of_the_slower(self) -> float:
        """1.0: reading costs nothing beside the slower of the two."""
        return self.both / min(self.loader, self.step)


def training_speed(
    data: DataSet, spec: DetectorSpec, config: TrainConfig, batches: int
) -> TrainingSpeed:
    """Measure ROUNDS times each, in turns. data: at least one batch; an epoch is repeated."""
    network = build_network(spec)
    initialise(network, config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Run(spec, config, data, Path(folder), device=device), network)
        epochs = _epochs(trainer)
        in_memory = [next(epochs) for _ in range(2)]
        trainer.learn(in_memory[0])  # the first step also builds the kernels
        ready = 2 * config.workers  # what torch's loader reads ahead
        rounds = [
            (
                _loader_speed(epochs, ready, batches, config.batch_size),
                _pictures_per_s(
                    lambda i: trainer.learn(in_memory[i % 2]), batches, config.batch_size
                ),
                _pictures_per_s(lambda i: trainer.learn(next(epochs)), batches, config.batch_size),
            )
            for _ in range(ROUNDS)
        ]
    return TrainingSpeed(*np.median(rounds, axis=0).tolist())


def _epochs(trainer: Trainer) -> Iterator[Batch]:
    while True:
        yield from trainer.loader
        trainer.loader.sampler.epoch += 1  # type: ignore[attr-defined]


def _loader_speed(epochs: Iterator[Batch], ready: int, batches: int, batch_size: int) -> float:
    """Of batches that are not ready yet when the clock starts."""
    for _ in range(ready):
        next(epochs)
    return _pictures_per_s(lambda i: next(epochs), batches, batch_size)


def _pictures_per_s(work: Callable[[int], object], batches: int, batch_size: int) -> float:
    start = perf_counter()
    for index in range(batches):
        work(index)
    return batches * batch_size / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--model", default="f38")
    parser.add_argument("--workers", type=int, default=TrainConfig().workers)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--freeze-first", type=int, default=0)
    arguments = parser.parse_args()
    spec = detector_spec(full_name(arguments.model))
    data = open_datasets(arguments.data)
    config = TrainConfig(workers=arguments.workers, freeze_first=arguments.freeze_first)
    speed = training_speed(data, spec, config, arguments.batches)
    table = new_table("", numbers=["pictures / s"])
    for name in ("loader", "step", "both"):
        table.add_row(name, f"{getattr(speed, name):.1f}")
    machine = this_machine()
    print_to_stdout(
        f"{spec.network}, batch {config.batch_size}, {machine.cpu}, {machine.cores} cores"
    )
    print_to_stdout(table)
    print_to_stdout(f"both together: {speed.of_the_slower:.2f} of the slower one")


if __name__ == "__main__":
    main()
