"""`persondet train`."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.options import NAMES

if TYPE_CHECKING:
    from persondet.data.samples import DataSet
    from persondet.networks.ssd import SSD
    from persondet.spec import DetectorSpec
    from persondet.training.config import TrainConfig
    from persondet.training.distillation import Teacher

_RECALIBRATION_PICTURES = 192


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "--model",
    help="A network (f38 for short), or a spec's JSON. [default: what --init is]",
)
@click.option(
    "--val",
    multiple=True,
    metavar="DATA",
    help="Data that the best checkpoint is chosen on; may be given more than once.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR")
@click.option(
    "--init",
    metavar="MODEL",
    help="Start from ImageNet weights (.npz, or torchvision's .pth), a checkpoint, or a model "
    "known by name such as ssdlite-mb2-person.",
)
@click.option(
    "--teacher",
    metavar="MODEL",
    help="Learn what this detector says, too, where both have an anchor of one shape; pictures "
    "need not be annotated then.",
)
@click.option("--classes", type=NAMES, metavar="NAMES", help="[default: the model's classes]")
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="TOML")
@click.option("--epochs", type=click.IntRange(1))
@click.option("--batch-size", type=click.IntRange(1))
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True))
@click.option("--seed", type=click.IntRange(0))
@click.option("--workers", type=click.IntRange(0), help="Processes that read and augment.")
@click.option("--freeze-backbone", is_flag=True, default=None)
@click.option("--device", help="cpu, cuda, cuda:1. [default: a GPU where there is one]")
@click.option("--resume", is_flag=True, help="Go on where a run into --out was interrupted.")
def command(
    data: tuple[str, ...],
    model: str | None,
    val: tuple[str, ...],
    out: Path,
    init: str | None,
    teacher: str | None,
    classes: tuple[str, ...] | None,
    config_path: Path | None,
    device: str | None,
    resume: bool,
    **overrides: Any,
) -> None:
    """Train a detector on DATA: FORMAT:ANNOTATIONS:IMAGES, such as coco:train.json:images/.

    Writes into --out: best.pth (by AP50 on --val; its score threshold is that of the best F1
    there), last.pth, state.pt to --resume from, log.jsonl, curves.png, config.json, and scalars for
    TensorBoard where that is installed. Ctrl-C ends the step and keeps what is needed to resume;
    a second one ends at once. Under torchrun, every process trains on its share.
    """
    import dataclasses

    import torch

    from persondet.cli.interruption import asked_to_stop
    from persondet.cli.opening import open_spec
    from persondet.cli.progress import progress_bar
    from persondet.data.cleaning import with_small_ignored
    from persondet.data.sources import open_datasets
    from persondet.data.summary import summary_lines
    from persondet.networks import build_network
    from persondet.sidecar import check_folder, replacing
    from persondet.training.config import config_to_dict
    from persondet.training.scalars import scalar_log
    from persondet.training.trainer import Run, train

    check_folder(out)
    spec = open_spec(model) if model else _spec_of(init)
    if classes:
        spec = dataclasses.replace(spec, class_names=("background", *classes))
    config = _config(config_path, overrides)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    shard, shards = _join_processes(device)
    training_set = open_datasets(data, spec.class_names[1:], keep_unlabelled=bool(teacher))
    network = build_network(spec)
    taught_by = _teacher(teacher, spec, device) if teacher else None
    notes = [] if resume else _start(network, init, training_set, spec, config)
    if taught_by:
        notes.append(f"{teacher} teaches {taught_by.num_anchors} of {spec.num_anchors} anchors")
    origin = {
        "data": list(data),
        "val": list(val),
        "init": init,
        "teacher": teacher,
        "images": len(training_set.samples),
        "boxes": training_set.num_boxes,
    }
    if shard == 0:
        text = json.dumps(origin | {"config": config_to_dict(config)}, indent=2)
        with replacing(out / "config.json") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        # Of the pictures as they are: a crop of one may enlarge a box so that it is learnt.
        seen = with_small_ignored(training_set, spec.input_size_hw, config.min_side_px)
        for line in (*summary_lines(seen), *notes, text):
            click.echo(line, err=True)
    evaluate = _evaluator(val, spec, device) if val and shard == 0 else None
    batches = len(training_set.samples) * config.epochs // config.batch_size
    with (
        scalar_log(out, shown=shard == 0) as log_scalars,
        progress_bar("training", batches, shown=shard == 0) as advance,
        asked_to_stop() as stop,
    ):

        def report(record: Mapping[str, Any]) -> None:
            _echo_epoch(record)
            log_scalars(record)

        run = Run(
            *(spec, config, training_set, out, evaluate, device, shard, shards),
            report=report,
            on_step=advance,
            stop=stop,
            origin=origin,
            teacher=taught_by,
        )
        progress = train(run, network, resume=resume)
        if stop() and shard == 0:
            click.echo(f"stopped after step {progress.step}; --resume goes on there", err=True)
    if shards > 1:
        torch.distributed.destroy_process_group()
    if shard == 0:
        _finish(out, progress.best_score, evaluate is not None)


def _config(path: Path | None, overrides: Mapping[str, Any]) -> "TrainConfig":
    from persondet.training.config import config_from_dict, read_config

    values = read_config(path) if path else {}
    return config_from_dict(values | {k: v for k, v in overrides.items() if v is not None})


def _join_processes(device: str) -> tuple[int, int]:
    """(shard, shards) of torchrun; (0, 1) without it."""
    if "RANK" not in os.environ:
        return 0, 1
    import torch

    backend = "nccl" if device.startswith("cuda") else "gloo"
    torch.distributed.init_process_group(backend)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _spec_of(init: str | None) -> "DetectorSpec":
    from persondet.checkpoint import load_checkpoint
    from persondet.models import resolve_model

    if init is None or init.endswith(".npz"):
        raise click.UsageError("expected --model NETWORK, or --init with a detector's checkpoint")
    return load_checkpoint(resolve_model(init)).spec


def _start(
    network: "SSD",
    init: str | None,
    training_set: "DataSet",
    spec: "DetectorSpec",
    config: "TrainConfig",
) -> list[str]:
    """Fill the network with what training starts from; returns notes."""
    import torch

    from persondet.checkpoint import load_checkpoint
    from persondet.errors import InputError
    from persondet.images import read_image_rgb
    from persondet.models import resolve_model
    from persondet.networks import initialise
    from persondet.preprocess import preprocess
    from persondet.training.initial import (
        favour_background,
        is_imagenet_backbone,
        start_from_imagenet,
    )
    from persondet.training.transplant import start_from_network

    initialise(network, config.seed)
    favour_background(network)
    if init is None:
        return ["starting from random weights"]
    path = Path(init) if init.endswith(".npz") else resolve_model(init)
    if not path.exists():
        raise InputError(f"no such file to start from: {path}")

    def images(count: int) -> torch.Tensor:
        pictures = [read_image_rgb(s.image_path) for s in training_set.samples[:count]]
        return torch.cat([torch.from_numpy(preprocess(p, spec)) for p in pictures])

    if is_imagenet_backbone(path):
        return start_from_imagenet(network, path, images(32))
    checkpoint = load_checkpoint(path)
    notes = start_from_network(
        *(network, spec, checkpoint.network, checkpoint.spec),
        lambda: images(_RECALIBRATION_PICTURES),
    )
    return [f"starting from {init}", *checkpoint.notes, *notes]


def _teacher(model: str, spec: "DetectorSpec", device: str) -> "Teacher":
    from persondet.checkpoint import load_checkpoint
    from persondet.models import resolve_model
    from persondet.training.distillation import Teacher

    checkpoint = load_checkpoint(resolve_model(model))
    return Teacher(checkpoint.network, checkpoint.spec, spec, device)


def _evaluator(
    val: tuple[str, ...], spec: "DetectorSpec", device: str
) -> Callable[[Any], Mapping[str, float]]:
    from benchmarks.evaluation.truth import truth_of
    from benchmarks.evaluation.validation import validator
    from persondet.data.sources import open_datasets

    truth = truth_of(open_datasets(val, spec.class_names[1:]), spec.class_names)
    return validator(truth, spec, device)


def _echo_epoch(record: Mapping[str, Any]) -> None:
    figures = "".join(
        f"  {name} {record[name]:.3f}" for name in ("ap50", "ap", "recall") if name in record
    )
    losses = ", ".join(
        f"{name} loss {record[key]:.3f}"
        for name, key in (
            ("class", "classification_loss"),
            ("box", "localisation_loss"),
            ("teacher's", "distillation_loss"),
        )
        if key in record
    )
    click.echo(
        f"epoch {record['epoch']}: {losses}, {record['images_per_s']:.1f} pictures/s" + figures
    )


def _finish(out: Path, best_score: float, validated: bool) -> None:
    from persondet.training.curves import draw_curves
    from persondet.training.trainer import BEST_FILE, LAST_FILE, LOG_FILE

    curves = draw_curves(out / LOG_FILE, out / "curves.png")
    if curves is not None:
        click.echo(f"{curves}: losses and figures by epoch")
    if validated:
        click.echo(f"{out / BEST_FILE}: AP50 {best_score:.3f} on the validation set")
    click.echo(f"{out / LAST_FILE}: the last epoch; `persondet export` takes either")
