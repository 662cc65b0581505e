"""What a run starts from: ImageNet weights, another detector's, or an own checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from persondet.errors import InputError
from persondet.networks.ssd import SSD
from persondet.wording import counted

# torchvision's MobileNetV2 keeps its layers in `features`, block by block as base_net does, with
# one more Sequential around each convolution-norm pair.
_BLOCKS = range(1, 18)


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
    """Fill a MobileNetV2 backbone from ImageNet weights; heads and extras keep what they have.

    path: an .npz with batch norm folded (`features.<i>...weight_int8`, `.scale`, `.bias`), or
    torchvision's mobilenet_v2 state_dict. images: (N, 3, H, W) normalised, real: batch norm that
    was folded away is put back so that the backbone computes the same on them.
    Raises InputError where the file does not hold such a network of this width.
    """
    if path.suffix == ".npz":
        _fill_folded(network, _read_npz(path), images)
        pictures = counted(len(images), "picture")
        return [f"backbone from {path.name}, batch norm restored on {pictures}"]
    state = torch.load(path, map_location="cpu", weights_only=True)
    renamed = {
        ours: state[theirs] for ours, theirs in _torchvision_names(network) if theirs in state
    }
    return [f"backbone from {path.name}", *start_from_checkpoint(network, renamed)]


def is_imagenet_backbone(path: Path) -> bool:
    """Whether `start_from_imagenet` is for this file. One that cannot be read is not: who reads
    checkpoints explains better what is wrong with it."""
    if path.suffix == ".npz":
        return True
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged pickle can make the reader raise anything
        return False
    return isinstance(state, Mapping) and any(str(key).startswith("features.") for key in state)


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


def _read_npz(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Convolutions by name: weight (O, I, H, W) and bias (O,), float32."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [n.removesuffix(".weight_int8") for n in archive if n.endswith(".weight_int8")]
            return {
                name: (
                    archive[f"{name}.weight_int8"]
                    * archive[f"{name}.scale"].reshape(-1, 1, 1, 1).astype(np.float32),
                    archive[f"{name}.bias"].astype(np.float32),
                )
                for name in names
                if name.startswith("features.")
            }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read the weights {path}: {error}") from None


@torch.no_grad()
def _fill_folded(
    network: SSD, folded: Mapping[str, tuple[np.ndarray, np.ndarray]], images: Tensor
) -> None:
    """Weights, and norms that undo themselves: y = x + folded bias on these images.

    Before each norm runs, its statistics are taken from what comes in, and its scale and shift are
    set to give that back plus the bias; one forward pass does all, as each sees the ones before
    already set.
    """
    modules = dict(network.named_modules())
    hooks = []
    for our_conv, our_norm, their_conv, _ in _conv_norm_names(network):
        if their_conv not in folded:
            raise InputError(f"the weights to start from lack {their_conv}")
        weight, bias = folded[their_conv]
        conv, norm = modules[our_conv], modules[our_norm]
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        if conv.weight.shape != weight.shape:
            raise InputError(
                f"{their_conv} has shape {weight.shape}, the network's {our_conv} "
                f"{tuple(conv.weight.shape)}; only width 1.0 can start from it"
            )
        conv.weight.copy_(torch.from_numpy(weight))
        hooks.append(norm.register_forward_pre_hook(_restore(torch.from_numpy(bias))))
    training = network.training
    network.eval()
    network(images)
    network.train(training)
    for hook in hooks:
        hook.remove()


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
