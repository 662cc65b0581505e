"""What is read of files of tensors, and what is noticed of damage."""

import io
import random
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import safetensors_of, saved, state_dict, tensor, zip_with
from torch import nn

from persondet.checkpoint import load_checkpoint, save_checkpoint
from persondet.checkpoint_file import read_checkpoint_file, with_tensors
from persondet.errors import InputError
from persondet.networks import build_network, initialise
from persondet.stored_tensor import MOST_SHARING
from persondet.zoo import F38, detector_spec
from runtime.backend import model_kind, without_suffix

# Written by the package safetensors 0.8.0's `numpy.save`, with metadata {"format": "pt"}.
SAFETENSORS = (
    b"\x90\x00\x00\x00\x00\x00\x00\x00"
    b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
    b'"b":{"dtype":"F16","shape":[2],"data_offsets":[24,28]}} '
    b"\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x80@\x00\x00\xa0@\x00>\x00\xc0"
)

DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.bool),
    *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


@pytest.fixture(scope="module")
def network():
    network = build_network(detector_spec(F38, width_mult=0.1))
    initialise(network, 3)
    return network.eval()


def read(path: Path, data: bytes):
    path.write_bytes(data)
    return with_tensors(read_checkpoint_file(path))


def message(path: Path, data: bytes, reader=read_checkpoint_file) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        reader(path)
    return str(caught.value)


def same(found, expected) -> bool:
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    return found == expected


@pytest.mark.parametrize("zipped", [True, False])
def test_everything_comes_back_as_torch_reads_it(path: Path, zipped: bool) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    content = {
        "rows": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[1, :, 1::2],
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.randn(3)),
        "numbers": {1: 2, "pi": 3.25, "none": None, "yes": True, "big": 2**70, "text": "größe"},
        "lists": [1, [2, (3, 4)], ()],
        "ordered": OrderedDict(a=1),
        "counter": Counter("aab"),
        "bytes": b"\x00\xff",
        "size": torch.Size([1, 2]),
        **{str(dtype): torch.tensor([0, 1, 100]).to(dtype) for dtype in DTYPES},
    }
    if zipped:  # torch does not read this in its old format
        content["uint16"] = torch.tensor([0, 1, 65535], dtype=torch.uint16)
    data = saved(content, zipped=zipped)
    assert same(read(path, data), torch.load(io.BytesIO(data), weights_only=True))


def test_a_state_dict_with_its_metadata_and_an_optimizer(path: Path, network) -> None:
    optimizer = torch.optim.Adam(network.parameters())
    content = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}
    assert same(read(path, saved(content)), content)


def test_tensors_are_as_writable_as_torchs(path: Path) -> None:
    found = read(path, saved({"a": torch.zeros(3)}))["a"]
    found += 1
    assert found.tolist() == [1, 1, 1]


def test_safetensors(path: Path) -> None:
    found = read(path, SAFETENSORS)
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["a"].dtype == torch.float32
    assert found["b"].tolist() == [1.5, -2] and found["b"].dtype == torch.float16


