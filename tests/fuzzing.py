"""Reads damaged files of one kind, many in a process; tells which end in anything but a refusal.

python tests/fuzzing.py KIND FOLDER COUNT [SEED]

FOLDER holds sound files to start from; see `test_fuzz.py`, which makes them. Damage follows from
SEED (0) and the file's number alone, so that what was found is found again. Exit code 1 and a
traceback on standard output for each file that a reader took badly; what it was is kept in FOLDER.
More by hand: python tests/test_fuzz.py COUNT [KIND ...].
"""

import contextlib
import json
import random
import re
import resource
import shutil
import signal
import struct
import sys
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from persondet.errors import PersondetError

MEMORY_BYTES = 3 << 30  # of address space, beyond what the libraries map
SECONDS = 20  # for one file
_NASTY_NUMBERS = (
    *("0", "-1", "1e400", "-0.0", "NaN", "Infinity", "1e-320", "4294967296", "0.5"),
    *("9" * 20, "9" * 310, "1" * 5000, "2147483648", "-9223372036854775809"),
)
_NASTY_TEXTS = (
    *("", "\0", "..", "/", "a" * 300, "\ud800", "\U0001f600", "-", "None", "1" * 400, "%s", "{}"),
)


def damaged_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the content with a few bits turned, pieces cut out, doubled or put in, or its end
    gone."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        place = chance.randrange(len(data) + 1) if data else 0
        length = min(chance.choice((1, 2, 4, 8, 64, 1000)), len(data) - place)
        how = chance.randrange(7)
        if how == 0:
            del data[place : place + length]
        elif how == 1:
            data[place:place] = data[place : place + length]
        elif how == 2:
            data[place : place + length] = chance.randbytes(length)
        elif how == 3:
            data[place : place + length] = bytes([chance.choice((0, 255, 127))]) * length
        elif how == 4 and chance.random() < 0.3:
            del data[place:]
        elif how == 5 and len(data) - place >= 4:
            number = chance.choice((0, 1, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1))
            struct.pack_into("<I", data, place, number)
        elif place < len(data):
            data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def damaged_words(content: bytes, chance: random.Random) -> bytes:
    """Return a text with a few of its numbers or words replaced by ones that hurt."""
    text = content.decode()
    for _ in range(chance.choice((1, 1, 2, 3))):
        begin = chance.randrange(len(text) + 1)
        while begin < len(text) and not text[begin].isalnum():
            begin += 1
        end = begin
        while end < len(text) and (text[end].isalnum() or text[end] in ".-_"):
            end += 1
        text = text[:begin] + chance.choice(_NASTY_NUMBERS + _NASTY_TEXTS) + text[end:]
    return text.encode("utf-8", "surrogatepass")


def damaged_json(content: bytes, chance: random.Random) -> bytes:
    """Return a JSON text in which values were replaced, dropped, renamed, nested or given twice."""
    value = json.loads(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        parent = _somewhere(value, chance)
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            continue
        key = chance.choice(keys)
        how = chance.randrange(5)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[chance.choice(_NASTY_TEXTS)] = parent.pop(key)
        else:
            parent[key] = _nasty_value(parent[key], chance)
    text = json.dumps(value)
    while '"deep"' in text:
        depth = chance.choice((3, 60, 200, 900, 20000))
        text = text.replace('"deep"', "[" * depth + "]" * depth, 1)
    for index, number in enumerate(_NASTY_NUMBERS):
        text = text.replace(f'"number {index}"', number)
    return text.encode()


def _somewhere(value: Any, chance: random.Random) -> Any:
    """Return a list or an object in the value, deep ones as likely as others."""
    found, open_values = [value], [value]
    while open_values:
        one = open_values.pop()
        inner = one.values() if isinstance(one, dict) else one
        inner = [child for child in inner if isinstance(child, dict | list)]
        open_values += inner
        found += inner
    return chance.choice(found[-50:] if chance.random() < 0.5 else found)


def _nasty_value(before: Any, chance: random.Random) -> Any:
    number = f"number {chance.randrange(len(_NASTY_NUMBERS))}"
    plain = (None, [], {}, True, str(before)[:100], number, number, "deep")
    around = ([before], {"a": before}, [before] * 1000)
    return chance.choice((*plain, *around, chance.choice(_NASTY_TEXTS)))


def damaged_zip(content: bytes, chance: random.Random) -> bytes:
    """Return a zip whose bytes are damaged, or one of whose entries is and has a right CRC."""
    if chance.random() < 0.4:
        return damaged_bytes(content, chance)
    directory = content.rfind(b"PK\x01\x02")
    if chance.random() < 0.4:  # the directory and what follows it, which any reader takes first
        first = content.find(b"PK\x01\x02")
        return content[:first] + damaged_bytes(content[first:], chance)
    assert directory > 0
    return _with_damaged_entry(content, chance)


def _with_damaged_entry(content: bytes, chance: random.Random) -> bytes:
    import io

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {}
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename.encode())
            entries[info.filename] = content[start : start + info.file_size]
    name = chance.choice(list(entries))
    entries[name] = damaged_bytes(entries[name], chance)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, entry in entries.items():
            archive.writestr(zipfile.ZipInfo(name), entry)
    return written.getvalue()


