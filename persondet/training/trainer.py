"""The training loop: resumable to the step, one process or many."""

import io
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from persondet.checkpoint import save_checkpoint
from persondet.data.samples import DataSet
from persondet.errors import InputError, PersondetError
from persondet.networks.ssd import SSD
from persondet.sidecar import replacing
from persondet.spec import DetectorSpec, spec_to_json
from persondet.training.config import TrainConfig, config_to_dict
from persondet.training.distillation import Teacher
from persondet.training.examples import Batch, normalised, training_loader
from persondet.training.losses import detection_losses
from persondet.training.run_folder import (
    BEST_FILE,
    CONFIG_FILE,
    LAST_FILE,
    LOG_FILE,
    STATE_FILE,
    check_run_folder,
)
from persondet.training.state import MovingAverage, learning_rate, optimizer_for
from persondet.training.state_file import check_like, read_state

# A network in eval mode to figures; "score" is what best.pth is chosen by, larger is better.
Evaluator = Callable[[nn.Module], Mapping[str, float]]


@dataclass
class Progress:
    """Where a run stands.

    epoch: epochs that have ended. batch: batches of the next epoch that are learnt already.
    step: batches of the whole run. best_epoch: the epoch of best_score, counted from 1; 0: none.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run, for who shows its progress.

    epoch: counted from 1. step: steps of the run so far, of `steps`. loss: mean of the epoch so
    far. images_per_s: of all processes, in the epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_s: float


@dataclass(frozen=True)
class Run:
    """What a run is given. report: called with each record of the log; on_step: after each batch.

    origin: of the data and the first weights, JSON-ready; it goes into the checkpoints with the
    configuration. teacher: what it says is learnt as well. shard, shards: of torchrun's processes;
    only shard 0 writes.
    """

    spec: DetectorSpec
    config: TrainConfig
    data: DataSet
    folder: Path
    evaluate: Evaluator | None = None
    device: str = "cpu"
    shard: int = 0
    shards: int = 1
    report: Callable[[Mapping[str, Any]], None] = lambda record: None
    on_step: Callable[[Step], None] = lambda step: None
    stop: Callable[[], bool] = field(default=lambda: False)
    origin: Mapping[str, Any] = field(default_factory=dict)
    teacher: Teacher | None = None


def train(run: Run, network: SSD, *, resume: bool = False) -> Progress:
    """Train until the last epoch, the patience or `run.stop` ends it; returns where it stands.

    `run.stop` is asked after each step, so that what resumes goes on with the same losses. Writes
    into the folder: config.json, state.pt (to resume), last.pth and best.pth (the moving average),
    log.jsonl; nothing if resuming is refused.
    Raises PersondetError where a loss is not finite, naming the batch's pictures, and where a
    process that reads pictures dies; InputError where there is nothing to resume.
    """
    trainer = Trainer(run, network)
    if resume:
        trainer.load()
    try:
        trainer.run_epochs()
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise PersondetError(
            f"a process that reads pictures has ended ({error}); where memory ran out, lower "
            f"--workers or --batch-size. --resume goes on from {run.folder / STATE_FILE}"
        ) from error
    return trainer.progress


class _Seen:
    """The losses and the rate of what an epoch has learnt so far in this process."""

    def __init__(self, sums: list[float], shards: int) -> None:
        self._sums = sums
        self._shards = shards
        self._batches = 0
        self._images = 0
        self._started = time.perf_counter()

    def add(self, losses: tuple[float, ...], images: int) -> None:
        self._sums = [total + loss for total, loss in zip(self._sums, losses, strict=True)]
        self._batches += 1
        self._images += images

    @property
    def means(self) -> list[float]:
        return [total / max(1, self._batches) for total in self._sums]

    @property
    def images_per_s(self) -> float:
        seconds = time.perf_counter() - self._started
        return self._images * self._shards / max(seconds, 1e-9)


class Trainer:
    """A run under way: the network, its optimizer and average, and the loader of its batches."""

    def __init__(self, run: Run, network: SSD) -> None:
        self.run, self.progress = run, Progress()
        config = run.config
        torch.manual_seed(config.seed)
        # Channels last: a step on a CPU takes 0.6 of the time, and GPUs prefer it too.
        self.network = network.to(run.device).train()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = network.base_net[: None if config.freeze_backbone else config.freeze_first]
        self.frozen.requires_grad_(False)
        self.loader = training_loader(
            run.data, run.spec, config, shard=run.shard, shards=run.shards
        )
        if len(self.loader) == 0:
            raise InputError(f"{run.data.name}: no batch can be made of {len(run.data.samples)}")
        self.optimizer = optimizer_for(network, config)
        self.average = MovingAverage(network, config.ema_decay) if config.ema_decay else None
        self.scaler = torch.amp.GradScaler(enabled=self._mixed)
        self.parallel: nn.Module = network
        if run.shards > 1:
            self.parallel = DistributedDataParallel(network)

    @property
    def _mixed(self) -> bool:
        return self.run.config.amp and self.run.device.startswith("cuda")

    @property
    def averaged(self) -> nn.Module:
        return self.average.network if self.average else self.network

    def run_epochs(self) -> None:
        config = self.run.config
        self._write_config()
        while self.progress.epoch < config.epochs:
            record = self._epoch()
            if record is None:  # asked to stop in the middle
                self.save()
                return
            self.progress.epoch += 1
            self.progress.batch = 0
            record |= self._validation()
            self._log(record)
            self.save()
            waited = self.progress.epoch - self.progress.best_epoch
            if config.patience and self.run.evaluate and waited >= config.patience:
                return

    def _epoch(self) -> dict[str, Any] | None:
        """One epoch, or what an interruption left of it; None where the run was asked to stop."""
        progress = self.progress
        sampler = self.loader.sampler
        sampler.epoch = progress.epoch  # type: ignore[attr-defined]
        sampler.skip = progress.batch * (self.loader.batch_size or 1)  # type: ignore[attr-defined]
        self.network.train()
        self.frozen.eval()
        seen = _Seen([0.0] * len(self.loss_names), self.run.shards)
        for batch in self.loader:
            seen.add(self.learn(batch), len(batch.names))
            progress.batch += 1
            progress.step += 1
            self.run.on_step(self._step(seen))
            if self._asked_to_stop():
                return None
        return {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **dict(zip(self.loss_names, seen.means, strict=True)),
            "images_per_s": seen.images_per_s,
        }

    def _step(self, seen: "_Seen") -> Step:
        config = self.run.config
        return Step(
            epoch=self.progress.epoch + 1,
            epochs=config.epochs,
            step=self.progress.step,
            steps=config.epochs * len(self.loader),
            loss=sum(seen.means),
            images_per_s=seen.images_per_s,
        )

    def _asked_to_stop(self) -> bool:
        """Alike in all processes: one that went on alone would wait for the others for ever."""
        if self.run.shards == 1:
            return self.run.stop()
        asked = torch.tensor(int(self.run.stop()), device=self.run.device)
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        return bool(asked)

    @property
    def loss_names(self) -> tuple[str, ...]:
        names = ("classification_loss", "localisation_loss")
        return (*names, "distillation_loss") if self.run.teacher else names

    def learn(self, batch: Batch) -> tuple[float, ...]:
        """One step; the losses before it, by `loss_names`."""
        device = self.run.device
        rate = learning_rate(self.run.config, self.progress.step, len(self.loader))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images = batch.images.to(device, non_blocking=True)
        with torch.autocast(device.partition(":")[0], enabled=self._mixed):
            logits, offsets = self.parallel(normalised(images, self.run.spec))
        logits, offsets = logits.float(), offsets.float()
        losses: tuple[torch.Tensor, ...] = detection_losses(
            *(logits, offsets, batch.labels.to(device)),
            *(batch.offsets.to(device), batch.class_known.to(device)),
            *(self.run.config.loss, self.run.spec.variances),
        )
        if self.run.teacher:
            taught = self.run.teacher.loss(logits, offsets, images)
            losses = (*losses, self.run.config.loss.distillation_weight * taught)
        loss = torch.stack(losses).sum()
        if not torch.isfinite(loss):
            values = ", ".join(str(each.item()) for each in losses)
            raise PersondetError(
                f"the loss is not finite ({values}) at epoch "
                f"{self.progress.epoch + 1}, batch {self.progress.batch + 1}, images "
                f"{', '.join(batch.names[:8])}; lower the learning rate or look at these "
                f"annotations. {self.run.folder / STATE_FILE} holds the last good state"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.run.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update(self.network)
        return tuple(float(each.detach()) for each in losses)

    def _validation(self) -> dict[str, Any]:
        """The evaluator's figures, and best.pth where they are the best so far."""
        config, progress = self.run.config, self.progress
        due = progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs
        if self.run.evaluate is None or self.run.shard != 0 or not due:
            return {}
        figures = dict(self.run.evaluate(self.averaged.eval()))
        if figures["score"] > progress.best_score:
            progress.best_score = figures["score"]
            progress.best_epoch = progress.epoch
            spec = self.run.spec
            if threshold := figures.get("best_threshold"):
                spec = replace(spec, score_threshold=threshold)
            self._save_checkpoint(BEST_FILE, spec)
        return figures

    def _save_checkpoint(self, name: str, spec: DetectorSpec) -> None:
        training = {
            **self.run.origin,
            "config": config_to_dict(self.run.config),
            "epoch": self.progress.epoch,
        }
        # No sidecar: a kill between the two would leave one of another file. The zip has checksums.
        save_checkpoint(self.run.folder / name, self.averaged, spec, training)

    def _write_config(self) -> None:
        if self.run.shard != 0:
            return
        record = {**self.run.origin, "config": config_to_dict(self.run.config)}
        with replacing(self.run.folder / CONFIG_FILE) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def _log(self, record: Mapping[str, Any]) -> None:
        if self.run.shard != 0:
            return
        self.run.report(record)
        with (self.run.folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save(self) -> None:
        """last.pth and what resuming needs; both whole or not at all.

        Each holds the checksums of its own content, so that no kill leaves one without them.
        """
        if self.run.shard != 0:
            return
        self._save_checkpoint(LAST_FILE, self.run.spec)
        buffer = io.BytesIO()
        torch.save(self._state(), buffer)
        with replacing(self.run.folder / STATE_FILE) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict() if self.average else {},
            "average_updates": self.average.updates if self.average else 0,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": vars(self.progress),
            "config": json.dumps(config_to_dict(self.run.config)),
            "spec": spec_to_json(self.run.spec),
            "learnt_from": self._learnt_from,
        }

    @property
    def _learnt_from(self) -> str:
        """What must be the same on resuming; folders may have moved in between."""
        teacher = self.run.origin.get("teacher")
        return json.dumps({"images": len(self.run.data.samples), "teacher": teacher})

    def load(self) -> None:
        path = self.run.folder / STATE_FILE
        check_run_folder(self.run.folder, resume=True, overwrite=False)
        state = read_state(path)
        given = {
            "configuration": json.dumps(config_to_dict(self.run.config)),
            "network or other anchors": spec_to_json(self.run.spec),
            "number of pictures, or teacher": self._learnt_from,
        }
        for what, key in zip(given, ("config", "spec", "learnt_from"), strict=True):
            if state[key] != given[what]:
                raise InputError(
                    f"{path} was made with another {what}; resume with the same one, or start "
                    "anew in another folder"
                )
        groups = self.optimizer.param_groups
        parameters = [parameter for group in groups for parameter in group["params"]]
        check_like(path, state, own=self._state(), parameters=parameters)
        self.network.load_state_dict(state["network"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
            self.average.updates = state["average_updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])
