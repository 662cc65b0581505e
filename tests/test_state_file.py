"""Resuming from a state that is damaged, of another run, or of an earlier release."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_data import CONFIG, made_data

from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.training.trainer import BEST_FILE, LAST_FILE, STATE_FILE, Run, train
from persondet.zoo import F38, detector_spec

SPEC = detector_spec(F38, width_mult=0.1)


def network():
    made = build_network(SPEC)
    initialise(made, 3)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch that has ended."""
    folder = tmp_path_factory.mktemp("state")
    data = made_data(folder / "images")
    config = replace(CONFIG, epochs=1)
    run = Run(SPEC, config, data, folder / "run", evaluate=lambda network: {"score": 0.5})
    run.folder.mkdir()
    train(run, network())
    return run


@pytest.fixture
def resumed(run: Run, tmp_path: Path):
    """Resumes in a folder of its own that holds this state, as torch.save writes it."""

    def resume(state: object) -> None:
        torch.save(state, tmp_path / STATE_FILE)
        train(replace(run, folder=tmp_path), network(), resume=True)

    return resume


@pytest.fixture
def state(run: Run) -> dict:
    return torch.load(run.folder / STATE_FILE, weights_only=True)


def test_a_whole_state_resumes(resumed, state: dict) -> None:
    resumed(state)


def test_options_of_another_torch_do_not_hinder(resumed, state: dict) -> None:
    for group in state["optimizer"]["param_groups"]:
        del group["foreach"]
        group["of a later release"] = 1
    resumed(state)


def changed(*keys: object, to: object):
    def change(state: dict) -> dict:
        *way, last = keys
        inner = state
        for key in way:
            inner = inner[key]
        inner[last] = to
        return state

    return change


NAME = "base_net.0.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: [state], "it is not a training state"),
        (lambda state: torch.ones(3), "it is not a training state"),
        (lambda state: {"state_dict": state["network"]}, "it lacks average, average_updates, conf"),
        (changed("network", to={}), r"the entries of state\['network'\] differ"),
        (changed("network", to=7), r"the entries of state\['network'\] differ"),
        (changed("network", NAME, to=torch.ones(3)), "has another type or shape"),
        (changed("network", NAME, to="text"), "has another type or shape"),
        (changed("average", to=None), r"the entries of state\['average'\] differ"),
        (changed("average_updates", to="7"), "has another type or shape"),
        (changed("average_updates", to=-1), "average_updates is -1"),
        (changed("optimizer", to=[]), "the entries of the optimizer differ"),
        (changed("optimizer", "param_groups", to={}), "groups of the optimizer's parameters"),
        (changed("optimizer", "param_groups", 0, to=3), "groups of the optimizer's parameters"),
        (changed("optimizer", "param_groups", 0, "params", to=[5]), "groups of the optimizer's"),
        (changed("optimizer", "param_groups", 0, "lr", to="fast"), "has another type or shape"),
        (changed("optimizer", "param_groups", 1, to={"params": None}), "groups of the optim"),
        (changed("optimizer", "state", to=4), "what the optimizer remembers has another type"),
        (changed("optimizer", "state", 9999, to={}), "the optimizer remembers parameter 9999"),
        (changed("optimizer", "state", "x", to={}), "the optimizer remembers parameter 'x'"),
        (
            changed("optimizer", "state", 0, to={"momentum_buffer": torch.ones(1)}),
            "another type or",
        ),
        (changed("optimizer", "state", 0, to={"step": 3}), "of parameter 0 what is remembered"),
        (changed("progress", to={"epoch": 1}), r"the entries of state\['progress'\] differ"),
        (changed("progress", "epoch", to=0.5), "has another type or shape"),
        (changed("progress", "batch", to=-3), "batch is -3"),
        (changed("config", to=torch.ones(2)), "made with another configuration"),
        (changed("spec", to="{}"), "made with another network or other anchors"),
    ],
)
def test_wrong_content_is_refused(resumed, state: dict, change, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s)state.pt.*{message}"):
        resumed(change(copy.deepcopy(state)))


def test_an_expanded_state_is_refused(resumed, state: dict) -> None:
    state["network"][NAME] = torch.ones(1).expand(2**20)
    with pytest.raises(InputError, match=r"cannot resume from .*claims 4,194,304 bytes, its stora"):
        resumed(state)


@pytest.mark.parametrize("name", [BEST_FILE, LAST_FILE, STATE_FILE])
def test_the_files_of_a_run_hold_their_own_checksums(run: Run, tmp_path: Path, name: str) -> None:
    """So that no kill between two writes leaves a file whose checksum is another's."""
    from persondet.checkpoint_file import read_checkpoint_file

    data = bytearray((run.folder / name).read_bytes())
    assert not (run.folder / f"{name}.json").exists()
    for at in range(len(data) // 8, len(data) // 2, len(data) // 16):
        stem = data[at : at + 64]
        if not any(stem):  # the space between two entries
            continue
        data[at : at + 64] = bytes(64)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="damaged"):
            read_checkpoint_file(tmp_path / name)
        data[at : at + 64] = stem
