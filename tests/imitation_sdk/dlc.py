"""DLC files with the metadata of the imitated version, and the ONNX that they were made from."""

import contextlib
import json
import os
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imitation_sdk.command_line import ToolError
from imitation_sdk.flags import numbers

if TYPE_CHECKING:
    import onnx

    from runtime.qairt.graph import DlcGraph

MODEL_ENTRY = "imitation.onnx"
DESCRIPTION_ENTRY = "imitation.json"
OVERRIDES_ENTRY = "imitation.overrides.json"
NCHW_SUFFIX = ".nchw"  # of the tensors and nodes that `convert` puts behind 4-D inputs
_HIDDEN = "imitation.4."  # what a container of generation 3 has instead of its own generation's
_WEIGHTS = ("model", "model.params", "model.params.bin")
_HISTORY_ENTRY = "dlc.metadata.history.2.3.0"
_LATEST_ENTRY = "dlc.metadata2.3.0"
_NO_CRC_SINCE = (2, 48)


def entries_of(path: Path) -> dict[str, bytes]:
    """The stored entries of a DLC. Raises ToolError for what is none."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (OSError, zipfile.BadZipFile):
        raise ToolError(f"[ERROR] Failed to open DLC file: {path}") from None
    entries = {}
    for info in infos:  # past zipfile, which refuses a CRC that was left zero
        lengths = struct.unpack_from("<HH", data, info.header_offset + 26)
        start = info.header_offset + 30 + sum(lengths)
        entries[info.filename] = data[start : start + info.file_size]
    if "model" not in entries:
        raise ToolError(f"[ERROR] Failed to open DLC file: {path}")
    return entries


def commands_of(entries: Mapping[str, bytes]) -> dict[str, str]:
    """converter-command, converter-version, quantizer-command and the rest, of any version."""
    if "dlc.metadata" in entries:
        lines = entries["dlc.metadata"].decode().splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines) if value}
    for name in sorted(entries, reverse=True):
        if name.startswith("dlc.metadata"):
            with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
                return _from_json(json.loads(entries[name].decode()))
    return {}


def write_dlc(
    destination: Path,
    model: "onnx.ModelProto",
    runnable: "onnx.ModelProto",
    commands: Mapping[str, str],
    overrides: bytes | None = None,
) -> None:
    """Write `model` as a DLC. runnable: the same graph with float inputs and outputs, for
    onnxruntime and the quantizer. commands: as of `commands_of`.

    Raises ToolError where the embedded toolchain does not take the graph.
    """
    from imitation_sdk.network import describe

    embedded = _embedded_entries(model)
    version = numbers(commands["converter-version"])
    entries = _metadata(version, commands, embedded)
    if version < (2, 0):
        from imitation_sdk.generation3 import model_entries

        entries |= model_entries(_graph(embedded))
        entries |= {f"{_HIDDEN}{name}": embedded[name] for name in _WEIGHTS}
    else:
        entries |= {name: embedded[name] for name in _WEIGHTS}
    entries[MODEL_ENTRY] = runnable.SerializeToString()
    entries[DESCRIPTION_ENTRY] = describe(runnable)
    if overrides is not None:
        entries[OVERRIDES_ENTRY] = overrides
    write_entries(destination, entries)
    if version >= _NO_CRC_SINCE:
        _zero_crcs(destination)


def read_graph(path: Path) -> "DlcGraph":
    """The graph as Qualcomm's loader reads it. Raises PersondetError where it does not."""
    entries = entries_of(path)
    hidden = {name.removeprefix(_HIDDEN): each for name, each in entries.items() if _HIDDEN in name}
    return _graph({**entries, **hidden})


def _graph(entries: Mapping[str, bytes]) -> "DlcGraph":
    from runtime.qairt.reader import read_dlc

    with tempfile.TemporaryDirectory(prefix="imitation-") as folder:
        path = Path(folder, "graph.dlc")
        write_entries(path, entries)
        return read_dlc(path)


