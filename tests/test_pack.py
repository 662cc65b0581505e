"""The file of a trained checkpoint that is shipped."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from persondet.checkpoint import load_checkpoint, save_checkpoint
from persondet.networks import build_network, initialise
from persondet.sidecar import read_sidecar, sha256_of
from persondet.training.pack import pack
from persondet.zoo import F38, detector_spec


def test_half_precision_with_its_provenance(tmp_path: Path) -> None:
    spec = replace(detector_spec(F38, width_mult=0.25), score_threshold=0.3)
    network = build_network(spec)
    initialise(network, 0)
    source = tmp_path / "best.pth"
    save_checkpoint(source, network, spec, {"data": ["coco:a.json:pictures"], "seed": 3})
    record = {"data": ["a set by name"], "score_threshold": 0.45}
    digest = pack(source, tmp_path / "head.pth", record)
    assert digest == sha256_of(tmp_path / "head.pth")
    packed = load_checkpoint(tmp_path / "head.pth")
    assert packed.spec == replace(spec, score_threshold=0.45)
    assert packed.training == {"data": ["a set by name"], "seed": 3}
    for name, value in network.state_dict().items():
        torch.testing.assert_close(
            packed.network.state_dict()[name], value, rtol=1e-3, atol=1e-6, check_dtype=False
        )
    assert source.stat().st_size > 1.9 * (tmp_path / "head.pth").stat().st_size
    sidecar = read_sidecar(tmp_path / "head.pth")
    assert sidecar is not None
    assert sidecar["details"]["training"]["data"] == ["a set by name"]
    assert "coco:" not in json.dumps(sidecar["details"])
