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
    whereas `.` stays in its line. codes: exit codes that say the same, a shell's and our own."""

    pattern: str
    stage: str
    cause: str
    fix: str
    codes: tuple[int, ...] = ()


# Not here: `No cache record in the DLC matches`, which successful runs print, too.
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
        r"'NoneType' object .*'AttributeProto'|'AttributeProto'.*'NoneType' object",
        "convert",
        "the onnx package is newer than the one that the SDK's converter knows",
        "install the onnx that the SDK's own check lists (bin/check-python-dependency) in its own "
        "Python environment",
    ),
    _Message(
        r"SOC model \S+ is not supported",
        "convert",
        "the converters and quantizers of 2.3x and later refuse --target_soc_model, whatever the "
        "SoC",
        "leave that option out: the SoC belongs to snpe-dlc-graph-prepare --htp_socs",
    ),
    _Message(
        r"GLIBC(XX)?_[\d.]+['` ]* not found",
        "convert",
        "the system's C library is older than the SDK's tools on this machine need; those of 2.4x "
        "are for Ubuntu 22.04",
        "run them on Ubuntu 22.04 or in a container of it, or take an older SDK",
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
        r"Bad quantization: zero scale",
        "quantize",
        "an activation is constant, so that its range has no width; seen with --enable_hta",
        "calibrate with images that differ, or leave --enable_hta out",
    ),
    _Message(
        r"error_code=311\b|Incomplete DLC is missing mandatory record",
        "run",
        "the DLC is cut off, or of another generation than the tool",
        "copy the file again and compare its size; `persondet info` tells its generation and what "
        "loads it",
    ),
    _Message(
        r"No backend could validate Op|error_code=(15001|1002)\b|\berror:? (15001|1002)\b",
        "run",
        "the DLC and the runtime are of different versions, or the backend lacks an operator",
        "make the DLC with the SDK of the runtime, and run that SDK's snpe-dlc-graph-prepare; if "
        "they are of one version, allow the CPU to run it (--enable_cpu_fallback)",
    ),
    _Message(
        r"error_code=500\b|Target runtime is not available",
        "run",
        "the driver of that runtime or the SDK's library for it is missing on the device",
        "push all libraries of the SDK for the device and set LD_LIBRARY_PATH and "
        "ADSP_LIBRARY_PATH; snpe-platform-validator tells which runtimes the device has",
    ),
    _Message(
        r"No Snapdragon SOC detected",
        "run",
        "the SoC is newer than the SDK knows, or not one of Qualcomm's",
        "take a newer SDK",
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
        codes=(137, -9),
    ),
    _Message(
        r"\bexit(ed)?( code| status)? 139\b|\brc[ =]139\b|\bSegmentation fault\b",
        "run",
        "the program crashed; a DLC of another version than the runtime is known to do that",
        "make the DLC with the SDK of the runtime, and run that SDK's snpe-dlc-graph-prepare",
        codes=(139, -11),
    ),
    _Message(
        r"\bexit(ed)?( code| status)? 134\b|\brc[ =]134\b|^Aborted$|\bAborted \(core dumped\)",
        "run",
        "the program gave up; 16-bit floats on a DSP of architecture v68, which has none, are "
        "known to do that",
        "quantize the model for v68; 16-bit floats need v69 or later",
        codes=(134, -6),
    ),
    _Message(
        r"^(.*: )?Illegal instruction",
        "convert",
        "the CPU lacks instructions that the SDK's tools use; emulated CPUs often lack AVX2",
        "run them on an x86-64 CPU with AVX2, not in an emulator",
        codes=(132, -4),
    ),
)
_PATTERNS = tuple(
    (re.compile(message.pattern.replace(" ", r"\s+"), re.I | re.M), message)
    for message in _MESSAGES
)
_LONGEST_LINE = 4000


def explain(text: str, *, code: int = 0) -> tuple[Explanation, ...]:
    """Causes and remedies of the messages in a tool's output, in the order of their appearance.

    code: the exit code; some codes tell a cause of themselves. Each cause is named once, at its
    first line.
    """
    text = "\n".join(line.strip()[:_LONGEST_LINE] for line in text.splitlines())
    searched = ((pattern.search(text), message) for pattern, message in _PATTERNS)
    matches = [(match, message) for match, message in searched if match]
    matches.sort(key=lambda each: each[0].start())
    found = [_explanation(_lines_of(text, match), message) for match, message in matches]
    named = [message for _, message in matches]
    told = (message for message in _MESSAGES if code in message.codes and message not in named)
    return (*found, *(_explanation(f"exit code {code}", message) for message in told))


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
