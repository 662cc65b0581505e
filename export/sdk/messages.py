"""The SDK's messages: what causes them, and what to do.

A table. Where a message has a blank, the text may have a line break. The vendor's own text is
always shown as well: an explanation goes under it, never instead of it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """found: the line of the text; stage: convert, quantize, run ...; cause, fix: sentences."""

    found: str
    stage: str
    cause: str
    fix: str


@dataclass(frozen=True)
class _Message:
    """pattern: upper and lower case alike; a blank in it stands for any blanks, line breaks too,
    whereas `.` stays in its line."""

    pattern: str
    stage: str
    cause: str
    fix: str


_MESSAGES = (
    _Message(
        r"No schema registered for",
        "convert",
        "the onnx package is newer than the 1.x converter knows",
        "install onnx 1.6 to 1.8 in the SDK's own Python environment",
    ),
    _Message(
        r"No module named ['\"]?(snpe|qti)\b",
        "convert",
        "the SDK's Python modules are not found: no environment is set, or the Python is another",
        "check that the SDK's lib/python is there and on PYTHONPATH (persondet sets it for the "
        "tools, bin/envsetup.sh for a shell), and the version of the interpreter",
    ),
    _Message(
        r"WARNING_OP_VERSION_NOT_SUPPORTED",
        "convert",
        "an operator is of a newer opset than the converter knows",
        "harmless for operators that did not change, such as Relu; else export with a lower opset",
    ),
    _Message(
        r"Missing command line inputs for dynamic inputs",
        "convert",
        "an input of the model has a dynamic shape",
        "export the ONNX with fixed shapes, or give the shape to the converter (-s, older ones -d)",
    ),
    _Message(
        r"rank[ -]?5\b|\b5-?D\b.*(support|tensor)|Number of dimensions.*\b5\b",
        "convert",
        "SNPE 1.x has no tensors of five dimensions; a reshape in a head often makes one",
        "cut the graph before it: export the raw heads, as `persondet export` does",
    ),
    _Message(
        r"DenseRel|TVMError",
        "convert",
        "the way through PyTorch and TVM (snpe-pytorch-to-dlc) fails on many models",
        "export to ONNX and convert that",
    ),
    _Message(
        r"Invalid model for HBA quantization algorithm",
        "quantize",
        "cross-layer equalization needs chains of convolution, batch norm and activation, and the "
        "batch norm was folded",
        "leave equalization out (--cle): `persondet export` folds batch norm; in an ONNX of "
        "another exporter keep it, and convert with --disable_batchnorm_folding",
    ),
    _Message(
        r"bw:\s*32\b.*offset:\s*-2147483648|bitwidth:?\s*32\b.*offset:?\s*-2147483648",
        "quantize",
        "the encodings were not applied: --override_params is missing, or the names in the file of "
        "overrides are not the model's tensors",
        "give --override_params to the quantizer, and compare the names with the model's",
    ),
    _Message(
        r"error_code=402\b|Network partition (has )?failed",
        "run",
        "the runtime lacks an operator of the model, and nothing may fall back",
        "allow the CPU to run it (--enable_cpu_fallback), or change the operator",
    ),
    _Message(
        r"error_code=7005\b|QnnGraph_addNode\(?\)? failed for layer",
        "run",
        "the configuration of a layer is not valid on this backend",
        "look at the layer that the message names; another rank or data type often helps",
    ),
    _Message(
        r"error_code=802\b",
        "run",
        "a parameter of a layer is not valid on the GPU",
        "run that layer on another runtime (--enable_cpu_fallback), or the model on CPU or DSP",
    ),
    _Message(
        r"Error while executing the sum function|use testsig",
        "run",
        "the DSP's skel or its stub is missing on the device, or unsigned code is not allowed",
        "push all libraries of the SDK for the device, set ADSP_LIBRARY_PATH, and in 1.x give "
        "--platform_options unsignedPD:ON",
    ),
    _Message(
        r"Failed to create transport for device.*1008|Failed to load skel|Stub lib id mismatch",
        "run",
        "the skel and the stub do not belong together, or one is missing",
        "push stub and skel of one and the same SDK, for the DSP architecture of the device",
    ),
    _Message(
        r"No cache record in the DLC matches",
        "run",
        "the DLC was prepared for another SoC: the graph is prepared anew at each start",
        "prepare it for this SoC (snpe-dlc-graph-prepare --htp_socs), or expect a slow start",
    ),
    _Message(
        r"testsig.*Permission denied",
        "run",
        "an app may not open the DSP's driver",
        "run in `adb shell`, or name the vendor's native libraries in the app's manifest",
    ),
    _Message(
        r"Failed to write data to",
        "run",
        "an output is named with a `/`, and its folder does not exist",
        "give the outputs plain names at export, or make the folders first",
    ),
    _Message(
        r"^(?=.*\b(dlc|container|model)\b)(?=.*\bversions?\b)(?!.*\b(opset|operator|IR|onnx)\b)"
        r"(?=.*(fail|unable|can(not|'t)|could ?n[o']t|error|unsupported|not supported|incompatible"
        r"|unknown|mismatch)).*",
        "run",
        "a DLC of SNPE 1.x does not load in SNPE 2.x, nor the other way round",
        "convert again with the SDK of the runtime; `persondet info` tells what loads the file",
    ),
    _Message(
        r"all scores (are )?(0|zero)\b",
        "run",
        "scores and boxes share one encoding, whose steps are too coarse for scores",
        "keep them as two outputs, or give their concatenation 16 bits",
    ),
    _Message(
        r"boxes (look|are) wrong",
        "compare",
        "the order of an output's axes is another (NHWC, NCHW), or boxes are decoded otherwise",
        "transpose outputs of four axes, and compare anchors and decoding with the model's",
    ),
    _Message(
        r"No space left on device|ENOSPC",
        "run",
        "the storage is full",
        "free space there; models and raw inputs of earlier runs are the first to look at",
    ),
    _Message(
        r"\bexit(ed)?( code| status)? 137\b|\brc[ =]137\b|^Killed$",
        "run",
        "the system killed the program for its use of memory",
        "free memory, or use fewer threads or a smaller batch",
    ),
)
_PATTERNS = tuple(
    (re.compile(message.pattern.replace(" ", r"\s+"), re.I | re.M), message)
    for message in _MESSAGES
)
_KILLED_CODES = (137, -9)  # of a shell, of ours
_LONGEST_LINE = 4000


def explain(text: str, *, code: int = 0) -> tuple[Explanation, ...]:
    """Causes and remedies of the messages in a tool's output, in the order of their appearance.

    code: the exit code, which tells of a kill for memory. Each cause is named once, at its first
    line.
    """
    text = "\n".join(line.strip()[:_LONGEST_LINE] for line in text.splitlines())
    searched = ((pattern.search(text), message) for pattern, message in _PATTERNS)
    matches = [(match, message) for match, message in searched if match]
    matches.sort(key=lambda each: each[0].start())
    found = [_explanation(_lines_of(text, match), message) for match, message in matches]
    killed = _MESSAGES[-1]
    if code in _KILLED_CODES and all(message is not killed for _, message in matches):
        found.append(_explanation(f"exit code {code}", killed))
    return tuple(found)


def _lines_of(text: str, match: re.Match[str]) -> str:
    """The line, or lines joined, in which a match lies."""
    end = text.find("\n", match.end())
    lines = text[text.rfind("\n", 0, match.start()) + 1 : end if end >= 0 else None]
    return " ".join(lines.split("\n"))


def _explanation(line: str, message: _Message) -> Explanation:
    return Explanation(line, message.stage, message.cause, message.fix)


def explanation_lines(explanations: Iterable[Explanation]) -> tuple[str, ...]:
    """Lines to print under the vendor's text: what was found, its cause, its remedy."""
    return tuple(
        line
        for each in explanations
        for line in (each.found[:160], f"  cause: {each.cause}", f"  fix:   {each.fix}")
    )
