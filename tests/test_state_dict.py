"""Where a network is found in the checkpoints of training scripts, and what is said of the rest."""

import warnings

import pytest
import torch
from torch import nn

from persondet import zoo
from persondet.anchors import anchors_cxcywh_norm
from persondet.checkpoint import load_checkpoint
from persondet.errors import InputError
from persondet.networks import build_network, initialise

STEM = "base_net.0.0.weight"


def small(seed=5, name=zoo.F38):
    spec = zoo.detector_spec(name, width_mult=0.1)
    network = build_network(spec)
    initialise(network, seed)
    return network.eval(), spec


@pytest.fixture(scope="module")
def network():
    return small()[0]


@pytest.fixture
def state(network):
    return dict(network.state_dict())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def loaded(path, content):
    torch.save(content, path)
    return load_checkpoint(path)


def told(path, content, **options):
    torch.save(content, path)
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **options)
    return str(caught.value)


def is_same(checkpoint, network):
    ours, theirs = checkpoint.network.state_dict(), network.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "model.", "net.", "detector.", "_fsdp_wrapped_module."),
        *("_orig_mod.module.", "module._orig_mod.", "model._orig_mod.", "net.module.model."),
    ],
)
def test_prefixes_do_not_matter(path, network, state, prefix):
    checkpoint = loaded(path, {"state_dict": prefixed(prefix, state), "epoch": 3})
    assert is_same(checkpoint, network)
    assert len(checkpoint.notes) == 1 and "anchor height / width 1.7 " in checkpoint.notes[0]


def test_wrappers_in_the_middle_and_of_some_names_alone(path, network, state):
    """As torch.compile and DataParallel leave them when they wrap parts of a network."""
    mixed = {
        key.replace("base_net.", "base_net._orig_mod.").replace("extras.", "module.extras."): value
        for key, value in state.items()
    }
    assert is_same(loaded(path, mixed), network)


def test_what_torch_compile_and_averaging_really_save(path, network):
    with warnings.catch_warnings(action="ignore"):
        compiled = torch.compile(nn.Sequential(network))
    names = list(compiled.state_dict())
    assert names[0] == "_orig_mod.0.base_net.0.0.weight"
    assert is_same(loaded(path, compiled.state_dict()), network)
    averaged = torch.optim.swa_utils.AveragedModel(network)
    checkpoint = loaded(path, averaged.state_dict())
    assert is_same(checkpoint, network)
    assert any(
        note.endswith("not of the network's weights: n_averaged") for note in checkpoint.notes
    )


@pytest.mark.parametrize(
    "key",
    [
        *("state_dict", "model_state_dict", "model", "net", "ema", "ema_state_dict", "weights"),
        *("params", "model_state", "network", "state_dict_ema", "generator"),
    ],
)
def test_the_key_of_the_wrapper_does_not_matter(path, network, state, key):
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    assert is_same(loaded(path, {"optimizer": optimizer, key: state}), network)
    assert is_same(loaded(path, {"checkpoint": {key: {"module": state}}}), network)


def test_a_lightning_checkpoint(path, network, state):
    content = {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**prefixed("model.", state), "criterion.weight": torch.ones(2)},
        "callbacks": {"ModelCheckpoint{'monitor': 'ap'}": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": {"lr": 0.1, "milestones": (3, 5)},
    }
    checkpoint = loaded(path, content)
    assert is_same(checkpoint, network)
    assert any(
        note.endswith("not of the network's weights: criterion") for note in checkpoint.notes
    )


def test_numbers_of_numpy_do_not_hinder(path, network, state):
    import numpy as np

    assert is_same(loaded(path, {"best_ap": np.float64(0.5), "state_dict": state}), network)


def test_the_moving_average_is_taken_and_said(path, network, state):
    other = small(seed=6)[0]
    for content in (
        {"model": other.state_dict(), "ema": {"decay": 0.999, "module": state}},
        {
            "state_dict": prefixed("online_model.", other.state_dict())
            | prefixed("ema_model.", state)
        },
    ):
        checkpoint = loaded(path, content)
        assert is_same(checkpoint, network)
        assert "holds several networks; taken: " in checkpoint.notes[0]
        assert "ema" in checkpoint.notes[0].partition("not taken")[0]


