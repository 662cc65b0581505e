"""Artefacts take their place whole or not at all; sidecars describe exactly one file."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest
from described import describe

from persondet import sidecar, zoo
from persondet.errors import InputError
from persondet.sidecar import (
    publishing,
    read_sidecar,
    replacing,
    sha256_of,
    sidecar_path,
    spec_beside,
)

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


@pytest.fixture
def artefact(tmp_path):
    path = tmp_path / "model.dlc"
    path.write_bytes(b"abc")
    return path


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_replacing_makes_folders_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "model.onnx"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".onnx"  # writers choose a format by the suffix
        temporary.write_bytes(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert names(path.parent) == ["model.onnx"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_failures_leave_the_earlier_file(artefact, failure):
    with pytest.raises(failure), replacing(artefact) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert artefact.read_bytes() == b"abc"
    assert names(artefact.parent) == ["model.dlc"]


def test_a_full_disk_is_an_input_error(artefact):
    refused = pytest.raises(InputError, match=r"cannot write .*model\.dlc: No space left")
    with refused, replacing(artefact) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert artefact.read_bytes() == b"abc"
    assert names(artefact.parent) == ["model.dlc"]


def test_places_that_cannot_be_written(tmp_path, artefact):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, reason in [
        (tmp_path, "it is a folder; name a file"),
        (pipe, "it is not a regular file"),  # as /dev/null is not
        (artefact / "below.dlc", "cannot write"),
        (tmp_path / ("x" * 300), "File name too long"),
    ]:
        with pytest.raises(InputError, match=reason), replacing(path):
            pytest.fail("the block must not run")
    assert pipe.is_fifo()
    assert names(tmp_path) == ["model.dlc", "pipe"]


def test_a_name_as_long_as_names_may_be(tmp_path):
    longest = tmp_path / ("x" * 251 + ".dlc")
    with replacing(longest) as temporary:
        temporary.write_bytes(b"abc")
    assert longest.read_bytes() == b"abc"
    refused = pytest.raises(InputError, match=r"\.dlc\.json: File name too long")
    with refused, publishing() as publication:  # before the artefact is replaced
        publication.file(longest).write_bytes(b"new")
        publication.describe(longest, step="convert", inputs=[], spec=None)
    assert longest.read_bytes() == b"abc"
    assert names(tmp_path) == [longest.name]


def test_no_permission(tmp_path, monkeypatch):
    def refused(destination):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(destination))

    monkeypatch.setattr(sidecar, "locked_file", refused)
    denied = pytest.raises(InputError, match="Permission denied; check the folder's permissions")
    with denied, replacing(tmp_path / "model.dlc"):
        pytest.fail("the block must not run")


def test_sidecar_records_what_was_made_from_what(tmp_path, artefact):
    source = tmp_path / "model.onnx"
    source.write_bytes(b"")
    spec = zoo.detector_spec("mb2-ssd-lite-f38")
    path = describe(
        artefact,
        step="convert",
        inputs=[source],
        spec=spec,
        packages=["numpy", "no-such-package"],
        details={"soc": None},
    )
    assert path == sidecar_path(artefact) == tmp_path / "model.dlc.json"
    record = read_sidecar(artefact)
    assert record["artefact"] == {"name": "model.dlc", "sha256": ABC_SHA256, "bytes": 3}
    assert record["inputs"][0]["name"] == "model.onnx"
    assert record["step"] == "convert"
    assert record["details"] == {"soc": None}
    assert set(record["versions"]) == {"persondet", "python", "numpy"}
    assert spec_beside(artefact) == spec
    assert sha256_of(artefact) == ABC_SHA256


def test_no_sidecar_and_no_spec(artefact):
    assert read_sidecar(artefact) is None
    assert spec_beside(artefact) is None
    describe(artefact, step="convert", inputs=[], spec=None)
    assert spec_beside(artefact) is None


def test_a_sidecar_of_another_file_is_noticed(artefact):
    describe(artefact, step="convert", inputs=[], spec=None)
    artefact.write_bytes(b"abd")
    with pytest.raises(InputError, match=r"describes another file: .* sha256 ba7816bf8f01"):
        read_sidecar(artefact)
    artefact.unlink()
    with pytest.raises(InputError, match=r"cannot read .*model\.dlc: No such file"):
        read_sidecar(artefact)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot read the sidecar"),
        ("\udcff", "cannot read the sidecar"),
        ("[]", "is not a sidecar of persondet: expected format persondet-sidecar-1"),
        ('{"format": "other"}', "is not a sidecar of persondet"),
        ('{"format": "persondet-sidecar-1"}', "does not say which file it describes"),
        ('{"format": "persondet-sidecar-1", "artefact": 3}', "does not say which file"),
    ],
)
def test_files_that_are_no_sidecar(artefact, text, expected):
    sidecar_path(artefact).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=expected):
        read_sidecar(artefact)


def test_a_bad_spec_in_a_sidecar(artefact):
    describe(artefact, step="convert", inputs=[], spec=None)
    path = sidecar_path(artefact)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "spec": {"spec_version": 1}}))
    with pytest.raises(InputError, match="invalid detector spec"):
        spec_beside(artefact)


def test_nothing_appears_unless_every_file_and_sidecar_does(tmp_path, monkeypatch):
    """The last sidecar cannot be written: a full disk says so without naming a file."""
    paths = [tmp_path / "a.onnx", tmp_path / "b.dlc"]
    paths[0].write_text("earlier")
    real_write = Path.write_text

    def full(self, *arguments, **options):
        if "b.dlc" in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match=r"a\.onnx: No space left"), publishing() as publication:
        for path in paths:
            publication.file(path).write_bytes(b"new")
        for path in paths:
            publication.describe(path, step="convert", inputs=[], spec=None)
    assert names(tmp_path) == ["a.onnx"] and paths[0].read_text() == "earlier"


def test_all_appear_together_sidecars_last(tmp_path, monkeypatch):
    order = []
    real_replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append(to.name), real_replace(self, to))[1]
    )
    with publishing() as publication:
        for name in ("a.onnx", "b.dlc"):
            publication.file(tmp_path / name).write_bytes(name.encode())
            publication.describe(tmp_path / name, step="convert", inputs=[], spec=None)
        assert not (tmp_path / "a.onnx").exists()
    assert order == ["a.onnx", "b.dlc", "a.onnx.json", "b.dlc.json"]
    assert read_sidecar(tmp_path / "b.dlc")["artefact"]["bytes"] == 5


def test_ctrl_c_amid_the_renames_waits_for_the_last(tmp_path, monkeypatch):
    real_replace = Path.replace

    def interrupted(self, to):
        os.kill(os.getpid(), signal.SIGINT)
        return real_replace(self, to)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), publishing() as publication:
        publication.file(tmp_path / "a.onnx").write_bytes(b"a")
        publication.describe(tmp_path / "a.onnx", step="export", inputs=[], spec=None)
    assert names(tmp_path) == ["a.onnx", "a.onnx.json"]


def test_anothers_failure_is_not_blamed_on_the_destination(tmp_path):
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "clip.mp4"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "clip.mp4"):
        (tmp_path / "other").read_bytes()
    assert names(tmp_path) == []
