"""All pictures of a data set through a model: from the cache what is there, the rest detected."""

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.evaluation.detections_cache import DetectionsCache
from benchmarks.evaluation.found import FoundPicture, ModelToOpen, find_in_all
from runtime.backend import Backend


def collect(
    model: ModelToOpen,
    backend: Backend,
    paths: Sequence[Path],
    cache: DetectionsCache | None,
    workers: int = 1,
    advance: Callable[[], object] = lambda: None,
) -> tuple[list[FoundPicture], int]:
    """What is found on each picture, in their order, and how many of them came from the cache.

    backend: the model, open; several processes open it anew. advance: called after each picture.
    What is found is in the cache at once, so that an interrupted run goes on.
    """
    results: dict[int, FoundPicture] = {}
    for index, path in enumerate(paths):
        if cache is not None and (kept := cache.get(path)) is not None:
            results[index] = kept
            advance()
    cached = len(results)
    missing = [index for index in range(len(paths)) if index not in results]

    def keep(position: int, found: FoundPicture) -> None:
        index = missing[position]
        results[index] = found
        if cache is not None:
            cache.put(paths[index], found)
        advance()

    to_do = [paths[index] for index in missing]
    if workers > 1 and len(to_do) > 1:
        from benchmarks.evaluation.workers import find_in_processes

        find_in_processes(model, to_do, workers, keep)
    else:
        find_in_all(model.detector(backend), to_do, keep)
    return [results[index] for index in range(len(paths))], cached
