"""persondet.files: what comes from anywhere is read, or refused by the name of its file."""

import ast
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.baseline import read_baseline
from benchmarks.evaluation.truth import read_truth
from persondet import files
from persondet.arrays import read_arrays
from persondet.cli.opening import read_spec
from persondet.data.sources import open_dataset
from persondet.errors import InputError
from persondet.files import (
    FormatError,
    parse_json,
    parse_xml,
    read_bytes,
    read_json,
    read_text,
    read_toml,
    zip_entries,
)
from persondet.sidecar import read_sidecar
from persondet.training.config import config_from_dict, read_config
from quantize.encodings import read_encodings

ROOT = Path(__file__).parents[1]
DEEP = "[" * 100_000


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_json_is_as_python_s_own() -> None:
    text = '{"a": [1, -2.5, 1e3, "\\u00e9", null, true], "b": {"c": [NaN, -Infinity]}, "": 10}'
    assert repr(parse_json(text)) == repr(json.loads(text))
    assert parse_json("9" * 300) == int("9" * 300)
    assert parse_json(f'"{"1" * 5000}"') == "1" * 5000  # digits, but no number
    assert parse_json(f"0.{'1' * 5000}") == pytest.approx(1 / 9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "nested more than 64 deep"),
        ('{"a":' * 100_000, "nested more than 64 deep"),
        (_nested(66), "nested more than 64 deep"),
        (f'{{"]]]]": {_nested(65)}, "}}": 1}}', "nested more than 64 deep"),
        ("1" * 301, "a number has 301 digits"),
        ("-" + "1" * 5000, "a number has 5001 digits"),
        ('{"a": {"b": 1, "b": 1}}', "an object has the key 'b' twice"),
        ('{"a": 1', "Expecting ',' delimiter"),
    ],
)
def test_json_that_is_refused(text, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_what_is_read_can_be_printed() -> None:
    """What is nested as deep as is allowed still can be, from a deep stack."""
    value = parse_json(_nested(65))
    assert len(repr(value)) == len(json.dumps(value)) == 130


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a." * 100_000 + "a = 1", "nested more than 64 deep"),
        ("'a b' . " * 70 + "a = 1", "nested more than 64 deep"),
        ("[" + ".".join("abcdefgh" * 10) + "]", "nested more than 64 deep"),
        ("a = " + DEEP, "nested more than 64 deep"),
        ("a = " + "{a = " * 100_000, "nested more than 64 deep"),
        ("a = " + _nested(70), "nested more than 64 deep"),
        ("a = " + "1" * 5000, "a number has more than 300 digits"),
        ("a = " + "1_" * 400 + "1", "a number has more than 300 digits"),
        ("a = \0", "not TOML"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
    ],
)
def test_toml_that_is_refused(tmp_path, text, reason) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(FormatError, match=rf"cannot read the recipe .*a\.toml: .*{reason}"):
        read_toml(path, "the recipe")


def test_toml_that_is_read(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"a.b.c = 1\ndata = ['{'a.b/' * 40}']\nsteps = [{'0.5, ' * 200}]\n")
    values = read_toml(path)
    assert values["a"] == {"b": {"c": 1}} and len(values["steps"]) == 200


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0" encoding="evil"?><a/>',
        b'<?xml version="1.0" encoding="rot13"?><a/>',
        b'<?xml version="1.0" encoding="big5"?><a/>',
        b"<a>" * 100_000,
        b"",
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
        + b"".join(
            b'<!ENTITY %s "%s">' % (bytes([name]), b"&%s;" % bytes([name - 1]) * 10)
            for name in b"cdefghijklm"
        )
        + b"]><a>&m;</a>",
    ],
)
def test_xml_that_is_refused(content) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_xml(content)


def test_xml_that_is_read() -> None:
    text = '<?xml version="1.0" encoding="iso-8859-1"?><a>\u00e9</a>'
    assert parse_xml(text.encode("iso-8859-1")).text == "\u00e9"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfea", r"expected UTF-8 text, found the byte 0xff at 0$"),
        (b"ab\xe9", r"expected UTF-8 text, found the byte 0xe9 at 2$"),
        (b"a" * 21, r"it has more than 0 MiB"),
    ],
)
def test_text_that_is_refused(tmp_path, content, reason) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"^cannot read the list .*a\.txt: {reason}"):
        read_text(path, "the list", limit=20)


def test_a_byte_order_mark_is_no_text(tmp_path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 300, "File name too long"),
        ("a\0b", "no file has such a name"),
        ("\ud800", "no file has such a name"),
        ("missing", "No such file or directory; check the path"),
        ("", "Is a directory"),
    ],
)
def test_names_that_are_no_file(tmp_path, name, reason) -> None:
    with pytest.raises(InputError, match=reason):
        read_bytes(tmp_path / name)
    assert not files.is_file(tmp_path / name)
    assert files.is_folder(tmp_path / name) == files.exists(tmp_path / name) == (name == "")


def test_a_device_is_not_read_for_ever() -> None:
    with pytest.raises(InputError, match=r"cannot read the spec /dev/zero: it is a device"):
        read_bytes(Path("/dev/zero"), "the spec")


