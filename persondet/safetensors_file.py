"""Files in the safetensors format, by its description alone.

8 bytes, little-endian: N. N bytes of JSON: for each name "dtype", "shape" and "data_offsets",
[begin, end] in the data; and "__metadata__" with texts. Then the data, rows first, without gaps.
https://github.com/huggingface/safetensors#format
"""

import struct
from typing import Any

import torch

from persondet.files import parse_json
from persondet.stored_tensor import Storage, StoredTensor, stored_tensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LONGEST_HEADER = 4 * 2**20


def is_safetensors(head: bytes, size: int) -> bool:
    """True if a file of this size that begins with these 9 bytes or more can be one."""
    return len(head) >= 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8


def read_safetensors(data: bytes) -> dict[str, StoredTensor]:
    """The tensors by name. Raises ValueError, KeyError, TypeError or AttributeError for a damaged
    file, ExpandedError when its tensors claim more bytes than it has."""
    (length,) = struct.unpack_from("<Q", data)
    if length > _LONGEST_HEADER:
        raise ValueError("the header is too long")
    header = parse_json(data[8 : 8 + length].decode())
    header.pop("__metadata__", None)
    content = memoryview(data)[8 + length :]
    spans = [entry["data_offsets"] for entry in header.values()]
    if sum(end - first for first, end in spans) != len(content):
        raise ValueError("the tensors do not fill the file")
    return {name: _tensor(entry, content) for name, entry in header.items()}


def _tensor(entry: Any, content: memoryview) -> StoredTensor:
    first, end = entry["data_offsets"]
    if not 0 <= first <= end <= len(content):
        raise ValueError("a tensor lies outside of the file")
    storage = Storage(_DTYPES[entry["dtype"]], bytearray(content[first:end]))
    tensor = stored_tensor(storage, 0, tuple(entry["shape"]))
    if tensor.num_bytes != end - first:
        raise ValueError("a tensor's shape does not fit its bytes")
    return tensor
