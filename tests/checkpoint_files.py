"""Files of tensors with given faults."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

MAGIC = 0x1950A86A20F9469CFC6C  # how files of torch before 1.6 begin


def saved(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def zip_with(
    data_pkl: bytes, storages: Mapping[str, bytes] = {}, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A checkpoint around a pickle made by hand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def legacy_with(content: bytes) -> bytes:
    """A file as torch wrote it before 1.6, around a pickle made by hand, without storages."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    begin = b"".join(pickle.dumps(each, protocol=2) for each in (MAGIC, 1001, system))
    return begin + content + pickle.dumps([], protocol=2)


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def tensor(key: str, claimed: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """The operations that push a float32 tensor. claimed: elements of the storage."""
    reference = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu")
    reference += integer(claimed) + b"tQ"
    sizes = b"(" + b"".join(map(integer, shape)) + b"t"
    steps = b"(" + b"".join(map(integer, strides)) + b"t"
    hooks = b"ccollections\nOrderedDict\n)R"
    head = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return head + reference + b"K\x00" + sizes + steps + b"\x89" + hooks + b"tR"


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a dict of tensors."""
    items = b"".join(text(key) + operations + b"s" for key, operations in tensors.items())
    return b"\x80\x02}" + items + b"."


def hostile_files() -> dict[str, bytes]:
    """Small files that make an ordinary reader take gigabytes, crash, or read foreign memory."""
    stem, one = "base_net.0.0.weight", b"\0\0\x80?"
    megabyte = bytes(2**20)
    tied = {f"base_net.{i}": tensor("0", 2**18, (2**18,), (1,)) for i in range(1000)}
    slid = {f"base_net.{i}": tensor("0", 2**18, (2**17,), (2,)) for i in range(1000)}
    again = b"\x80\x02}" + text("base_net.a") + tensor("0", 2**18, (2**18,), (1,)) + b"q\x01s"
    again += b"".join(text(f"base_net.{i}") + b"h\x01s" for i in range(10_000)) + b"."
    deep = b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s."
    return {
        "8 GB of one number": zip_with(
            state_dict({stem: tensor("0", 1, (2**31, 1), (0, 1))}), {"0": one}
        ),
        "4 TB of one number": zip_with(
            state_dict({stem: tensor("0", 1, (2**10, 2**30), (0, 0))}), {"0": one}
        ),
        "a storage longer than its entry": zip_with(
            state_dict({stem: tensor("0", 2**33, (2**33,), (1,))}), {"0": one}
        ),
        "a view beyond its storage": zip_with(
            state_dict({stem: tensor("0", 4, (2,), (2**40,))}), {"0": one * 4}
        ),
        "a megabyte shown a thousand times": zip_with(state_dict(tied), {"0": megabyte}),
        "a megabyte shown in a thousand ways": zip_with(state_dict(slid), {"0": megabyte}),
        "one tensor under ten thousand names": zip_with(again, {"0": megabyte}),
        "zeros, compressed a thousandfold": zip_with(
            state_dict({stem: tensor("0", 2**26, (2**26,), (1,))}),
            {"0": bytes(2**28)},
            zipfile.ZIP_DEFLATED,
        ),
        "an index into the memo": zip_with(b"\x80\x02}r\xff\xff\xff\x7f."),
        "a bytearray": zip_with(b"\x80\x02cbuiltins\nbytearray\n" + integer(2**40) + b"\x85R."),
        "a tensor of a size": zip_with(b"\x80\x02ctorch\nTensor\n" + integer(2**40) + b"\x85R."),
        "a storage of a size": zip_with(
            b"\x80\x02ctorch.storage\nUntypedStorage\n" + integer(2**40) + b"\x85R."
        ),
        "text doubled": zip_with(
            b"\x80\x02"
            + b"c_codecs\nencode\n" * 40
            + text("ab")
            + (text("hex") + b"\x86R") * 40
            + b"."
        ),
        "a key nested deeply": zip_with(deep),
        "lists nested deeply": zip_with(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        "a dict in itself": zip_with(b"\x80\x02}q\x01" + text("state_dict") + b"h\x01s."),
        "a shape of many digits": zip_with(
            state_dict({stem: tensor("0", 1, (2**1900,) * 5000, (0,) * 5000)}), {"0": one}
        ),
        "old: a storage longer than the file": legacy_with(
            state_dict({stem: tensor("0", 2**40, (2**40,), (1,))})
        ),
        "old: lists nested deeply": legacy_with(b"\x80\x02" + b"]" * 9000 + b"a" * 8999 + b"."),
        "safetensors: one span many times": safetensors_of(
            {
                f"{i}": {"dtype": "U8", "shape": [2**20], "data_offsets": [0, 2**20]}
                for i in range(5000)
            },
            megabyte,
        ),
        "safetensors: a long header": struct.pack("<Q", 2**40) + b'{"a":1}',
        "safetensors: nested deeply": struct.pack("<Q", 200_005) + b'{"a":' + b"[" * 200_000,
    }


def safetensors_of(header: object, data: bytes) -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = []
    for index, data in enumerate(files.values()):
        paths.append(folder / f"{index}.pth")
        paths[-1].write_bytes(data)
    return paths
