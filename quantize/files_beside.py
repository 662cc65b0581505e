"""What `quantize` writes beside a DLC, and how the sidecar names it; without heavy imports."""

from dataclasses import dataclass
from pathlib import Path

QDQ_ENTRY = "qdq_onnx"  # in the details of a DLC's sidecar: name and sha256 of the same graph


@dataclass(frozen=True, kw_only=True)
class FilesBeside:
    """What is written beside model.dlc or model.quantized.dlc. The QDQ ONNX must not take the name
    of the float model.onnx."""

    qdq: Path
    encodings: Path
    equalized: Path

    @classmethod
    def of(cls, dlc: Path) -> "FilesBeside":
        stem = dlc.stem.removesuffix(".quantized")
        return cls(
            qdq=dlc.with_name(f"{stem}.quantized.onnx"),
            encodings=dlc.with_name(f"{stem}.quantized.encodings.json"),
            equalized=dlc.with_name(f"{stem}.equalized.onnx"),
        )
