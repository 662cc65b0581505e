"""Version 1.0.0 of AIMET's encodings as the older form, which everything here reads and writes.

The older form (up to 0.6.1, see quantize/encodings.py) maps a tensor's name to one encoding per
channel. In 1.0.0 both objects are lists with one entry per tensor, its scales and offsets in lists:
{"name", "dtype": "INT", "bw", "enc_type": "PER_TENSOR" or "PER_CHANNEL", "is_sym", "scale",
"offset"}. Source: what aimet-onnx 2.42 writes.
"""

from collections.abc import Callable
from typing import Any

_KINDS = ("PER_TENSOR", "PER_CHANNEL")


def older_form(entries: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Return one of the two lists of a 1.0.0 file as the object of the older form.

    Raises ValueError naming the tensor and the field.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise ValueError(f"an entry without a name: {str(entry)[:80]}")
        if name in found:
            raise ValueError(f"tensor {name} stands twice")
        found[name] = _older_encodings(entry, name)
    return found


def _older_encodings(entry: dict[str, Any], name: str) -> list[dict[str, Any]]:
    def field(key: str, is_right: Callable[[Any], bool], expected: str) -> Any:
        if not is_right(entry.get(key)):
            raise ValueError(f"tensor {name}: {key} {entry.get(key)!r}, expected {expected}")
        return entry[key]

    bits = field("bw", _is_bits, "a whole number from 1 to 32")
    if field("dtype", lambda value: value in ("INT", "FLOAT"), "INT or FLOAT") == "FLOAT":
        return [{"bitwidth": bits, "dtype": "float"}]
    if "zero_point_shift" in entry:
        raise ValueError(f"tensor {name}: zero_point_shift: 0 must be exact; export without it")
    kind = field("enc_type", lambda value: value in _KINDS, " or ".join(_KINDS))
    symmetric = field("is_sym", lambda value: isinstance(value, bool), "true or false")
    scales = field("scale", _are_numbers, "a list of numbers")
    offsets = field("offset", _are_numbers, "a list of numbers")
    if len(scales) != len(offsets) or (kind == "PER_TENSOR" and len(scales) != 1):
        raise ValueError(f"tensor {name}: {len(scales)} scales and {len(offsets)} offsets ({kind})")
    return [
        {
            "bitwidth": bits,
            "dtype": "int",
            "is_symmetric": str(symmetric),
            "min": scale * offset,
            "max": scale * (offset + 2**bits - 1),
            "scale": scale,
            "offset": int(offset) if float(offset).is_integer() else offset,
        }
        for scale, offset in zip(scales, offsets, strict=True)
    ]


def _is_bits(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 32


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) > 0
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    )
