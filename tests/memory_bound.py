"""Run by tests in a child process: tries readers on many files with little memory.

`python memory_bound.py MEGABYTES`, with a line "READER<tab>FILE" on standard input for each trial:
prints a JSON line for each: the class of the error raised ("" if none) and its text. The limit is
on address space beyond what the libraries took on loading.
"""

import json
import resource
import sys
from pathlib import Path

import torch

from persondet.checkpoint import load_checkpoint
from persondet.errors import InputError
from persondet.networks import build_network
from persondet.training.initial import is_imagenet_backbone, start_from_imagenet
from persondet.training.state_file import read_state
from persondet.zoo import F38, detector_spec
from runtime.backend import model_kind


def checkpoint(path: Path) -> None:
    model_kind(path)
    load_checkpoint(path)


def initial(path: Path) -> None:
    if is_imagenet_backbone(path):
        start_from_imagenet(_NETWORK, path, torch.zeros(1, 3, 300, 300))


def hungry(path: Path) -> None:
    """Take more than any limit here, to show that the limit holds."""
    bytearray(2**30)


_NETWORK = build_network(detector_spec(F38, width_mult=0.1))
READERS = {"checkpoint": checkpoint, "initial": initial, "state": read_state, "hungry": hungry}


def limit_memory(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    taken = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + megabytes * 2**20,) * 2)


def main() -> None:
    torch.set_num_threads(1)
    _NETWORK(torch.zeros(1, 3, 300, 300))  # what torch allocates once, it has then
    limit_memory(int(sys.argv[1]))
    for line in sys.stdin:
        reader, _, name = line.rstrip("\n").partition("\t")
        try:
            READERS[reader](Path(name))
            error, text = "", ""
        except InputError as raised:  # its own kinds too
            error, text = "InputError", str(raised)
        except Exception as raised:
            error, text = type(raised).__name__, str(raised)
        print(json.dumps([error, text]), flush=True)


main()