def write_entries(destination: Path, entries: Mapping[str, bytes]) -> None:
    try:
        with zipfile.ZipFile(destination, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    except OSError as error:
        raise ToolError(f"[ERROR] Failed to write {destination}: {error.strerror}") from None


def _embedded_entries(model: "onnx.ModelProto") -> dict[str, bytes]:
    import onnx

    from export import embedded_worker
    from export.onnx_model import name_nodes

    name_nodes(model)
    arguments = sys.argv
    with tempfile.TemporaryDirectory(prefix="imitation-") as folder:
        source, result = Path(folder, "graph.onnx"), Path(folder, "result.json")
        onnx.save(model, source)
        job = {"job": "dlc", "onnx": str(source), "folder": folder}
        sys.argv = ["worker", str(result), json.dumps(job)]
        try:
            with _streams_silent():
                embedded_worker.main()
        finally:
            sys.argv = arguments
        answer = json.loads(result.read_text())
        if len(answer.get("files", ())) != 1:
            raise ToolError(f"ERROR_UNSUPPORTED_OPERATION: {answer}", 255)
        return entries_of(Path(folder, answer["files"][0]))


@contextlib.contextmanager
def _streams_silent() -> Iterator[None]:
    """The libraries' chatter would stand between our log lines."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _metadata(
    version: tuple[int, int], commands: Mapping[str, str], embedded: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The entries of that version; between 2.22 and 2.33, where nothing is known, text.

    The loader holds JSON to a schema: a quantizer's command must have a version, a float DLC has
    none. embedded: the writer's own entries, of which the newest generation keeps the headers.
    """
    if version < (2, 33):
        text = "".join(f"{key}={value}\n" for key, value in commands.items())
        return {"dlc.metadata": text.encode()}
    if version < (2, 38):
        info = _generation_info(commands, "-")
        record = {"meta-data-version": "2.0.1", "dlc-generation-info": [info]}
        return {"dlc.metadata2.0.1": json.dumps(record).encode()}
    info = _generation_info(commands, "")
    if version < (2, 48):
        header = json.loads(embedded[_LATEST_ENTRY])["header"]
        header["version"]["minor"] = 1
        header["header_version"] = {"major": 0, "minor": 0, "patch": 0}
        record = {"header": header, "dlcGenerationInfo": [info]}
        return {"dlc.metadata2.1.0": json.dumps(record).encode()}
    history = {**json.loads(embedded[_HISTORY_ENTRY]), "dlcGenerationInfo": [info]}
    return {
        _HISTORY_ENTRY: json.dumps(history, indent=4).encode(),
        _LATEST_ENTRY: embedded[_LATEST_ENTRY],
    }


def _generation_info(commands: Mapping[str, str], hyphen: str) -> dict[str, dict]:
    """Commands as objects; hyphen: "-" for `converter-version`, else `converterVersion`."""
    info = {}
    for stage in ("converter", "quantizer"):
        tool, *words = commands[f"{stage}-command"].split()
        if tool != "N/A":
            pairs = (word.partition("=") for word in words)
            info[_key(stage, "command", hyphen)] = {
                "tool": tool,
                _key(stage, "version", hyphen): commands["converter-version"],
                "args": {key: value for key, _, value in pairs},
            }
    return info


def _key(first: str, second: str, hyphen: str) -> str:
    return f"{first}-{second}" if hyphen else first + second.capitalize()


def _from_json(record: dict) -> dict[str, str]:
    """Inverse of `_metadata`'s JSON, of both spellings."""
    hyphen = "-" if "dlc-generation-info" in record else ""
    info = record["dlc-generation-info" if hyphen else "dlcGenerationInfo"][0]
    converter = info[_key("converter", "command", hyphen)]
    return {
        "converter-command": _joined(converter),
        "converter-version": converter[_key("converter", "version", hyphen)],
        **{"model-copyright": "N/A", "model-version": "N/A"},
        "quantizer-command": _joined(info.get(_key("quantizer", "command", hyphen))),
    }


def _joined(command: dict | None) -> str:
    if command is None:
        return "N/A"
    words = [f"{key}={value}" for key, value in command.get("args", {}).items()]
    return " ".join([command["tool"], *words])


def _zero_crcs(path: Path) -> None:
    """As recent writers leave them, in the local headers and in the directory."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        infos, directory = archive.infolist(), archive.start_dir
    for info in infos:
        data[info.header_offset + 14 : info.header_offset + 18] = bytes(4)
        data[directory + 16 : directory + 20] = bytes(4)
        directory += 46 + sum(struct.unpack_from("<HHH", data, directory + 28))
    path.write_bytes(data)