def test_a_network_in_safetensors(tmp_path: Path, network) -> None:
    entries, data = {}, b""
    for name, value in network.state_dict().items():
        raw = value.numpy().tobytes()
        kind = "F32" if value.is_floating_point() else "I64"
        offsets = [len(data), len(data) + len(raw)]
        entries[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": offsets}
        data += raw
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_of(entries, data))
    assert model_kind(path) == "pth"
    found = load_checkpoint(path).network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, bytes(4)),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}, bytes(8)),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, bytes(3)),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, bytes(4)),
        ({"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}, bytes(4)),
        ({"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}, bytes(4)),
        ({"dtype": "F32", "shape": [1]}, bytes(4)),
        ([], b""),
    ],
)
def test_damaged_safetensors(path: Path, entry: object, data: bytes) -> None:
    text = message(path, safetensors_of({"a": entry}, data))
    assert "cannot be read as a checkpoint" in text or "claims" in text


def entries_of(data: bytes) -> list[tuple[int, int]]:
    """Where each entry's content lies in the file."""
    spans = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            lengths = struct.unpack_from("<HH", data, info.header_offset + 26)
            begin = info.header_offset + 30 + sum(lengths)
            spans.append((begin, begin + info.file_size))
    return spans


def test_every_flipped_byte_of_the_content_is_noticed(path: Path, network) -> None:
    save_checkpoint(path, network, detector_spec(F38, width_mult=0.1))
    data, rng = path.read_bytes(), random.Random(0)
    spans = entries_of(data)
    for begin, end in rng.sample([span for span in spans if span[0] < span[1]], 40):
        damaged = bytearray(data)
        damaged[rng.randrange(begin, end)] ^= 1 << rng.randrange(8)
        text = message(path, bytes(damaged))
        assert "the checksum of its entry" in text or "another kind of file" in text


def test_files_written_without_checksums_load(path: Path, network) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(network.state_dict())
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read(path, data), dict(network.state_dict()))


def test_tied_weights_load_and_more_sharing_is_refused(path: Path, network) -> None:
    """Two state_dicts of one network share all of their storages, and so do heads that are one."""
    once = network.state_dict()
    path.write_bytes(saved({"model": once, "ema": network.state_dict(), "epoch": 1}))
    assert load_checkpoint(path).spec.width_mult == 0.1
    shown = {f"base_net.{i}": tensor("0", 4, (4,), (1,)) for i in range(MOST_SHARING)}
    assert "none of the known networks" in message(
        path, zip_with(state_dict(shown), {"0": bytes(16)}), load_checkpoint
    )
    shown["base_net.more"] = tensor("0", 4, (4,), (1,))
    text = message(path, zip_with(state_dict(shown), {"0": bytes(16)}), load_checkpoint)
    assert "the tensors claim 144 bytes, their storages have 16" in text


def test_expanded_tensors_are_refused_at_any_size(path: Path) -> None:
    text = message(path, saved({"a": torch.ones(1).expand(2, 3)}))
    assert "a tensor of shape 2 x 3 claims 24 bytes, its storage has 4" in text
    assert "tensor.clone()" in text


def test_tensors_of_other_kinds_are_named(path: Path) -> None:
    text = message(path, saved({"a": torch.eye(3).to_sparse()}))
    assert "tensors of a kind that is not read (torch._utils._rebuild_sparse_tensor)" in text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.pth.tar", "pth"), ("a.ckpt", "pth"), ("pytorch_model.bin", "pth"), ("A.PT", "pth")),
        ("a.safetensors", "pth"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_are_known_by_their_content(
    tmp_path: Path, name: str, kind: str, zipped: bool
) -> None:
    (tmp_path / name).write_bytes(saved({"a": torch.ones(1)}, zipped=zipped))
    assert model_kind(tmp_path / name) == kind


@pytest.mark.parametrize("name", ["a.bin", "a.ckpt", "a.pth.tar"])
@pytest.mark.parametrize(
    "content", [b"\x02\x00\x00\x00context", b"PK\x03\x04 and no more", b"text"]
)
def test_other_files_of_these_suffixes_are_no_models(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is no model: expected a PyTorch checkpoint, found ano"):
        model_kind(tmp_path / name)


def test_results_are_named_without_any_of_the_suffixes() -> None:
    names = ("head.pth.tar", "head.ckpt", "v1.2.pth", "head", "head.quantized.onnx")
    expected = ["head", "head", "v1.2", "head", "head.quantized"]
    assert [without_suffix(name) for name in names] == expected


def test_a_damaged_directory_of_a_zip_has_no_traceback(tmp_path: Path) -> None:
    """zipfile raises half a dozen classes of exception; each byte of the directory is tried."""
    data = saved({"base_net.0": torch.ones(2)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        begin = archive.start_dir
    path = tmp_path / "model.pth"
    for index in range(begin, len(data)):
        for value in (0x00, 0x7F, 0xFF):
            path.write_bytes(data[:index] + bytes([value]) + data[index + 1 :])
            assert model_kind(path) == "pth"
            try:
                read_checkpoint_file(path)
            except InputError as error:
                assert str(path) in str(error)


def test_numbers_are_those_that_numpy_reads(path: Path) -> None:
    """The entry of a storage is its numbers as they are in memory."""
    value = torch.randn(5)
    data = saved({"a": value})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        raw = archive.read("archive/data/0")
    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), read(path, data)["a"].numpy())
