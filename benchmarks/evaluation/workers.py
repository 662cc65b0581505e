"""Detecting in several processes: an emulated chip uses one core, and takes seconds a picture."""

import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from benchmarks.evaluation.found import FoundPicture, ModelToOpen, find_in
from persondet.errors import PersondetError
from persondet.orphan import end_with_parent
from runtime.detector import Detector


def find_in_processes(
    model: ModelToOpen,
    paths: Sequence[Path],
    workers: int,
    on_found: Callable[[int, FoundPicture], object],
) -> None:
    """As `find_in_all`, in `workers` processes that each open the model; in any order.

    Ctrl-C and errors wait for the pictures under way and start no others. Raises what a worker
    raised; PersondetError where one died.
    """
    # spawn: neither onnxruntime's threads nor Qualcomm's libraries survive a fork.
    context = multiprocessing.get_context("spawn")
    count = max(1, min(workers, len(paths)))
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(os.getpid(),))
    try:
        with _started_without_ctrl_c():
            indices: dict[Future[FoundPicture], int] = {
                pool.submit(_find, model, path): index for index, path in enumerate(paths)
            }
        for future in as_completed(indices):
            on_found(indices[future], future.result())
    except BrokenProcessPool:
        raise PersondetError(
            f"a process that ran {model.path} died: it crashed, or the system ended it for want of "
            "memory; run again with fewer --workers, what is done is kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _started_without_ctrl_c() -> Iterator[None]:
    """Have what is started in the block never see SIGINT, not even while it is still starting.

    A process inherits what its starter blocks. Ours is handled at the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int) -> None:
    """A worker begins; it does not outlive its parent."""
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C is the parent's to handle


@functools.cache
def _opened(model: ModelToOpen) -> Detector:
    return model.open()


def _find(model: ModelToOpen, path: Path) -> FoundPicture:
    return find_in(_opened(model), path)
