"""The figures of each epoch for TensorBoard, where that is installed."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def scalar_log(
    folder: Path, *, shown: bool = True
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that takes a record of the log and writes its numbers into folder/tensorboard.

    shown: False where another process writes. Does nothing without the package tensorboard.
    """
    if not shown or find_spec("tensorboard") is None:
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def write(record: Mapping[str, Any]) -> None:
            for name, value in record.items():
                if name not in ("epoch", "step"):
                    writer.add_scalar(name, value, record["epoch"])
            writer.flush()

        yield write
