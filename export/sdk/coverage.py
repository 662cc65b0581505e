"""docs/snpe.md, from the table: `python -m export.sdk.coverage > docs/snpe.md`."""

import shlex
from collections.abc import Iterator, Sequence

from export.sdk.command_lines import toolset_of
from export.sdk.htp_socs import HTP_SOCS
from export.sdk.options import (
    AFTER_2_25,
    CONVERTER_OPTIONS,
    DLC_QUANT,
    DLC_QUANTIZE,
    GRAPH_PREPARE,
    LATE,
    OLDEST,
    ONNX_TO_DLC,
    PREPARE_OPTIONS,
    QAIRT_CONVERTER,
    QAIRT_QUANTIZER,
    QUANTIZER_OPTIONS,
    SNPE_2,
    Entry,
    Numbers,
    Option,
    dotted,
)
from export.sdk.sdk import PYTHONS, ROOT_VARIABLES
from export.sdk.tool_run import SUCCESS_LINES
from export.sdk.toolchain import OPSETS
from export.sdk.versions import Family, parse_version

_ENDLESS: Numbers = (1 << 30,)
_RANGES: dict[Family, tuple[Numbers, Numbers]] = {
    Family.SNPE_1_4: (OLDEST, (1, 50)),
    Family.SNPE_1: ((1, 50), SNPE_2),
    Family.SNPE_2: (SNPE_2, LATE),
    Family.QAIRT: (LATE, _ENDLESS),
}
_TABLES = (
    (
        "Converters",
        CONVERTER_OPTIONS,
        (
            *((ONNX_TO_DLC, family) for family in Family),
            (QAIRT_CONVERTER, Family.QAIRT),
        ),
    ),
    (
        "Quantizers",
        QUANTIZER_OPTIONS,
        (
            (DLC_QUANTIZE, Family.SNPE_1_4),
            (DLC_QUANTIZE, Family.SNPE_1),
            (DLC_QUANT, Family.SNPE_2),
            (DLC_QUANT, Family.QAIRT),
            (QAIRT_QUANTIZER, Family.QAIRT),
        ),
    ),
    (
        "Preparation for a SoC",
        PREPARE_OPTIONS,
        ((GRAPH_PREPARE, Family.SNPE_2), (GRAPH_PREPARE, Family.QAIRT)),
    ),
)
_SAMPLES = {
    Family.SNPE_1_4: "1.47",
    Family.SNPE_1: "1.68",
    Family.SNPE_2: "2.10",
    Family.QAIRT: "2.39",
}

_HEAD = f"""# With an SNPE or QAIRT SDK

Written by `python -m export.sdk.coverage` from the tables in `export/sdk/`; change those, not this.

`persondet convert` and `persondet quantize` go through the tools of an SDK where
{", ".join(f"`{name}`" for name in ROOT_VARIABLES[:-1])} or `{ROOT_VARIABLES[-1]}` names its folder,
or `--sdk DIR` does; `--toolchain embedded` does without. The SDK's `bin/envsetup.sh` need not be
sourced: the tools get the same PATH, LD_LIBRARY_PATH and PYTHONPATH. Its version is what its own
`snpe-net-run --version` says, or else its folder's name, or `--sdk-version`.

```
persondet convert model.onnx                            # model.dlc, by the SDK
persondet quantize model.onnx --calib pictures/         # model.quantized.dlc
persondet convert model.onnx --dry-run --sdk-version 1.68      # only the shell lines; needs no SDK
persondet quantize model.onnx --dry-run --sdk-version 2.39 --calib pictures/ --raw-files raw/
```

The last one writes the calibration files as well, for a machine that has the SDK and not us.
"""

_TAIL = """## When a run counts as a success

All of: exit code 0; a file that was not there before; a whole container in it, whose own record
names a converter of the same generation. From 2.0 on the file is the proof, as the texts that tools
print differ between releases: Qualcomm's loader reads it back, and it is compared with the ONNX:
names, shapes and types of inputs and outputs, the number of convolution weights, and that a
quantized graph is quantized. If graph-prepare added nothing to a DLC, a note says so. Of an SNPE
1.x file names and shapes are compared, as far as our own reader reads it, the quantizer must have
signed it, and the tool must have printed the line below.

Only then the file takes its place, with a sidecar that holds the exact commands. Where a tool
fails, nothing is written but `DESTINATION.log`, all that the tools printed. CRCs that the writer
left out are put in.

"""

