"""The figures of each epoch for TensorBoard, where that is installed."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persondet.training.run_folder import SCALARS_FOLDER


@contextlib.contextmanager
def scalar_log(
    folder: Path, *, shown: bool = True
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that takes a record of the log and writes its numbers into folder/tensorboard.

    shown: False if another process writes. Does nothing without the package tensorboard, and
    writes no file before the first record.
    """
    if not shown or find_spec("tensorboard") is None:
        yield lambda record: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with contextlib.ExitStack() as stack:
        writers: list[SummaryWriter] = []

        def write(record: Mapping[str, Any]) -> None:
            if not writers:
                opened = SummaryWriter(str(folder / SCALARS_FOLDER))
                writers.append(stack.enter_context(opened))
            (writer,) = writers
            for name, value in record.items():
                if name not in ("epoch", "step"):
                    writer.add_scalar(name, value, record["epoch"])
            writer.flush()

        yield write
