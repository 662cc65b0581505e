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
OPTIMIZATION_LEVELS = (1, 2, 3)
_SOC = re.compile(r"[A-Za-z0-9][A-Za-z0-9+ _-]{2,30}", re.ASCII)


@dataclass(frozen=True)
class ConvertIntent:
    """A float DLC of one ONNX.

    dlc_layout: of its input, "nhwc", or "source" to leave the input as the ONNX has it.
    float_bits: of what stays float. overrides: encodings that the DLC carries to the quantizer.
    socs: prepare the graph for these SoCs' HTPs ahead of time, which needs 16-bit floats: there is
    no cache of a float32 graph. optimization_level: of that; None for the tool's own, 2.
    """

    dlc_layout: str = "nhwc"
    float_bits: int = 32
    simplify: bool = True
    fold_batch_norm: bool = True
    overrides: Path | None = None
    socs: tuple[str, ...] = ()
    optimization_level: int | None = None

    def __post_init__(self) -> None:
        _check("dlc_layout", self.dlc_layout, LAYOUTS)
        _check("float_bits", self.float_bits, FLOAT_BITS)
        _check_socs(self.socs, self.optimization_level)
        if self.socs and self.float_bits != 16:
            raise InputError(
                "--soc with convert needs --float-bits 16: the HTP computes half precision and has "
                "no cache of a float32 DLC; or quantize the model: `persondet quantize --soc`"
            )


@dataclass(frozen=True)
class QuantizeIntent:
    """A quantized DLC of a float one.

    bias_bits: None for the tool's own default, 8. weight_scheme: how a weight's range lies about 0.
    calibration: how the range of an activation follows from its values; sqnr is what SNPE calls
    enhanced, for weights as well. cle: cross-layer equalisation. apply_overrides: those that the
    converter was given. float_fallback: those alone decide, nothing is calibrated, and what they
    leave out stays float. native_inputs: the input list names files of the input's own type, uint8,
    instead of float32. enable_hta: prepare for the AIP runtime of SNPE 1.x.
    socs, optimization_level: as of ConvertIntent, without its demand for 16-bit floats.
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
    float_fallback: bool = False
    native_inputs: bool = False
    enable_hta: bool = False
    socs: tuple[str, ...] = ()
    optimization_level: int | None = None

    def __post_init__(self) -> None:
        _check("act_bits", self.act_bits, ACT_BITS)
        _check("weight_bits", self.weight_bits, WEIGHT_BITS)
        _check("bias_bits", self.bias_bits, (None, *BIAS_BITS))
        _check("weight_scheme", self.weight_scheme, WEIGHT_SCHEMES)
        _check("calibration", self.calibration, CALIBRATIONS)
        _check_socs(self.socs, self.optimization_level)
        if self.float_fallback and not self.apply_overrides:
            raise InputError(
                "--float-fallback needs --encodings FILE: they alone say what is not float"
            )


def dlc_spec(spec: DetectorSpec, intent: ConvertIntent) -> DetectorSpec:
    """The ONNX's spec with the input as the DLC will have it."""
    if spec.input_format == "float-nchw" and intent.dlc_layout == "nhwc":
        return dataclasses.replace(spec, input_format="float-nhwc")
    return spec


def _check_socs(socs: tuple[str, ...], optimization_level: int | None) -> None:
    """Raise InputError for what can be no SoC's name; which ones there are, is not decided here."""
    for soc in socs:
        if not _SOC.fullmatch(soc):
            raise InputError(f"{soc!r} is no SoC's name; expected one such as sm8550")
    _check("optimization_level", optimization_level, (None, *OPTIMIZATION_LEVELS))
    if optimization_level is not None and not socs:
        raise InputError("--optimization-level is of the graph prepared for a SoC: give --soc NAME")


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        shown = ", ".join(map(str, allowed))
        raise InputError(f"{name} {value!r} is not possible; expected one of {shown}")
