"""What is wanted of an SDK's tools, in words that no version of them decides."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from persondet.errors import InputError
from persondet.spec import DetectorSpec

LAYOUTS = ("nhwc", "source")
FLOAT_BITS = (32, 16)
ACT_BITS = (8, 16)
WEIGHT_BITS = (8, 16, 4)
BIAS_BITS = (8, 32)
WEIGHT_SCHEMES = ("asymmetric", "symmetric", "unsignedsymmetric")
CALIBRATIONS = ("minmax", "percentile", "entropy", "mse", "sqnr")
_SOC = re.compile(r"[A-Za-z0-9]{3,20}", re.ASCII)


@dataclass(frozen=True)
class ConvertIntent:
    """A float DLC of one ONNX.

    dlc_layout: of its input, "nhwc", or "source" to leave the input as the ONNX has it.
    float_bits: of what stays float. overrides: encodings that the DLC carries to the quantizer.
    soc: optimise for this SoC, such as sm8550.
    """

    dlc_layout: str = "nhwc"
    float_bits: int = 32
    simplify: bool = True
    fold_batch_norm: bool = True
    overrides: Path | None = None
    soc: str | None = None

    def __post_init__(self) -> None:
        _check("dlc_layout", self.dlc_layout, LAYOUTS)
        _check("float_bits", self.float_bits, FLOAT_BITS)
        check_soc(self.soc)


@dataclass(frozen=True)
class QuantizeIntent:
    """A quantized DLC of a float one.

    bias_bits: None for the tool's own default, 8. weight_scheme: how a weight's range lies about 0.
    calibration: how the range of an activation follows from its values; sqnr is what SNPE calls
    enhanced. cle: cross-layer equalisation. apply_overrides: those that the converter was given.
    native_inputs: the input list names files of the input's own type, uint8, instead of float32.
    soc: prepare the graph for this SoC's HTP ahead of time.
    """

    act_bits: int = 8
    weight_bits: int = 8
    bias_bits: int | None = None
    per_channel: bool = False
    per_row: bool = False
    weight_scheme: str = "asymmetric"
    calibration: str = "minmax"
    cle: bool = False
    bias_correction: bool = False
    apply_overrides: bool = False
    native_inputs: bool = False
    soc: str | None = None

    def __post_init__(self) -> None:
        _check("act_bits", self.act_bits, ACT_BITS)
        _check("weight_bits", self.weight_bits, WEIGHT_BITS)
        _check("bias_bits", self.bias_bits, (None, *BIAS_BITS))
        _check("weight_scheme", self.weight_scheme, WEIGHT_SCHEMES)
        _check("calibration", self.calibration, CALIBRATIONS)
        check_soc(self.soc)


def dlc_spec(spec: DetectorSpec, intent: ConvertIntent) -> DetectorSpec:
    """The ONNX's spec with the input as the DLC will have it."""
    if spec.input_format == "float-nchw" and intent.dlc_layout == "nhwc":
        return dataclasses.replace(spec, input_format="float-nhwc")
    return spec


def check_soc(soc: str | None) -> None:
    """Raises InputError for what can be no SoC's name; which ones there are, the SDK knows."""
    if soc is not None and not _SOC.fullmatch(soc):
        raise InputError(f"{soc!r} is no SoC's name; expected one such as sm8550")


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        shown = ", ".join(map(str, allowed))
        raise InputError(f"{name} {value!r} is not possible; expected one of {shown}")
