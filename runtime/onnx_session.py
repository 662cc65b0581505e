"""The one place that opens an ONNX Runtime session; says which arithmetic serves what.

ONNX Runtime fuses the QuantizeLinear and DequantizeLinear nodes of a quantized graph into integer
kernels. On x86 without VNNI (AVX2, early AVX-512) its default kernels add pairs of uint8 x int8
products in 16 bits, which saturate: an output can be off by many times the quantization error, and
the result depends on the CPU. No session of this project computes so.
"""

import contextlib
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import onnxruntime

from persondet.native_names import native_name

# What to set when opening a quantized graph without this module (SessionOptions.
# add_session_config_entry). ONNX Runtime ignores it where its kernels do not saturate.
EXACT_SUMS_ENTRY = ("session.x64quantprecision", "1")


class Arithmetic(Enum):
    """How a session computes the quantized layers of a graph. Float layers are float in both.

    EXACT_SUMS: fused integer kernels whose sums are exact on every CPU, about as fast as float.
    For everything by default: detection, evaluation, calibration, comparison. Against the float
    model it is as good as the graph as written, but rounds otherwise between layers, as every
    implementation does (the HTP's too): the two are not equal bit for bit.

    AS_WRITTEN: every QuantizeLinear and DequantizeLinear computed as the node it is, in float, and
    no change of layout, which adds floats in another order: bit for bit what running the graph
    node by node on as many threads gives. For tests and for looking at single tensors. Slower.
    """

    EXACT_SUMS = "exact sums"
    AS_WRITTEN = "as written"


def open_session(
    model: str | Path | bytes,
    *,
    threads: int | None = None,
    arithmetic: Arithmetic = Arithmetic.EXACT_SUMS,
    entries: Mapping[str, str] | None = None,
    provider: tuple[Sequence[Any], Mapping[str, str]] | None = None,
    log_errors: bool = False,
) -> onnxruntime.InferenceSession:
    """Return a session on an ONNX file or on a serialized model.

    threads: of the graph's operators; None for ONNX Runtime's choice. entries: more session
    configuration entries. provider: (devices, provider options) of a registered execution provider
    instead of the CPU's. log_errors: also log them to standard error.
    Raises ONNX Runtime's own exceptions, which have no common class but Exception; InputError if
    the file's name is not UTF-8 and no link to it can be made.
    """
    options = _options(arithmetic)
    options.log_severity_level = 3 if log_errors else 4  # what fails is raised, and printed once
    options.intra_op_num_threads = threads or 0
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    providers: list[str] | None = ["CPUExecutionProvider"]
    if provider is not None:
        devices, provider_options = provider
        options.add_provider_for_devices(devices, provider_options)
        providers = None
    with contextlib.ExitStack() as stack:
        source = (
            model if isinstance(model, bytes) else stack.enter_context(native_name(Path(model)))
        )
        # Without enable_fallback=0, what fails is tried a second time and printed to standard
        # output.
        return onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)


def _options(arithmetic: Arithmetic) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # In both: graphs of QLinearConv and its like have integer kernels without any fusing.
    options.add_session_config_entry(*EXACT_SUMS_ENTRY)
    if arithmetic is Arithmetic.AS_WRITTEN:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # The level below changes of layout; a level lower still has no exact integer kernels.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return options
