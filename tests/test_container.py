"""runtime.qairt.container: what is a whole DLC, and every way of not being one."""

import os
import zipfile

import pytest
from dlc_files import ENTRIES, entries_of, flip_byte, write_entries, zero_crcs

from persondet.errors import InputError
from runtime.qairt.container import check_container, repack

SNPE1_VERSIONS = {
    "test_abs.dlc": "1.51.0.2663",
    "test_abs_q.dlc": "1.56.2.3050",
    "test_concat_2d_axis_0.dlc": "1.51.0.2663",
    "test_split_equal_parts_2d.dlc": "1.51.0.2663",
}


def test_a_whole_file(tiny_dlc) -> None:
    container = check_container(tiny_dlc)
    assert container.path == tiny_dlc
    assert container.generation == "QAIRT"
    assert container.model_version == (4, 1)
    assert tuple(container.entries) == ENTRIES
    assert container.entries == {name: len(data) for name, data in entries_of(tiny_dlc).items()}
    assert set(container.metadata) == set(ENTRIES[:2])


def test_python_reads_what_we_write(tiny_dlc) -> None:
    with zipfile.ZipFile(tiny_dlc) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_zero_crcs_are_accepted_and_repaired(tiny_dlc, tmp_path) -> None:
    zeroed = zero_crcs(tiny_dlc, tmp_path / "zeroed.dlc")
    with zipfile.ZipFile(zeroed) as archive, pytest.raises(zipfile.BadZipFile):
        archive.read("model")
    assert check_container(zeroed).entries == check_container(tiny_dlc).entries
    repack(zeroed, tmp_path / "repaired.dlc")
    assert (tmp_path / "repaired.dlc").read_bytes() == tiny_dlc.read_bytes()


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_flipped_byte_is_named_by_its_entry(tiny_dlc, tmp_path, entry, where) -> None:
    damaged = flip_byte(tiny_dlc, tmp_path / "x.dlc", entry, where=where)
    with pytest.raises(InputError, match=f"damaged: the CRC of its entry `{entry}` does not fit"):
        check_container(damaged)


def test_a_truncated_file_is_refused_wherever_it_ends(tiny_dlc, tmp_path) -> None:
    data, path = tiny_dlc.read_bytes(), tmp_path / "x.dlc"
    for length in [*range(4, len(data), 501), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated"):
            check_container(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"some notes\n", "a file that starts with 73 6f 6d 65"),
        (b"\x08\x09\x12\x07persondet", "a file that starts with 08 09 12 07"),
        (b"PK\x03\x04 and no more", "truncated"),
    ],
)
def test_other_files(tmp_path, content, found) -> None:
    path = tmp_path / "renamed.dlc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=found):
        check_container(path)


def test_a_renamed_zip_and_checkpoint(tmp_path, tiny_checkpoint) -> None:
    other = write_entries(tmp_path / "other.dlc", {"a.txt": b"a", "b.txt": b"b"})
    with pytest.raises(InputError, match=r"a zip but not a DLC: .*found a\.txt, b\.txt"):
        check_container(other)
    empty = write_entries(tmp_path / "empty.dlc", {})
    with pytest.raises(InputError, match=r"not a DLC: .*; check the name, or convert the ONNX"):
        check_container(empty)
    with pytest.raises(InputError, match=r"a zip but not a DLC: .*data\.pkl"):
        check_container(tiny_checkpoint.path)


def test_a_compressed_zip_of_the_entries(tiny_dlc, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "x.dlc", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries_of(tiny_dlc).items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="not a stored zip entry"):
        check_container(tmp_path / "x.dlc")


def test_missing_entries_and_unknown_generations(tiny_dlc, tmp_path) -> None:
    entries = entries_of(tiny_dlc)
    path = write_entries(tmp_path / "x.dlc", {"model": entries["model"]})
    with pytest.raises(InputError, match="not a DLC: expected the entries"):
        check_container(path)
    write_entries(path, {"model": b"\xd5\x0a\x09\x00\x00\x00", "dlc.metadata": b"a=b"})
    with pytest.raises(InputError, match=r"unknown generation: .*d5 0a 09 00"):
        check_container(path)
    write_entries(path, {"model": b"?", "dlc.metadata": b"a=b"})
    with pytest.raises(InputError, match="unknown generation"):
        check_container(path)


def test_snpe_2_is_a_generation_of_its_own(tmp_path) -> None:
    """Text metadata as in 1.x, header major 4."""
    entries = {"model": b"\xd5\x0a\x04\x00\x00\x00\x00\x00", "dlc.metadata": b"model-version=7\nx"}
    container = check_container(write_entries(tmp_path / "x.dlc", entries))
    assert (container.generation, container.model_version) == ("SNPE 2.x", (4, 0))
    assert container.metadata == {"model-version": "7"}


def test_metadata_that_is_no_json(tiny_dlc, tmp_path) -> None:
    entries = {**entries_of(tiny_dlc), "dlc.metadata2.3.0": b"{"}
    path = write_entries(tmp_path / "x.dlc", entries)
    with pytest.raises(InputError, match=r"entry `dlc\.metadata2\.3\.0` is not JSON"):
        check_container(path)


@pytest.mark.parametrize("name", SNPE1_VERSIONS)
def test_snpe_1_files(shared_dlc, name) -> None:
    container = check_container(shared_dlc / name)
    assert (container.generation, container.model_version) == ("SNPE 1.x", (3, 0))
    assert container.metadata["converter-version"] == SNPE1_VERSIONS[name]


def test_no_file(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*gone\.dlc"):
        check_container(tmp_path / "gone.dlc")
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        check_container(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tiny_dlc, tmp_path) -> None:
    path = tmp_path / "x.dlc"
    path.write_bytes(tiny_dlc.read_bytes())
    path.chmod(0)
    with pytest.raises(InputError, match=r"cannot read .*: Permission denied"):
        check_container(path)
