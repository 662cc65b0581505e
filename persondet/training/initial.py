"""What a run starts from: ImageNet weights, another detector's, or an own checkpoint."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from persondet.checkpoint import float_tensors
from persondet.checkpoint_file import read_checkpoint_file
from persondet.errors import InputError
from persondet.networks.ssd import SSD
from persondet.state_dict import largest_table
from persondet.training.folded_npz import read_folded
from persondet.wording import counted

# torchvision's MobileNetV2 keeps its layers in `features`, block by block as base_net does, with
# one more Sequential around each convolution-norm pair.
_BLOCKS = range(1, 18)
_STEM = "0.0.weight"  # the name of the first convolution in a backbone


def start_from_checkpoint(network: SSD, weights: Mapping[str, Tensor]) -> list[str]:
    """Copy every tensor of the same name and shape; returns what was initialised anew, as notes.

    Raises InputError where nothing fits.
    """
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }
    if not any(name.startswith("base_net.") for name in fitting):
        raise InputError("the checkpoint to start from has no backbone of this network in it")
    network.load_state_dict(fitting, strict=False)
    anew = [name for name in own if name not in fitting and not name.endswith("batches_tracked")]
    if not anew:
        return []
    modules = sorted({name.rpartition(".")[0].rpartition(".")[0] for name in anew})
    return [f"initialised anew, as names or shapes differ: {', '.join(modules)}"]


@torch.no_grad()
def favour_background(network: SSD, prior: float = 0.01) -> None:
    """Shift the last biases of the classification heads so that an anchor is foreground with this
    probability at the start (Lin et al. 2017, section 4.1): without it, thousands of background
    anchors make the first losses huge."""
    shift = float(np.log((1 - prior) / prior * (network.num_classes - 1)))
    for head in network.classification_headers:
        last = [module for module in head.modules() if isinstance(module, nn.Conv2d)][-1]
        assert last.bias is not None
        last.bias[0 :: network.num_classes] += shift


def start_from_imagenet(network: SSD, path: Path, images: Tensor) -> list[str]:
    """Fill the backbone from ImageNet weights; heads and extras keep what they have.

    path: an .npz with batch norm folded (`features.<i>...weight_int8`, `.scale`, `.bias`),
    torchvision's mobilenet_v2 state_dict, or a backbone alone under the names that it has here,
    without or with what stands before them (`0.0.weight`, `features.0.0.weight`,
    `base_net.0.0.weight`). images: (N, 3, H, W) normalised, real: batch norm that was folded away
    is put back so that the backbone computes the same on them.
    Raises InputError when the file does not hold such a backbone of this width.
    """
    if path.suffix == ".npz":
        _fill_folded(network, path, images)
        pictures = counted(len(images), "picture")
        return [f"backbone from {path.name}, batch norm restored on {pictures}"]
    table = largest_table(path, read_checkpoint_file(path))
    prefix = _backbone_prefix(table) or ""
    renamed = _under_our_names(network, float_tensors(path, _without(prefix, table)))
    own = {name: value for name, value in network.state_dict().items() if _is_backbone(name)}
    fitting = sum(renamed[n].shape == own[n].shape for n in own.keys() & renamed)
    if fitting < len(own) / 2:
        raise InputError(
            f"{path} holds another backbone than this network's: of {len(own)} tensors, {fitting} "
            "fit in name and shape; only the same network and width can start from it"
        )
    return [f"backbone from {path.name}", *start_from_checkpoint(network, renamed)]


def is_imagenet_backbone(path: Path) -> bool:
    """True if `start_from_imagenet` is for this file. One that cannot be read is not: who reads
    checkpoints explains better what is wrong with it."""
    if path.suffix == ".npz":
        return True
    try:
        content = read_checkpoint_file(path)
        return isinstance(content, Mapping) and (
            _backbone_prefix(largest_table(path, content)) is not None
        )
    except InputError:
        return False


def _backbone_prefix(table: Mapping[Any, Any]) -> str | None:
    """What stands before the names of a backbone that is alone in the table; None otherwise."""
    names = [name for name in table if isinstance(name, str)]
    if any("classification_headers." in name for name in names):
        return None
    stems = (name.removesuffix(_STEM) for name in names if name.endswith(_STEM))
    alone = (stem for stem in stems if re.search(r"(^|\.)((features|base_net)\.)?$", stem))
    return next(alone, None)


def _without(prefix: str, table: Mapping[Any, Any]) -> dict[str, Any]:
    named = {name: value for name, value in table.items() if isinstance(name, str)}
    return {n.removeprefix(prefix): value for n, value in named.items() if n.startswith(prefix)}


def _under_our_names(network: SSD, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's tensors, from torchvision's names or from those that they have here."""
    theirs = {
        our_name: weights[name]
        for our_name, their_name in _torchvision_names(network)
        if (name := their_name.removeprefix("features.")) in weights
    }
    ours = {f"base_net.{name}": value for name, value in weights.items()}
    own = network.state_dict().keys()
    return max((theirs, ours), key=lambda renamed: len(own & renamed))


