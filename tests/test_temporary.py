"""persondet.temporary: temporary folders that cannot be made, through both toolchains."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from export.convert import convert as convert_embedded
from export.sdk.command_lines import toolset_of
from export.sdk.intent import ConvertIntent
from export.sdk.sdk import find_sdk
from export.sdk.toolchain import Toolchain, convert
from persondet.errors import InputError
from persondet.temporary import temporary_folder


def test_the_folder_goes_with_the_block(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with temporary_folder("some-") as folder:
        assert folder.parent == tmp_path and folder.name.startswith("some-")
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match=r"TMPDIR names .*, which cannot be written; let the"):
        temporary_folder("some-").__enter__()


def test_no_place_at_all(monkeypatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", "/gone/away")
    message = r"cannot make a temporary folder: No such file or directory; let the variable TMPDIR"
    with pytest.raises(InputError, match=message):
        temporary_folder("some-").__enter__()


@pytest.mark.parametrize(("free", "said"), [(0, True), (2**30, False)])
def test_a_full_folder_is_told_from_another_full_disk(monkeypatch, free, said) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, free, free))
    kind, match = (InputError, "is full; make room there") if said else (OSError, "No space left")
    with pytest.raises(kind, match=match), temporary_folder("some-") as folder:
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not folder.exists()


@pytest.fixture
def no_tmpdir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "model.dlc"


MESSAGE = r"^TMPDIR names .*gone, which is no folder; let the variable TMPDIR name a folder"


def test_the_toolchain_embedded(tiny_onnx, no_tmpdir) -> None:
    with pytest.raises(InputError, match=MESSAGE):
        convert_embedded(tiny_onnx, no_tmpdir)
    assert not list(no_tmpdir.parent.iterdir())


def test_an_sdk(tiny_onnx, no_tmpdir, imitation_sdk) -> None:
    sdk = find_sdk({}, folder=imitation_sdk("2.5.0.4052"))
    assert sdk is not None
    toolchain = Toolchain(sdk, toolset_of(sdk.version))
    with pytest.raises(InputError, match=MESSAGE):
        convert(tiny_onnx, no_tmpdir, toolchain=toolchain, intent=ConvertIntent())
    assert not list(no_tmpdir.parent.iterdir())