def damaged_onnx(content: bytes, chance: random.Random) -> bytes:
    """Return an ONNX file with damaged bytes, or with attributes, shapes or links that hurt."""
    if chance.random() < 0.4:
        return damaged_bytes(content, chance)
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    for _ in range(chance.choice((1, 1, 2))):
        how = chance.randrange(7)
        number = chance.choice((0, -1, 1, 3, 2**20, 2**31, 2**40, -(2**63)))
        if how == 0:
            node = chance.choice([node for node in graph.node if node.attribute])
            attribute = chance.choice(node.attribute)
            if attribute.ints:
                attribute.ints[chance.randrange(len(attribute.ints))] = number
            else:
                attribute.i = number
        elif how == 1:
            tensor = chance.choice(graph.initializer)
            if tensor.dims:
                tensor.dims[chance.randrange(len(tensor.dims))] = number
        elif how == 2:
            value = chance.choice([*graph.input, *graph.output])
            dims = value.type.tensor_type.shape.dim
            dims[chance.randrange(len(dims))].dim_value = number
        elif how == 3:
            node = chance.choice(graph.node)
            node.op_type = chance.choice(("Expand", "Tile", "ConstantOfShape", "Sqrt", "Nope", ""))
        elif how == 4:
            node = chance.choice([node for node in graph.node if node.input])
            names = [name for other in graph.node for name in other.output]
            node.input[chance.randrange(len(node.input))] = chance.choice((*names, "", "nope"))
        elif how == 5:
            tensor = chance.choice(graph.initializer)
            tensor.raw_data = damaged_bytes(tensor.raw_data, chance)
        else:
            entry = chance.choice(model.metadata_props)
            entry.value = damaged_bytes(entry.value.encode(), chance).decode("utf-8", "replace")
    return model.SerializeToString()


def read_sidecar_file(path: Path) -> None:
    from persondet.sidecar import spec_beside

    spec_beside(path.with_suffix(""))


def read_spec_file(path: Path) -> None:
    from persondet.cli.opening import read_spec
    from persondet.spec import spec_to_json

    spec = read_spec(path)
    spec_to_json(spec)
    assert spec.num_anchors and spec.output_shapes


def read_encodings_file(path: Path) -> None:
    from quantize.encodings import encodings_to_json, read_encodings

    encodings_to_json(read_encodings(path))


def read_baseline_file(path: Path) -> None:
    from benchmarks.baseline import read_baseline

    read_baseline(path)


def read_config_file(path: Path) -> None:
    from persondet.data.sources import open_dataset
    from persondet.training.config import config_from_dict, read_config

    values = read_config(path)
    data = values.pop("data", [])
    config_from_dict(values)
    for source in data if isinstance(data, list) else []:
        if isinstance(source, str | dict):
            open_dataset(source, path.parent)


def read_log_file(path: Path) -> None:
    from persondet.training.curves import read_log

    read_log(path)


def read_list_file(path: Path) -> None:
    from quantize.calibration_set import calibration_set

    calibration_set(path)


