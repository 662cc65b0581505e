"""persondet.temporary: temporary folders that cannot be made, through both toolchains."""

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from export.convert import convert as convert_embedded
from export.sdk.command_lines import toolset_of
from export.sdk.intent import ConvertIntent
from export.sdk.sdk import find_sdk
from export.sdk.toolchain import Toolchain, convert
from persondet import temporary
from persondet.errors import InputError
from persondet.sidecar import replacing
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


# A run that makes a temporary file and a folder, says so, and waits to be killed.
_RUN = """
import sys, time
from pathlib import Path
from persondet.sidecar import publishing
from persondet.temporary import temporary_folder
with publishing() as publication, temporary_folder("persondet-some-") as folder:
    publication.file(Path(sys.argv[1])).write_bytes(b"half")
    (folder / "file").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def _running(destination: Path, place: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    environment = {**os.environ, "TMPDIR": str(place)}
    argv = [sys.executable, "-c", _RUN, str(destination)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().decode().rstrip())
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    (tmp_path / "place").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "place"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(temporary, "_swept", set())
    return tmp_path / "place"


def test_what_a_killed_run_left_the_next_one_removes(tmp_path, place, monkeypatch) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with _running(results / "model.dlc", place) as (_, folder):
        (half,) = results.iterdir()
        assert half.read_bytes() == b"half" and half.suffix == ".dlc"
        with replacing(results / "model.onnx"), temporary_folder("persondet-other-"):
            assert half.exists() and folder.exists()  # theirs, as long as they live
    assert half.exists() and folder.exists()
    monkeypatch.setattr(temporary, "_swept", set())  # the next run is another process
    with replacing(results / "model.onnx"), temporary_folder("persondet-other-"):
        assert not half.exists() and not folder.exists()
    assert not list(place.iterdir()) and list(results.iterdir()) == [results / "model.onnx"]


def test_what_is_named_otherwise_is_not_swept(tmp_path, place) -> None:
    kept = [
        place / "persondet-results",
        place / "persondet-0123456789abcdef.txt",
        tmp_path / ".model-12.dlc",
        tmp_path / "model-0123456789abcdef.part.dlc",
    ]
    for path in kept:
        path.touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    link = place / "persondet-some-0123456789abcdef"
    link.symlink_to(elsewhere)
    with replacing(tmp_path / "model.dlc"), temporary_folder("persondet-some-"):
        pass
    assert all(path.exists() for path in kept)
    assert link.is_symlink() and (elsewhere / "file").exists()


def test_a_link_under_the_temporary_s_name_is_not_followed(tmp_path, monkeypatch) -> None:
    """Nobody can foresee the name; if it were foreseen nothing would be gained."""
    tokens = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr(temporary.secrets, "token_hex", lambda _: next(tokens))
    victim = tmp_path / "victim"
    victim.write_bytes(b"kept")
    (tmp_path / f".model-{'0' * 16}.part.dlc").symlink_to(victim)
    with (
        pytest.raises(InputError, match=r"cannot write .*File exists"),
        replacing(tmp_path / "model.dlc"),
    ):
        pytest.fail("the block must not run")
    assert victim.read_bytes() == b"kept"


def test_names_and_permissions(tmp_path, place) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a.dlc") as one, replacing(tmp_path / "a.dlc") as other:
            assert one != other and str(os.getpid()) not in one.name
        with temporary_folder("persondet-some-") as folder:
            assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)
    assert (tmp_path / "a.dlc").stat().st_mode & 0o777 == 0o640


def test_a_file_taken_for_a_dead_one_s_before_its_lock_is_made_again(tmp_path, monkeypatch) -> None:
    real, removed = fcntl.flock, []

    def after_a_sweeper(descriptor, operation):
        if not removed:
            removed.append(next(tmp_path.iterdir()))
            removed[0].unlink()
        real(descriptor, operation)

    monkeypatch.setattr(temporary.fcntl, "flock", after_a_sweeper)
    with replacing(tmp_path / "a.dlc") as path:
        assert path.exists() and path != removed[0]


def test_a_file_system_without_locks(tmp_path, place, monkeypatch) -> None:
    """Nothing is swept there, and everything else goes on."""
    left = tmp_path / f".model-{'0' * 16}.part.dlc"
    left.touch()

    def unknown(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(temporary.fcntl, "flock", unknown)
    with replacing(tmp_path / "a.dlc") as path, temporary_folder("persondet-some-"):
        path.write_bytes(b"abc")
    assert (tmp_path / "a.dlc").read_bytes() == b"abc" and left.exists()