def test_a_pipe_is_read_to_its_end_or_its_limit(tmp_path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for limit in (300_000, 200_000):
        writer = threading.Thread(target=_write, args=(pipe, b"a" * 250_000))
        writer.start()
        if limit > 250_000:
            assert len(read_bytes(pipe, limit=limit)) == 250_000
        else:
            with pytest.raises(InputError, match="more than 0 MiB"):
                read_bytes(pipe, limit=limit)
        writer.join()


def _write(pipe: Path, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe.write_bytes(content)


def _zip(entries: int = 2) -> bytearray:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for number in range(entries):
            archive.writestr(f"entry{number}", b"content")
    return bytearray(written.getvalue())


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (6, b"\xff\x00"),  # a version that no reader knows: NotImplementedError
        (8, b"\x00\x08"),  # "the name is UTF-8", and it is not: UnicodeDecodeError
        (30, b"\x04\x00"),  # the extra field's
    ],
)
def test_a_damaged_directory_of_a_zip(offset, value) -> None:
    content = _zip()
    place = content.find(b"PK\x01\x02")
    content[place + offset : place + offset + 2] = value
    if offset == 8:
        content[place + 46] = 0xFF
    with pytest.raises(zipfile.BadZipFile):
        zip_entries(io.BytesIO(content))


def test_arrays(tmp_path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3), b=np.zeros((0, 4), np.float32))
    found = read_arrays(path)
    assert found["a"].tolist() == [0, 1, 2] and found["b"].shape == (0, 4)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    claim = io.BytesIO()
    with zipfile.ZipFile(claim, "w") as archive:
        entry = zipfile.ZipFile(io.BytesIO(whole)).read("a.npy")
        archive.writestr(
            "a.npy", entry.replace(b"(3,), }" + b" " * 12, b"(3" + b"0" * 12 + b",), }")
        )
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(4 << 20))
    claims = bytearray(bomb.getvalue())
    place = claims.find(b"PK\x01\x02") + 24
    claims[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    for content, reason in [
        (whole[:300], "expected arrays that numpy.savez wrote"),
        (b"PK\x03\x04", "expected arrays that numpy.savez wrote"),
        ((tmp_path / "one.npy").read_bytes(), "expected arrays that numpy.savez wrote"),
        (
            claim.getvalue(),
            r"a has shape \(3000000000000,\), 24,000,000,000,000 bytes, and the file",
        ),
        (bytes(claims), "its arrays take more than 1 GiB"),
    ]:
        path.write_bytes(content)
        with pytest.raises(FormatError, match=rf"cannot read the outputs .*a\.npz: {reason}"):
            read_arrays(path, "the outputs")


# Every reader of JSON: given a file of 100,000 brackets.
READERS = {
    "sidecar": lambda path: read_sidecar(path.with_suffix("")),
    "spec": read_spec,
    "encodings": read_encodings,
    "baseline": read_baseline,
    "coco": lambda path: open_dataset(f"coco:{path}:{path.parent}"),
    "crowdhuman": lambda path: open_dataset(f"crowdhuman:{path}:{path.parent}"),
    "truth": lambda path: read_truth([str(path)], ("background", "person")),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("text", [DEEP, "1" * 5000, "\ufffe"])
def test_every_reader_refuses(reader, text, tmp_path) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text, encoding="utf-8")
    path.with_suffix("").write_bytes(b"")
    with pytest.raises(InputError, match=r"deep\.json"):
        READERS[reader](path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("steps = ['x']", 'an item of steps is "x", expected a float'),
        (f"learning_rate = {'1' * 400}", "a number has more than 300 digits"),
    ],
)
def test_a_configuration_of_the_wrong_kind(tmp_path, text, reason) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        config_from_dict(read_config(path))


def test_annotations_with_numbers_and_names_that_hurt(tmp_path) -> None:
    long_name = "x" * 300 + ".jpg"
    for data_format, text, reason in [
        ("wider", f"a.jpg\n{'1' * 5000}\n", r"line 2: expected the number of faces"),
        ("wider", f"a.jpg\n1\n{'1' * 400} 2 3 4 0 0 0 0 0 0\n", r"line 3: expected 10 whole"),
        ("wider", f"{long_name}\n1\n1 2 20 20 0 0 0 0 0 0\n", "picture missing: dropped"),
        ("brainwash", f'"{long_name}": (1, 2, 20, 30);\n', "picture missing: dropped"),
        ("brainwash", '"a\0b.jpg": (1, 2, 20, 30);\n', "picture missing: dropped"),
    ]:
        path = tmp_path / "annotations"
        path.write_text(text)
        with pytest.raises(InputError, match=reason):
            open_dataset({"format": data_format, "annotations": str(path), "images": str(tmp_path)})


def test_an_annotation_in_an_unknown_encoding_is_named(tmp_path) -> None:
    (tmp_path / "a.xml").write_text('<?xml version="1.0" encoding="evil"?><annotation/>')
    source = {"format": "voc", "annotations": str(tmp_path), "images": str(tmp_path)}
    with pytest.raises(InputError, match=r"annotates no picture: .*not readable: .*a\.xml"):
        open_dataset(source)


def test_memory_stays_small(tmp_path) -> None:
    """A dotted key of 100,000 parts once took 40 GB."""
    path = tmp_path / "a.toml"
    path.write_text("a." * 100_000 + "a = 1")
    code = (
        "import resource, sys, pathlib\n"
        "from persondet.errors import InputError\n"
        "from persondet.files import read_toml\n"
        "try:\n    read_toml(pathlib.Path(sys.argv[1]))\n"
        "except InputError:\n    sys.exit(2)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        preexec_fn=_four_gigabytes,
        check=False,
        cwd=ROOT,
    )
    assert finished.returncode == 2


def _four_gigabytes() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def test_nobody_reads_documents_otherwise() -> None:
    """One reader each of JSON, TOML and XML."""
    others = {"json.load", "json.loads", "tomllib", "xml.etree.ElementTree.fromstring"}
    for room in ("persondet", "runtime", "export", "quantize", "benchmarks"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path != ROOT / "persondet/files.py":
                found = others & _used(path)
                assert not found, f"{path.relative_to(ROOT)}: {found}; use persondet.files"


def _used(path: Path) -> set[str]:
    """What a module imports, and each `a.b` in it."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add(f"{node.value.id}.{node.attr}")
    return used