_FILES = f"""
## A graph prepared for SoCs

`--soc sm8550,qcs6490`, or `--soc` several times, puts a compiled graph for each into the DLC, so
that a device need not compile at the first start. From 2.0 on that is the work of
{GRAPH_PREPARE}, which takes {", ".join(HTP_SOCS)};
other names of the same SoCs are translated. The converter's and the quantizer's own option for a
SoC is not used: real ones refuse every SoC. A cache holds for the SDK that made it.

`quantize --soc` prepares the quantized graph. `convert --soc` prepares the float one, which needs
`--float-bits 16`, and a SoC whose HTP has half precision: not v68.

## Outputs

A model has two outputs, and tools that are not told so give the last alone, or ignore a cache made
for other outputs. They are named at conversion if the converter has an option, to graph-prepare, to
snpe-net-run and to snpe-throughput-net-run; to the runs and caches of 1.x that take them from the
input list, by a first line `#` with their layers' names.

## Files and lists

Calibration pictures pass the one preprocessing and become headerless files: little-endian float32
in the layout of the DLC's input (NHWC), or uint8 for a uint8 input with `--native-inputs`. A list
names one a line, absolute on the host, relative to the folder of the run on a device; several
inputs are `name:=path`. A list has no quoting, so that the tools run in a temporary folder on plain
names, and a folder with blanks in its path is named by a link. Outputs are read by the spec: a file
of another size is an error, not another shape.

Name both outputs in runs of your own, as several versions write only the last one, and read them
with `persondet decode`:

```
snpe-net-run --container model.dlc --input_list list.txt --set_output_tensors scores,boxes
persondet decode output/ --spec model.dlc --images pictures/ --out boxes/
```
"""

_IN_A_CELL = """## Options by tool and version

In a cell: how it is written; *nothing*, if nothing need be said; *left out* with a note, if it
would be ignored or cannot be said; *refused*, with a message that names the versions that have it.
"""

_BETWEEN = """2.11 to 2.24 count as 2.0-2.10: from 2.25 on the older spellings only warn, whereas an
older tool refuses the newer ones (inferred). `--sdk-tools snpe` takes the older tools of 2.25+.
Opsets are inferred, too.
"""


def document() -> str:
    """The text of docs/snpe.md."""
    parts: list[str] = [_HEAD, "## Tools by version\n", _table(_tool_rows()), _BETWEEN, _IN_A_CELL]
    for title, options, columns in _TABLES:
        parts += [f"### {title}\n", _table(_option_rows(options, columns))]
    parts.append(_TAIL + _table(_success_rows()) + _FILES)
    return "\n".join(parts)


def _tool_rows() -> Iterator[Sequence[str]]:
    yield ("version", "converter", "quantizer", "for a SoC", "Python", "ONNX opset")
    for family, sample in _SAMPLES.items():
        tools = toolset_of(parse_version(sample))
        opsets, prepare = OPSETS[family], tools.prepare or f"{tools.quantizer} itself"
        yield (
            *(family.value, tools.converter, tools.quantizer, prepare),
            *(" or ".join(PYTHONS[family]), f"{opsets[0]} to {opsets[-1]}"),
        )


def _option_rows(
    options: Sequence[Option], columns: Sequence[tuple[str, Family]]
) -> Iterator[Sequence[str]]:
    yield ("wanted", *(f"{tool} {family.value}" for tool, family in columns))
    for option in options:
        yield (option.title, *(_cell(option, tool, *_RANGES[family]) for tool, family in columns))


def _cell(option: Option, tool: str, first: Numbers, end: Numbers) -> str:
    """What the entries say of the versions from `first` up to, without, `end`."""
    parts: list[str] = []
    covered = end  # from here on; entries are ordered, a later one narrows an earlier one
    for entry in reversed(option.entries):
        start, stop = max(entry.since, first), min(entry.before or _ENDLESS, covered)
        if entry.tool != tool or start >= stop:
            continue
        parts.insert(0, _when(start, stop, first, end) + _said(entry))
        covered = start
    return "; ".join(parts) or "refused"


def _when(start: Numbers, stop: Numbers, first: Numbers, end: Numbers) -> str:
    if (start, stop) == (first, end):
        return ""
    if stop == AFTER_2_25:
        return "2.25: "
    return f"from {dotted(start)}: " if stop == end else f"before {dotted(stop)}: "


def _said(entry: Entry) -> str:
    if entry.words is None:
        return "*left out*"
    words = (word if "{" in word else shlex.quote(word) for word in entry.words)
    text = f"`{' '.join(words)}`" if entry.words else "*nothing*"
    return f"{text} ({entry.note})" if entry.note else text


def _success_rows() -> Iterator[Sequence[str]]:
    yield ("tool of SNPE 1.x", "line")
    for tool, line in SUCCESS_LINES.items():
        yield (tool, f"`{line}`")


def _table(rows: Iterator[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(document(), end="")
