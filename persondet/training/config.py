"""What a training run is made of; stored in the checkpoint, read from TOML."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persondet.errors import InputError
from persondet.files import read_toml
from persondet.training.rules import (
    CLASSIFICATION_LOSSES,
    LOCALISATION_LOSSES,
    AugmentRule,
    LossRule,
    MatchRule,
)
from persondet.wording import shown

SCHEDULES = ("cosine", "steps")


@dataclass(frozen=True)
class TrainConfig:
    """The recipe of the specification by default: SGD, batch 32, 150 epochs, focal loss.

    min_side_px: boxes whose shorter side is smaller at network scale are ignored (10 heads, 15
    persons). steps: shares of the run after which the schedule "steps" divides the rate by 10
    (80 and 120 of 150 epochs). ema_decay: 0 turns the moving average off. patience: epochs without
    a better validation before stopping; 0: never. amp: mixed precision, on a GPU only.
    freeze_first: of how many of the backbone's first modules weights and batch-norm statistics stay
    as they are; 4 (down to stride 4) makes a step on a CPU 1.7 times as fast.
    """

    epochs: int = 150
    batch_size: int = 32
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    steps: tuple[float, ...] = (80 / 150, 120 / 150)
    warmup_epochs: float = 1.0
    ema_decay: float = 0.999
    clip_norm: float = 10.0
    freeze_backbone: bool = False
    freeze_first: int = 0
    min_side_px: float = 10.0
    seed: int = 0
    workers: int = 2
    validate_every: int = 1
    patience: int = 0
    amp: bool = True
    match: MatchRule = field(default_factory=MatchRule)
    loss: LossRule = field(default_factory=LossRule)
    augment: AugmentRule = field(default_factory=AugmentRule)

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)}, expected at least {least}"
            for name, least in (
                ("epochs", 1),
                ("batch_size", 1),
                ("workers", 0),
                ("patience", 0),
                ("freeze_first", 0),
            )
            if getattr(self, name) < least
        ]
        if self.schedule not in SCHEDULES:
            problems.append(f"schedule {self.schedule!r}, expected one of {', '.join(SCHEDULES)}")
        if self.loss.classification not in CLASSIFICATION_LOSSES:
            known = ", ".join(CLASSIFICATION_LOSSES)
            problems.append(f"loss {self.loss.classification!r}, expected one of {known}")
        if self.loss.localisation not in LOCALISATION_LOSSES:
            known = ", ".join(LOCALISATION_LOSSES)
            problems.append(f"localisation {self.loss.localisation!r}, expected one of {known}")
        if not self.learning_rate > 0:
            problems.append(f"learning_rate {self.learning_rate}, expected a positive number")
        if not 0 <= self.ema_decay < 1:
            problems.append(f"ema_decay {self.ema_decay}, expected 0 to below 1")
        if problems:
            raise InputError("invalid training configuration: " + "; ".join(problems))


_SECTIONS = {"match": MatchRule, "loss": LossRule, "augment": AugmentRule}


def config_from_dict(values: dict[str, Any]) -> TrainConfig:
    """Inverse of `config_to_dict`; what is missing keeps its default.

    Raises InputError naming an unknown key or a value of the wrong type.
    """
    values = dict(values)
    for name, section in _SECTIONS.items():
        if name in values:
            values[name] = _build(section, values[name], f"[{name}]")
    return _build(TrainConfig, values, "the top level")


def config_to_dict(config: TrainConfig) -> dict[str, Any]:
    return dataclasses.asdict(config)


def unusual_keys(config: TrainConfig) -> dict[str, Any]:
    """The keys whose values are not the specification's, `section.key` inside of a section."""
    default = _flat(config_to_dict(TrainConfig()))
    given = _flat(config_to_dict(config))
    return {key: value for key, value in given.items() if value != default[key]}


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    return flat


def read_config(path: Path) -> dict[str, Any]:
    """A TOML file as plain values. Raises InputError where it is none."""
    return read_toml(path, "the configuration")


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"invalid training configuration: {where} is no table")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise InputError(
            f"invalid training configuration: unknown keys {', '.join(unknown)} in {where}; "
            f"known: {', '.join(fields)}"
        )
    default = kind()
    converted = {
        name: _converted(name, value, getattr(default, name)) for name, value in values.items()
    }
    return kind(**converted)


def _converted(name: str, value: Any, default: Any) -> Any:
    """The value in the default's type; whole numbers are good floats, lists good tuples."""
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(_converted(f"an item of {name}", item, 0.0) for item in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise InputError(
            f"invalid training configuration: {name} is {shown(value)}, expected a "
            f"{type(default).__name__}"
        )
    return value