def _is_backbone(name: str) -> bool:
    return name.startswith("base_net.") and not name.endswith("num_batches_tracked")


def _conv_norm_names(network: SSD) -> list[tuple[str, str, str, str]]:
    """(our conv, our norm, their conv, their norm) of every pair of the backbone, in order."""
    pairs = [("base_net.0.0", "base_net.0.1", "features.0.0", "features.0.1")]
    for block in _BLOCKS:
        ours, theirs = f"base_net.{block}.conv", f"features.{block}.conv"
        if block == 1:  # no expansion
            pairs.append((f"{ours}.0", f"{ours}.1", f"{theirs}.0.0", f"{theirs}.0.1"))
            pairs.append((f"{ours}.3", f"{ours}.4", f"{theirs}.1", f"{theirs}.2"))
            continue
        pairs.append((f"{ours}.0", f"{ours}.1", f"{theirs}.0.0", f"{theirs}.0.1"))
        pairs.append((f"{ours}.3", f"{ours}.4", f"{theirs}.1.0", f"{theirs}.1.1"))
        pairs.append((f"{ours}.6", f"{ours}.7", f"{theirs}.2", f"{theirs}.3"))
    pairs.append(("base_net.18.0", "base_net.18.1", "features.18.0", "features.18.1"))
    return pairs


def _torchvision_names(network: SSD) -> list[tuple[str, str]]:
    names = []
    for our_conv, our_norm, their_conv, their_norm in _conv_norm_names(network):
        names.append((f"{our_conv}.weight", f"{their_conv}.weight"))
        for part in ("weight", "bias", "running_mean", "running_var"):
            names.append((f"{our_norm}.{part}", f"{their_norm}.{part}"))
    return names


@torch.no_grad()
def _fill_folded(network: SSD, path: Path, images: Tensor) -> None:
    """Weights, and norms that undo themselves: y = x + folded bias on these images.

    Before each norm runs, its statistics are taken from what comes in, and its scale and shift are
    set to give that back plus the bias; one forward pass does all, as each sees the ones before
    already set.
    """
    modules = dict(network.named_modules())
    pairs = _conv_norm_names(network)
    if not all(
        name in modules for our_conv, our_norm, *_ in pairs for name in (our_conv, our_norm)
    ):
        raise InputError(
            f"{path.name} is for a MobileNetV2, and this network has another backbone; start from "
            "a checkpoint of it, or from random weights"
        )
    folded = read_folded(path, _folded_shapes(network))
    hooks = []
    for our_conv, our_norm, their_conv, _ in pairs:
        weight, bias = folded[their_conv]
        conv, norm = modules[our_conv], modules[our_norm]
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        conv.weight.copy_(torch.from_numpy(weight))
        hooks.append(norm.register_forward_pre_hook(_restore(torch.from_numpy(bias))))
    training = network.training
    network.eval()
    network(images)
    network.train(training)
    for hook in hooks:
        hook.remove()


def _folded_shapes(network: SSD) -> dict[str, tuple[int, ...]]:
    """The shape of each convolution of the backbone, by its name in the file."""
    state = network.state_dict()
    return {
        their_conv: tuple(state[f"{our_conv}.weight"].shape)
        for our_conv, _, their_conv, _ in _conv_norm_names(network)
    }


def _restore(bias: Tensor):
    def before(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(torch.sqrt(variance + norm.eps))
        norm.bias.copy_(mean + bias)

    return before
