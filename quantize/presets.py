"""Recipes of quantization by name; the command's help and the docs print this table."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from persondet.errors import InputError


class Equalization(Enum):
    """How the scales of channels are chosen."""

    NONE = "none"
    CLOSED_FORM = "closed-form"
    NOISE = "noise"


class Rounding(Enum):
    """How weights are rounded to their encodings."""

    NEAREST = "nearest"
    ADAPTIVE = "adaptive"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a float graph becomes a quantized one.

    equalization: how channels are rescaled before calibration. corrects_biases: whether what
    rounding does to the channels' means is taken off the biases. calibration: method that chooses
    activation ranges, one of `quantize.ranges.METHODS`. rounding: adaptive corrects biases as well.
    """

    equalization: Equalization
    corrects_biases: bool
    calibration: str
    rounding: Rounding = Rounding.NEAREST

    def __post_init__(self) -> None:
        if self.rounding is Rounding.ADAPTIVE and not self.corrects_biases:
            raise InputError("adaptive rounding corrects biases in the same pass; leave that on")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A recipe with its name and what it is for."""

    name: str
    recipe: Recipe
    summary: str


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="accurate",
            recipe=Recipe(equalization=Equalization.NOISE, corrects_biases=True, calibration="mse"),
            summary="equalise by the noise model, ranges of least error, correct biases",
        ),
        Preset(
            name="best",
            recipe=Recipe(
                equalization=Equalization.NOISE,
                corrects_biases=True,
                calibration="mse",
                rounding=Rounding.ADAPTIVE,
            ),
            summary="accurate, and round weights so that layers' outputs are kept; AP50 may fall: "
            "measure it (--data)",
        ),
        Preset(
            name="fast",
            recipe=Recipe(
                equalization=Equalization.CLOSED_FORM, corrects_biases=False, calibration="minmax"
            ),
            summary="equalise by the closed form, ranges of the extremes",
        ),
        Preset(
            name="snpe",
            recipe=Recipe(
                equalization=Equalization.NONE, corrects_biases=False, calibration="minmax"
            ),
            summary="what SNPE's default does, to compare with; its biases have 8 bits, ours 32",
        ),
    )
}
DEFAULT_PRESET = "accurate"
DEFAULT_RECIPE = PRESETS[DEFAULT_PRESET].recipe


def recipe_of(
    preset: str,
    *,
    equalization: str | None = None,
    corrects_biases: bool | None = None,
    calibration: str | None = None,
    rounding: str | None = None,
) -> Recipe:
    """The preset's recipe with what is given in its place."""
    changes: dict[str, Any] = {
        "equalization": Equalization(equalization) if equalization else None,
        "corrects_biases": corrects_biases,
        "calibration": calibration,
        "rounding": Rounding(rounding) if rounding else None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(PRESETS[preset].recipe, **given)
