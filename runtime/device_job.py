"""A model on many tensors, for who sits at another machine: `python3 -m runtime.device_job JOB`.

JOB is a JSON file: see `Job`. Its folder holds the files that it names. The last line on standard
output is the report, as JSON: every run's nanoseconds, or what failed.
"""

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from persondet.errors import PersondetError
from persondet.files import read_json
from persondet.spec import spec_from_dict
from runtime.backend import Backend, open_backend


@dataclass(frozen=True)
class Job:
    """What to run.

    model, tensors, outputs: file names in the job's folder. tensors: .npy of shape (N, ...), one
    input a row, without the batch dimension. outputs: an .npz to write, each output of shape
    (N, ...), of the last round; None for none. options: of `open_backend`.
    Each tensor is run once a round: `warmup` rounds, whose times are left out, then `rounds`.
    """

    model: str
    spec: Mapping[str, Any]
    tensors: str
    outputs: str | None
    warmup: int
    rounds: int
    options: Mapping[str, Any]


def run_job(path: Path) -> dict[str, Any]:
    """The report: init_ns, durations_ns (in the order of running), device, emulated, machine.

    Raises InputError for a model that does not run here, PersondetError where it fails.
    """
    job = Job(**read_json(path, "the job"))
    tensors = np.load(path.parent / job.tensors, allow_pickle=False)
    start = perf_counter_ns()
    backend = open_backend(path.parent / job.model, spec_from_dict(job.spec), **job.options)
    init_ns = perf_counter_ns() - start
    try:
        durations_ns, outputs = _run_rounds(backend, tensors, job)
        if job.outputs is not None:
            _save(path.parent / job.outputs, outputs)
        return {
            "init_ns": init_ns,
            "durations_ns": durations_ns,
            "device": backend.device,
            "emulated": bool(getattr(backend, "emulated", False)),
            "machine": _machine(),
        }
    finally:
        backend.close()


def _run_rounds(
    backend: Backend, tensors: np.ndarray, job: Job
) -> tuple[list[int], list[dict[str, np.ndarray]]]:
    durations_ns: list[int] = []
    outputs: list[dict[str, np.ndarray]] = []
    for number in range(-job.warmup, job.rounds):
        outputs = []
        for tensor in tensors:
            start = perf_counter_ns()
            answer = backend.infer(tensor[None])
            end = perf_counter_ns()
            if number >= 0:
                durations_ns.append(end - start)
            outputs.append(answer)
    return durations_ns, outputs


def _save(path: Path, outputs: list[dict[str, np.ndarray]]) -> None:
    part = path.with_name(f"part-{path.name}")
    try:
        rows = {name: np.concatenate([answer[name] for answer in outputs]) for name in outputs[0]}
        np.savez(part, allow_pickle=False, **rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores,
        "python": platform.python_version(),
    }


def main(argv: list[str]) -> int:
    try:
        report = run_job(Path(argv[1]))
    except PersondetError as error:
        report = {"error": str(error), "exit_code": error.exit_code}
    print("\n" + json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