def test_an_average_without_batch_norms_statistics_is_not_taken(path, network, state):
    shadow = {key: torch.zeros_like(value) for key, value in network.named_parameters()}
    checkpoint = loaded(path, {"model": state, "ema": {"shadow": shadow}})
    assert is_same(checkpoint, network)
    assert "taken: model; not taken: ema / shadow" in checkpoint.notes[0]


def test_several_networks_without_a_usual_name_are_refused(path, state):
    other = small(seed=6)[0].state_dict()
    text = told(path, {"teacher": other, "student": state})
    assert "holds several networks (teacher, student), and it does not say which one is" in text
    checkpoint = loaded(
        path, {"state_dict": prefixed("model.", state) | prefixed("teacher.", other)}
    )
    assert "taken: state_dict / model; not taken: state_dict / teacher" in checkpoint.notes[0]


def test_one_name_twice_is_refused(path, state):
    assert f"holds {STEM} twice" in told(path, state | {f"module.{STEM}": state[STEM] + 1})


def test_buffers_that_are_no_weights_are_left_out_saying_so(path, network, state):
    spec = small()[1]
    extra = {
        "priors": torch.from_numpy(anchors_cxcywh_norm(spec)),
        "center_variance": torch.ones(1),
    }
    extra |= {"base_net.3.total_ops": torch.zeros(1, dtype=torch.float64)}  # of the package thop
    checkpoint = loaded(path, prefixed("model.", state | extra))
    assert is_same(checkpoint, network)
    assert "network's weights: center_variance, priors, total_ops" in checkpoint.notes[0]
    assert not any("anchors that it stores" in note for note in checkpoint.notes)


@pytest.mark.parametrize("shape", [(10, 4), (3860, 4), (3860,)])
def test_other_anchors_in_the_file_are_said(path, state, shape):
    checkpoint = loaded(path, state | {"priors": torch.rand(shape)})
    assert any("the anchors that it stores, of shape" in note for note in checkpoint.notes)
    spec = zoo.detector_spec(zoo.F38, width_mult=0.1, anchor_ratios=[1.0])
    square = torch.from_numpy(anchors_cxcywh_norm(spec))
    torch.save(state | {"priors": square}, path)
    assert any("anchors that it stores" in note for note in load_checkpoint(path).notes)
    notes = load_checkpoint(path, anchor_ratios=[1.0]).notes
    assert not any("anchors that it stores" in note for note in notes)


@pytest.mark.parametrize(
    ("content", "nearest"),
    [
        ({"stem.0.weight": torch.zeros(8, 3, 3, 3), "head.bias": torch.zeros(4)}, False),
        (
            {f"base_net.{i}.conv.{j}.weight": torch.ones(1) for i in range(90) for j in range(9)},
            False,
        ),
        (
            {"base_net.0.0.weight": torch.zeros(32, 3, 3, 3)}
            | {f"base_net.{i}.0.weight": torch.zeros(3, 3) for i in range(1, 300)}
            | {f"classification_headers.{i}.weight": torch.zeros(8, 3, 3, 3) for i in range(6)},
            True,
        ),
    ],
)
def test_a_wrong_guess_of_the_network_is_not_shown(path, content, nearest):
    text = told(path, content)
    assert "of none of the known networks" in text and len(text.splitlines()) <= 20
    assert ("The nearest is" in text) == nearest
    assert "--model NETWORK lists the differences" in text


def test_many_entries_that_are_no_tensors_are_few_lines(path):
    text = told(path, {f"number {index}": index for index in range(1000)})
    assert "holds no tensors" in text and text.endswith("and 985 more")
    text = told(path, {STEM: torch.zeros(1), **{f"base_net.{i}": i for i in range(1000)}})
    assert "holds 1000 entries that are not float tensors" in text
    assert len(text.splitlines()) <= 20


def test_the_state_of_a_run_of_ours_is_a_checkpoint_too(path, network, state):
    from persondet.spec import spec_to_json

    spec = small()[1]
    other = small(seed=6)[0]
    content = {"network": other.state_dict(), "average": state, "learnt_from": "{}"}
    checkpoint = loaded(path, content | {"spec": spec_to_json(spec)})
    assert checkpoint.spec == spec and is_same(checkpoint, network)
    assert "taken: average; not taken: network" in checkpoint.notes[0]
