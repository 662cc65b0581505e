"""The detection networks as torch modules; their child names are those of published checkpoints."""

import torch
from torch import nn

from persondet.errors import InputError
from persondet.networks import mobilenet_v2, rfb
from persondet.networks.ssd import SSD
from persondet.spec import DetectorSpec


def build_network(spec: DetectorSpec) -> SSD:
    """The network that the spec describes, with torch's default random weights.

    eval forward: float32 (N,3,H,W), normalised RGB, to (scores (N,A,classes) logits,
    boxes (N,A,4) offsets x, y, w, h), in the anchor order of `persondet.anchors`.
    Raises InputError for a network without code here.
    """
    if spec.network in mobilenet_v2.NETWORKS:
        return mobilenet_v2.mobilenet_v2_ssd(spec)
    if spec.network in rfb.NETWORKS:
        return rfb.rfb_tiny_ssd(spec)
    known = ", ".join((*mobilenet_v2.NETWORKS, *rfb.NETWORKS))
    raise InputError(f"unknown network {spec.network!r}; known: {known}")


def initialise(network: SSD, seed: int = 0) -> None:
    """Seeded random weights that keep the variance of activations from layer to layer.

    Kaiming on the inputs of a neuron: a depthwise convolution has 9 of them, whatever its width.
    The gain is that of the activation behind the convolution, so that an untrained network gives
    outputs of a useful size in eval mode too, where batch norm does nothing yet. What the heads
    give is ten times smaller, as small first offsets and even scores are the better start.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules = list(network.modules())
        for module, following in zip(modules, [*modules[2:], None, None], strict=True):
            if isinstance(module, nn.Conv2d):
                if isinstance(following, nn.ReLU | nn.ReLU6):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for head in (*network.classification_headers, *network.regression_headers):
            last = [module for module in head.modules() if isinstance(module, nn.Conv2d)][-1]
            with torch.no_grad():
                last.weight *= 0.1