def annotation_reader(kind: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from benchmarks.evaluation.truth import read_truth, truth_of
        from persondet.data.sources import open_dataset

        annotations = path
        if kind == "voc":
            folder = path.parent / "annotations"
            folder.mkdir(exist_ok=True)
            annotations = Path(shutil.copy(path, folder / "a.xml")).parent
        source = {"format": kind, "annotations": str(annotations), "images": str(path.parent)}
        dataset = None
        with contextlib.suppress(PersondetError):
            dataset = open_dataset(source)
            dataset.report.lines()
        if kind == "coco":
            read_truth([str(path)], ("background", "person", "head"))
        elif dataset is not None:
            truth_of(dataset, dataset.class_names)

    return read


def read_arrays_file(path: Path) -> None:
    from persondet.arrays import read_arrays

    read_arrays(path)


def read_container_file(path: Path) -> None:
    from runtime.backend import model_kind
    from runtime.qairt.container import check_container

    with contextlib.suppress(PersondetError):
        model_kind(path)
    check_container(path)


def read_dlc_file(path: Path) -> None:
    import numpy as np

    from persondet.cli.opening import read_spec
    from runtime.dlc_backend import DlcBackend
    from runtime.qairt.reader import read_dlc

    read_dlc(path)
    spec = read_spec(path.with_name("spec.json"))
    with contextlib.closing(DlcBackend(path, spec)) as backend:
        backend.infer(np.zeros(spec.input_shape, spec.input_dtype))


def read_onnx_file(path: Path) -> None:
    import numpy as np

    from benchmarks.onnx_layers import onnx_layer_graph
    from export.onnx_model import load_detector_onnx
    from runtime.onnx_backend import OnnxBackend

    for read in (load_detector_onnx, onnx_layer_graph):
        with contextlib.suppress(PersondetError):
            read(path)
    backend = OnnxBackend(path)
    backend.infer(np.zeros(backend.spec.input_shape, backend.spec.input_dtype))


_TEXT = (damaged_bytes, damaged_words)
# kind: the name of the sound file, ways to damage it, what reads it
KINDS: dict[str, tuple[str, tuple[Callable[..., bytes], ...], Callable[[Path], None]]] = {
    "sidecar": ("model.onnx.json", (damaged_bytes, damaged_json), read_sidecar_file),
    "spec": ("spec.json", (damaged_bytes, damaged_json, damaged_words), read_spec_file),
    "encodings": ("encodings.json", (damaged_bytes, damaged_json), read_encodings_file),
    "aimet": ("aimet.json", (damaged_bytes, damaged_json), read_encodings_file),
    "baseline": ("baseline.json", (damaged_bytes, damaged_json), read_baseline_file),
    "config": ("train.toml", _TEXT, read_config_file),
    "log": ("log.jsonl", _TEXT, read_log_file),
    "list": ("list.txt", _TEXT, read_list_file),
    "coco": ("coco.json", (damaged_bytes, damaged_json, damaged_json), annotation_reader("coco")),
    "voc": ("voc.xml", _TEXT, annotation_reader("voc")),
    "crowdhuman": ("a.odgt", (*_TEXT, damaged_json), annotation_reader("crowdhuman")),
    "wider": ("wider.txt", _TEXT, annotation_reader("wider")),
    "brainwash": ("a.idl", _TEXT, annotation_reader("brainwash")),
    "arrays": ("arrays.npz", (damaged_bytes,), read_arrays_file),
    "container": ("model.dlc", (damaged_zip,), read_container_file),
    "dlc": ("model.dlc", (damaged_zip,), read_dlc_file),
    "onnx": ("model.onnx", (damaged_onnx,), read_onnx_file),
}


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def too_long(*_: Any) -> None:
        raise TimeoutError(f"not read within {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def _bound_memory(kind: str) -> None:
    if kind in ("dlc", "onnx"):  # their libraries are mapped before the limit is set
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES, resource.RLIM_INFINITY))


def main(kind: str, folder: Path, count: int, seed: int) -> int:
    name, ways, read = KINDS[kind]
    sound = (folder / name).read_bytes()
    place = folder / "damaged" / kind
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("damaged"), dirs_exist_ok=True)
    read(place / name)  # what is whole is read
    _bound_memory(kind)
    failures = 0
    for number in range(count):
        chance = random.Random(zlib.crc32(f"{kind} {seed} {number}".encode()))
        content = chance.choice(ways)(sound, chance)
        (place / name).write_bytes(content)
        try:
            with _in_time():
                read(place / name)
        except PersondetError as error:
            assert str(error).strip()
        except BaseException:
            failures += 1
            kept = folder / f"{kind}-{seed}-{number}{Path(name).suffix}"
            kept.write_bytes(content)
            print(f"{kept}:\n{traceback.format_exc(limit=-6)}", flush=True)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    used = f"{int(peak[1]) >> 10} MiB" if peak else "unknown"
    print(f"{kind}: {count} files, {failures} failures, peak {used}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int((*sys.argv, "0")[4])))
