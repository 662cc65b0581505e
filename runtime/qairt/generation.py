"""Where a DLC comes from, and which runtimes load it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.qairt.container import DlcContainer

_NONE = ("", "N/A")
_OFF = ("=", "=false", "=none", "=[]")
# Keys of a step in a QAIRT history, in the spellings of 2.33 and of 2.38 on, as the schemas in
# libQnnIr.so name them for converters and quantizers; that other tools write likewise is inferred.
_HISTORY_KEYS = ("dlcGenerationInfo", "dlc-generation-info")
_VERSION_KEYS = (
    *("converterVersion", "converter-version", "quantizerVersion", "quantizer-version"),
    "version",
)


@dataclass(frozen=True)
class Step:
    """A tool that worked on the file. command: with all options, as recorded; when: as recorded."""

    tool: str
    version: str | None
    command: str
    when: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.tool, self.version, self.when)))

    @property
    def short_command(self) -> str:
        """The command without the options that are off or empty, which SNPE records as well."""
        words = self.command.split(" ")
        kept = [word for word in words if not word.lower().endswith(_OFF)]
        left_out = len(words) - len(kept)
        return " ".join(kept) + (f" ({left_out} options off or empty)" if left_out else "")


@dataclass(frozen=True)
class Loader:
    """Whether something loads the file, and why or how well."""

    name: str
    loads: bool
    why: str


@dataclass(frozen=True)
class Origin:
    """generation: `SNPE 1.x`, `SNPE 2.x`, `QAIRT`; version: of the SDK that wrote it.

    is_quantized: None when it is not known. runtimes: software; processors: what a runtime that
    loads it can run it on, empty when is_quantized is None. notes: what else may hinder it.
    """

    generation: str
    version: str | None
    model_format: str
    steps: tuple[Step, ...]
    is_quantized: bool | None
    runtimes: tuple[Loader, ...]
    processors: tuple[Loader, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """`SNPE 1.x (1.51.0.2663), model format 3.0`."""
        version = f" ({self.version})" if self.version else ""
        return f"{self.generation}{version}, model format {self.model_format}"


def origin_of(container: DlcContainer, *, is_quantized: bool | None = None) -> Origin:
    """is_quantized: what the graph or its sidecar says; None to go by the record of the tools."""
    steps = tuple(_steps(container.metadata))
    if is_quantized is None:
        is_quantized = _quantized_by_record(steps)
    version = next((step.version for step in steps if step.version), None)
    return Origin(
        container.generation,
        version,
        ".".join(map(str, container.model_version or ("unknown",))),
        steps,
        is_quantized,
        tuple(_runtimes(container, version)),
        tuple(_processors(container.generation == "SNPE 1.x", is_quantized)),
        tuple(_notes(container, is_quantized)),
    )


def _quantized_by_record(steps: Iterable[Step]) -> bool | None:
    """Return None when neither a quantizer nor a converter is named: QAIRT's libraries, which the
    embedded toolchain drives, write quantized and float graphs under one name, `qnn-net-run`."""
    tools = [step.tool for step in steps]
    if any("quant" in tool for tool in tools):
        return True
    return False if any("convert" in tool or "-to-dlc" in tool for tool in tools) else None


def _steps(metadata: Mapping[str, Any]) -> Iterator[Step]:
    """The record of SNPE's tools as `key=value`, of QAIRT's as JSON."""
    for key in ("converter-command", "quantizer-command"):
        command = str(metadata.get(key, ""))
        if command not in _NONE:
            version = str(metadata.get("converter-version", ""))
            known = key.startswith("converter") and version not in _NONE
            yield Step(command.split()[0], version if known else None, command)
    for entry in metadata.values():
        if isinstance(entry, dict):
            for history in filter(None, map(entry.get, _HISTORY_KEYS)):
                yield from _history_steps(history)


def _history_steps(history: Any) -> Iterator[Step]:
    for generation in history if isinstance(history, list) else [history]:
        records = generation.items() if isinstance(generation, dict) else ()
        for name, record in records:
            if isinstance(record, dict):
                command = _command(name, record)
                if command not in _NONE:
                    yield Step(
                        command.split()[0],
                        _first_text(record, _VERSION_KEYS),
                        command,
                        _first_text(record, ("timestamp",)),
                    )


def _command(name: str, record: Mapping[str, Any]) -> str:
    """As recorded, or joined from tool and arguments; a tool without name is called by its key,
    `converterCommand`."""
    if recorded := _first_text(record, ("command",)):
        return recorded
    key = name.removesuffix("Command").removesuffix("-command")
    arguments = record.get("args")
    pairs = arguments.items() if isinstance(arguments, dict) else ()
    tool = _first_text(record, ("tool",)) or key
    return " ".join((tool, *(f"{name}={value}" for name, value in pairs))).strip()


def _first_text(record: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    values = (record.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


def _runtimes(container: DlcContainer, version: str | None) -> Iterable[Loader]:
    """That a runtime wants a file of its own version or an older one is inferred, as is that SNPE
    before 2.25 does not find QAIRT's metadata."""
    newer = f"of {version} or newer" if version else "as new as the file or newer"
    old, early, late, ours = (
        "SNPE 1.x",
        "SNPE 2.0 to 2.24",
        "QAIRT and SNPE 2.25 on",
        "persondet (--toolchain embedded)",
    )
    if container.generation == "SNPE 1.x":
        why = "the model is of format 3, these read 4: convert the original model again"
        return (
            Loader(old, True, newer),
            *(Loader(name, False, why) for name in (early, late)),
            Loader(ours, False, f"{why}; the graph is shown here, not run"),
        )
    refused = Loader(old, False, "the model is of format 4, SNPE 1.x reads up to 3")
    if container.generation == "SNPE 2.x":
        later = Loader(late, True, "they read files of earlier SNPE 2 releases")
        return refused, Loader(early, True, newer), later, Loader(ours, True, "reads and runs it")
    why = "the metadata is QAIRT's: convert with the older SDK instead"
    return (
        refused,
        Loader(early, False, why),
        Loader(late, True, newer),
        Loader(ours, True, "reads and runs it"),
    )


def _processors(is_snpe_1: bool, is_quantized: bool | None) -> Iterable[Loader]:
    """By the SDK's documentation: CPU and GPU take both kinds, DSP differs by generation."""
    if is_quantized is None:
        return ()
    if is_quantized:
        slower = "dequantized when loaded: a slower start, perhaps less accurate"
        return (
            Loader("CPU", True, slower),
            Loader("GPU", True, slower),
            Loader("DSP, HTP", True, "quantized"),
            Loader("AIP", True, "where the quantizer prepared it, with --enable_hta")
            if is_snpe_1
            else Loader("AIP", False, "the quantizers of 2.x do not prepare for it"),
        )
    needs = "needs a quantized file"
    dsp = (
        Loader("DSP, HTP", True, "quantized when loaded, with worse ranges than a quantizer's")
        if is_snpe_1
        else Loader("DSP, HTP", False, f"{needs}; newer HTPs also take graphs in float16")
    )
    return (
        Loader("CPU", True, "float"),
        Loader("GPU", True, "float"),
        dsp,
        Loader("AIP", False, needs),
    )


def _notes(container: DlcContainer, is_quantized: bool | None) -> Iterator[str]:
    if is_quantized is None:
        yield (
            "its record does not say whether it is quantized, on which depends where it runs (a "
            "DSP needs a quantized file)"
        )
    if container.without_crc:
        yield (
            "its entries have no CRCs, as recent writers leave them; some SDK tools were seen to "
            "refuse such a file: `repack` in runtime/qairt/container.py writes it again with CRCs"
        )
