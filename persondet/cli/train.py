"""`persondet train`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persondet.cli.options import NAMES, images_root_option
from persondet.errors import InputError
from persondet.files import exists

if TYPE_CHECKING:
    from benchmarks.evaluation.truth import Truth
    from persondet.data.samples import DataSet
    from persondet.data.sources import Source
    from persondet.networks.ssd import SSD
    from persondet.spec import DetectorSpec
    from persondet.training.config import TrainConfig
    from persondet.training.distillation import Teacher
    from persondet.training.trainer import Run

_RECALIBRATION_PICTURES = 192


@click.command()
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@images_root_option
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
    help="Start from ImageNet weights (.npz, torchvision's .pth, or a backbone alone), a "
    "checkpoint, or a model known by name such as ssdlite-mb2-person.",
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
@click.option(
    "--overwrite",
    is_flag=True,
    help="Start anew in a folder that holds a run; its files go into DIR/previous-N.",
)
def command(
    data: tuple[str, ...],
    images_root: Path | None,
    model: str | None,
    val: tuple[str, ...],
    out: Path,
    init: str | None,
    teacher: str | None,
    classes: tuple[str, ...] | None,
    config_path: Path | None,
    device: str | None,
    resume: bool,
    overwrite: bool,
    **overrides: Any,
) -> None:
    """Train a detector on DATA: FORMAT:ANNOTATIONS:IMAGES, such as coco:train.json:images/, or
    train.json for short.

    Writes into --out: best.pth (by AP50 on --val; its score threshold is that of the best F1
    there), last.pth, state.pt to --resume from, log.jsonl, curves.png, config.json, and scalars for
    TensorBoard where that is installed. Ctrl-C ends the step and keeps what is needed to resume;
    a second one ends at once. Under torchrun, every process trains on its share.
    """
    import dataclasses

    from persondet.cli.opening import open_spec
    from persondet.data.sources import open_datasets, parse_sources
    from persondet.sidecar import check_folder
    from persondet.training.run_folder import check_run_folder

    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run, --overwrite starts anew: one of them")
    writes = os.environ.get("RANK", "0") == "0"  # of torchrun's processes
    if writes:
        check_run_folder(out, resume=resume, overwrite=overwrite)
        check_folder(out)
    config = _config(config_path, overrides)
    for name in (init, teacher):
        if name is not None:
            _check_start(name)
    spec = open_spec(model) if model else _spec_of(init)
    if classes:
        spec = dataclasses.replace(spec, class_names=("background", *classes))
    sources = parse_sources((*data, *val), images_root)
    training, validation = sources[: len(data)], sources[len(data) :]
    training_set = open_datasets(training, spec.class_names[1:], keep_unlabelled=bool(teacher))
    if writes:
        _echo_data(training_set, spec, config)
    origin = {
        "data": list(data),
        "val": list(val),
        "images_root": None if images_root is None else str(images_root),
        "init": init,
        "teacher": teacher,
        "images": len(training_set.samples),
        "boxes": training_set.num_boxes,
    }
    truth = _truth(validation, spec) if val and writes else None

    import torch

    from persondet.networks import build_network
    from persondet.training.trainer import Run

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    _check_device(device)
    shard, shards = _join_processes(device)
    network = build_network(spec)
    taught_by = _teacher(teacher, spec, device) if teacher else None
    notes = [] if resume else _start(network, init, training_set, spec, config)
    if taught_by:
        notes.append(f"{teacher} teaches {taught_by.num_anchors} of {spec.num_anchors} anchors")
    if writes:
        _echo_recipe(notes, config, out)
        _take_folder(out, overwrite)
    run = Run(
        spec,
        config,
        training_set,
        out,
        device=device,
        shard=shard,
        shards=shards,
        origin=origin,
        teacher=taught_by,
    )
    best_score = _train(run, network, truth, resume=resume)
    if shards > 1:
        torch.distributed.destroy_process_group()
    if writes:
        _finish(out, best_score, truth is not None)


def _train(run: "Run", network: "SSD", truth: "Truth | None", *, resume: bool) -> float:
    """Train with bars, log lines and scalars; returns the best score."""
    import dataclasses

    from benchmarks.evaluation.validation import validator
    from persondet.cli.interruption import asked_to_stop
    from persondet.cli.progress import training_display
    from persondet.training.scalars import scalar_log
    from persondet.training.trainer import train

    shown = run.shard == 0
    with (
        scalar_log(run.folder, shown=shown) as log_scalars,
        training_display(shown=shown) as display,
        asked_to_stop() as stop,
    ):

        def report(record: Mapping[str, Any]) -> None:
            display.line(_epoch_line(record, run.config.epochs))
            log_scalars(record)

        evaluate = None
        if truth is not None:
            evaluate = validator(truth, run.spec, run.device, display.validating)
        run = dataclasses.replace(
            run,
            evaluate=evaluate,
            report=report,
            on_step=display.step,
            stop=stop,
        )
        progress = train(run, network, resume=resume)
        if stop() and shown:
            click.echo(f"stopped after step {progress.step}; --resume goes on there", err=True)
    return progress.best_score


def _echo_data(training_set: "DataSet", spec: "DetectorSpec", config: "TrainConfig") -> None:
    """Say what is learnt from."""
    from persondet.data.cleaning import with_small_ignored
    from persondet.data.summary import summary_lines

    # Of the images as they are: a crop of one may enlarge a box so that it is learnt.
    seen = with_small_ignored(training_set, spec.input_size_hw, config.min_side_px)
    for line in summary_lines(seen):
        click.echo(line, err=True)


def _echo_recipe(notes: list[str], config: "TrainConfig", folder: Path) -> None:
    """Say what training starts from, and how it goes on."""
    from persondet.training.config import unusual_keys
    from persondet.training.run_folder import CONFIG_FILE

    keys = ", ".join(f"{key} {value}" for key, value in unusual_keys(config).items())
    recipe = f"recipe: {keys or 'the default'}; all of it in {folder / CONFIG_FILE}"
    for line in (*notes, recipe):
        click.echo(line, err=True)


def _take_folder(folder: Path, overwrite: bool) -> None:
    from persondet.training.run_folder import set_aside

    if overwrite and (aside := set_aside(folder)):
        click.echo(f"the earlier run's files are in {aside}", err=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder --out {folder}: {error.strerror}") from None


def _config(path: Path | None, overrides: Mapping[str, Any]) -> "TrainConfig":
    from persondet.training.config import config_from_dict, read_config

    values = read_config(path) if path else {}
    try:
        return config_from_dict(values | {k: v for k, v in overrides.items() if v is not None})
    except InputError as error:
        raise InputError(f"{path}: {error}" if path else str(error)) from None


def _check_device(device: str) -> None:
    """Raise InputError if PyTorch has no such device."""
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--device {device} cannot be used here: {reason}") from None


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
    from persondet.training.initial import is_imagenet_backbone

    if init is None or init.endswith(".npz") or is_imagenet_backbone(resolve_model(init)):
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


def _check_start(name: str) -> None:
    """Raise InputError if there is nothing to start or to learn from, before torch is loaded."""
    from persondet.models import resolve_model

    path = Path(name) if name.endswith(".npz") else resolve_model(name)
    if not exists(path):
        raise InputError(f"no such file to start from: {path}")


def _teacher(model: str, spec: "DetectorSpec", device: str) -> "Teacher":
    from persondet.checkpoint import load_checkpoint
    from persondet.models import resolve_model
    from persondet.training.distillation import Teacher

    checkpoint = load_checkpoint(resolve_model(model))
    return Teacher(checkpoint.network, checkpoint.spec, spec, device)


def _truth(val: "Sequence[Source]", spec: "DetectorSpec") -> "Truth":
    from benchmarks.evaluation.truth import truth_of
    from persondet.data.merging import merged, with_classes
    from persondet.data.sources import read_dataset

    # A class that the validation data lacks is not evaluated.
    annotated = with_classes(merged([read_dataset(one) for one in val]), spec.class_names[1:])
    truth = truth_of(annotated, spec.class_names)
    for note in truth.notes:
        click.echo(f"note: {note}", err=True)
    return truth


def _epoch_line(record: Mapping[str, Any], epochs: int) -> str:
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
    rate = f"{record['images_per_s']:.1f} images/s"
    return f"epoch {record['epoch']}/{epochs}: {losses}, {rate}{figures}"


def _finish(out: Path, best_score: float, validated: bool) -> None:
    from persondet.training.curves import draw_curves
    from persondet.training.run_folder import BEST_FILE, CURVES_FILE, LAST_FILE, LOG_FILE

    curves = draw_curves(out / LOG_FILE, out / CURVES_FILE)
    if curves is not None:
        click.echo(f"{curves}: losses and figures by epoch")
    if validated:
        click.echo(f"{out / BEST_FILE}: AP50 {best_score:.3f} on the validation set")
    click.echo(f"{out / LAST_FILE}: the last epoch; `persondet export` takes either")
