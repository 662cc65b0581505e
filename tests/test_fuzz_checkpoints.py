"""Damaged and hostile checkpoints and .npz files: a message, no traceback, no gigabytes."""

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import hostile_files, safetensors_of, saved, write_all

from persondet.networks import build_network, initialise
from persondet.training.initial import _folded_shapes
from persondet.zoo import F38, detector_spec

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="needs /proc to bound a process's memory"
)
MEGABYTES = 256
MUTATIONS = 50  # of each kind
MUTATED = [  # kind of file, what reads it, suffix
    ("zip", "checkpoint", ".pth"),
    ("zip", "state", ".pt"),
    ("old", "checkpoint", ".ckpt"),
    ("safetensors", "checkpoint", ".safetensors"),
    ("zip", "initial", ".pth"),
    ("npz", "initial", ".npz"),
]
CHILD = Path(__file__).parent / "memory_bound.py"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Flipped bytes, a cut, a gap, a repeated or a foreign piece; more often near the ends, where
    the structures of a zip are."""
    at = rng.choice((rng.randrange(len(data)), rng.randrange(400), -rng.randrange(1, 400)))
    at %= len(data)
    length = rng.choice((1, 1, 2, 4, 8, 64))
    piece = rng.choice((b"\0", b"\xff", b"\x7f", rng.randbytes(1))) * length
    start = rng.randrange(len(data))
    return {
        "flip": data[:at] + piece + data[at + length :],
        "cut": data[:at],
        "gap": data[:at] + data[at + length :],
        "insert": data[:at] + piece + data[at:],
        "move": data[:at] + data[start : start + length] + data[at + length :],
    }[rng.choice(("flip", "flip", "flip", "cut", "gap", "insert", "move"))]


def whole_files(folder: Path) -> dict[str, bytes]:
    """A file of each kind."""
    network = build_network(detector_spec(F38, width_mult=0.1))
    initialise(network, 3)
    state = network.state_dict()
    spans, data = {}, b""
    for name, value in state.items():
        if value.is_floating_point():
            raw = value.numpy().tobytes()
            entry = {"dtype": "F32", "shape": list(value.shape)}
            spans[name] = entry | {"data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    npz = folder / "a.npz"
    arrays = {}
    for name, shape in _folded_shapes(network).items():
        arrays[f"{name}.weight_int8"] = np.ones(shape, np.int8)
        arrays[f"{name}.scale"] = np.full(shape[0], 1e-3, np.float32)
        arrays[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    np.savez_compressed(npz, **arrays)
    return {
        "zip": saved({"state_dict": state, "epoch": 3}),
        "old": saved(state, zipped=False),
        "safetensors": safetensors_of(spans, data),
        "npz": npz.read_bytes(),
    }


def hostile_npz(folder: Path) -> list[Path]:
    """Zeros compress a thousandfold, and a header may say any shape."""
    zeros, header = folder / "zeros.npz", folder / "header.npz"
    np.savez_compressed(zeros, **{"features.0.0.weight_int8": np.zeros(2**24, np.int8)})
    words = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3, 1099511627776), }"
    with zipfile.ZipFile(header, "w") as archive:
        data = b"\x93NUMPY\x01\x00\x76\x00" + words.ljust(117) + b"\n"
        archive.writestr("features.0.0.weight_int8.npy", data)
    return [zeros, header]


@dataclass(frozen=True)
class Trial:
    """One file and what reads it. whole: it is neither damaged nor hostile."""

    group: str
    name: str
    reader: str
    path: Path
    whole: bool = False


def made_trials(folder: Path) -> Iterator[Trial]:
    seeds = whole_files(folder)
    for kind, reader, suffix in MUTATED:
        rng, group = random.Random(f"{kind} {reader}"), f"{kind} {reader}"
        for index in range(MUTATIONS + 1):
            path = folder / f"{kind}-{reader}-{index}{suffix}"
            path.write_bytes(mutated(seeds[kind], rng) if index else seeds[kind])
            yield Trial(group, str(index), reader, path, whole=index == 0)
    files = hostile_files()
    paths = write_all(folder / "hostile", files)
    for reader in ("checkpoint", "initial", "state"):
        for name, path in zip(files, paths, strict=True):
            yield Trial("hostile", name, reader, path)
    for path in hostile_npz(folder):
        yield Trial("hostile npz", path.stem, "initial", path)
    yield Trial("limit", "limit", "hungry", folder)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[Trial, tuple[str, str]]:
    """The error's class and text of each trial, all in one child process with little memory."""
    trials = list(made_trials(tmp_path_factory.mktemp("files")))
    done = subprocess.run(
        [sys.executable, str(CHILD), str(MEGABYTES)],
        input="".join(f"{trial.reader}\t{trial.path}\n" for trial in trials),
        capture_output=True,
        text=True,
        timeout=500,
    )
    found = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (trials[len(found)], done.stderr[-3000:])
    return dict(zip(trials, found, strict=True))


Outcomes = dict[Trial, tuple[str, str]]


@pytest.mark.parametrize(("kind", "reader", "suffix"), MUTATED)
def test_mutations_end_in_a_message(
    outcomes: Outcomes, kind: str, reader: str, suffix: str
) -> None:
    found = {t: outcome for t, outcome in outcomes.items() if t.group == f"{kind} {reader}"}
    assert len(found) == MUTATIONS + 1
    for trial, (error, text) in found.items():
        assert error in ("", "InputError"), (trial, error, text)
        assert not error or (str(trial.path) in text and len(text) < 20_000)
        if trial.whole:  # a checkpoint is not a training state
            assert (error == "InputError") == (reader == "state"), text


@pytest.mark.parametrize("reader", ["checkpoint", "initial", "state"])
def test_files_that_claim_much_are_refused(outcomes: Outcomes, reader: str) -> None:
    found = {t: o for t, o in outcomes.items() if t.group == "hostile" and t.reader == reader}
    assert len(found) > 20
    for trial, (error, text) in found.items():
        # What cannot be read is left by `initial` to whoever reads checkpoints.
        allowed = ("", "InputError") if reader == "initial" else ("InputError",)
        assert error in allowed, (trial, error, text)


def test_tensors_that_claim_more_than_the_file_has_are_named(outcomes: Outcomes) -> None:
    texts = {t.name: text for t, (_, text) in outcomes.items() if t.reader == "checkpoint"}
    assert (
        "a tensor of shape 2147483648 x 1 claims 8,589,934,592 bytes, its storage has 4"
        in texts["8 GB of one number"]
    )
    assert "1024 x 1073741824 claims 4,398,046,511,104 bytes" in texts["4 TB of one number"]
    assert "the tensors claim 1,048,576,000 bytes" in texts["a megabyte shown a thousand times"]


def test_an_npz_that_claims_much_is_refused(outcomes: Outcomes) -> None:
    found = [outcome for t, outcome in outcomes.items() if t.group == "hostile npz"]
    assert len(found) == 2
    for error, text in found:
        assert error == "InputError" and "features.0.0.weight_int8 has shape" in text


def test_the_limit_holds(outcomes: Outcomes) -> None:
    """Without it the tests above could not fail."""
    assert [error for t, (error, _) in outcomes.items() if t.group == "limit"] == ["MemoryError"]
