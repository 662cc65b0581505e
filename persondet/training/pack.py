"""A trained checkpoint as a file to ship: half precision on disk, its provenance beside it.

`python -m persondet.training.pack RUN/best.pth persondet/weights/head.pth --record recipe.json`
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from persondet.checkpoint import checkpoint_bytes, load_checkpoint
from persondet.files import read_json
from persondet.sidecar import check_destination, publishing, sha256_of


def pack(source: Path, destination: Path, record: Mapping[str, Any]) -> str:
    """Write the checkpoint's weights as float16 and its sidecar; returns the file's sha256.

    record: over what the checkpoint says of its training: data by name rather than by path, terms,
    contamination; JSON-ready. `score_threshold` in it becomes the spec's.
    """
    checkpoint = load_checkpoint(source)
    check_destination(destination, ".pth", inputs=[source])
    training = {**checkpoint.training, **record}
    threshold = training.pop("score_threshold", checkpoint.spec.score_threshold)
    spec = replace(checkpoint.spec, score_threshold=threshold)
    with publishing() as publication:
        publication.file(destination).write_bytes(
            checkpoint_bytes(checkpoint.network, spec, training, torch.float16)
        )
        publication.describe(
            destination,
            step="train",
            inputs=[source],
            spec=spec,
            packages=["torch"],
            details={"training": training},
        )
    return sha256_of(destination)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pack a trained checkpoint to ship it.")
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--record", type=Path, required=True, help="JSON: see `pack`.")
    arguments = parser.parse_args()
    record = read_json(arguments.record, "the record")
    digest = pack(arguments.source, arguments.destination, record)
    print(f"{arguments.destination}: {arguments.destination.stat().st_size:,} bytes, {digest}")


if __name__ == "__main__":
    main()
