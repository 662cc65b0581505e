"""ONNX and calibration pictures, or encodings, to a quantized DLC."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.convert import ConvertResult, add_dlc
from export.onnx_model import is_quantized, load_detector_onnx
from export.socs import Soc
from persondet.errors import InputError
from persondet.sidecar import Publication, check_destination, publishing, sha256_of
from persondet.spec import DetectorSpec
from quantize.calibration_set import CalibrationSet
from quantize.encodings import encodings_to_json, read_encodings
from quantize.encodings_fit import check_belongs, refuse_corrected
from quantize.equalization import Equalized
from quantize.files_beside import QDQ_ENTRY, FilesBeside
from quantize.mixed_precision import FoundMix, MixSearch
from quantize.presets import DEFAULT_RECIPE, Recipe
from quantize.progress import Progress, no_progress
from quantize.qdq import Scheme
from quantize.quantized_graph import QuantizedGraph, graph_from_encodings, graph_from_images
from runtime.onnx_session import EXACT_SUMS_ENTRY


@dataclass(frozen=True)
class QuantizeResult:
    """dlc: the quantized DLC; qdq: its ONNX, for onnxruntime; widened: weights whose scale was
    widened so that their bias fits int32; notes: what its user should know; equalized: the float
    ONNX that the encodings belong to, None if it is the given one; mix: what a search found."""

    dlc: ConvertResult
    qdq: Path
    encodings: Path
    widened: tuple[str, ...]
    notes: tuple[str, ...] = ()
    equalized: Path | None = None
    equalization: Equalized | None = None
    mix: FoundMix | None = None


def quantize(
    onnx_path: Path,
    destination: Path | None = None,
    *,
    calibration: CalibrationSet | None = None,
    encodings: Path | None = None,
    scheme: Scheme | None = None,
    recipe: Recipe = DEFAULT_RECIPE,
    soc: Soc | None = None,
    spec: DetectorSpec | None = None,
    search: MixSearch | None = None,
    progress: Progress = no_progress,
) -> QuantizeResult:
    """Write the quantized DLC, the QDQ ONNX and the encodings, each with its sidecar; and the
    float ONNX that they belong to, if the recipe equalises or corrects.

    Exactly one of calibration (images) and encodings (a file of an earlier run, which says scheme
    and ranges, and belongs to the ONNX that it was written for) is needed. destination: None for
    model.onnx to model.quantized.dlc; the other files lie beside it. spec: instead of the ONNX
    file's own. search: with images and a scheme of 8 bits, mixed precision that loses no more than
    it says. progress: shows each phase.
    Raises InputError for a model or a set that cannot be used, PersondetError where quantizing or
    writing fails; then nothing is written.
    """
    if (calibration is None) == (encodings is None):
        raise InputError("give either calibration pictures or an encodings file")
    if encodings is not None and scheme is not None:
        raise InputError("give either a scheme or an encodings file, which has its own")
    destination = Path(destination or onnx_path.with_suffix(".quantized.dlc"))
    beside = FilesBeside.of(destination)
    inputs = [onnx_path, *([encodings] if encodings else [])]
    for path in (destination, beside.qdq, beside.encodings, beside.equalized):
        check_destination(path, path.suffix if path != destination else ".dlc", inputs=inputs)
    model, spec = load_detector_onnx(onnx_path, spec)
    if is_quantized(model):
        raise InputError(f"{onnx_path} is quantized already; give the float ONNX")
    notes: tuple[str, ...] = ()
    if encodings is not None:
        notes = check_belongs(encodings, onnx_path)
        graph = graph_from_encodings(model, spec, read_encodings(encodings))
    else:
        assert calibration is not None
        refuse_corrected(model, onnx_path)
        graph = graph_from_images(
            model, spec, calibration, scheme or Scheme(), recipe, progress, search
        )
    details = {
        "scheme": dataclasses.asdict(graph.scheme),
        "widened_weight_scales": list(graph.widened),
        **(_recipe_record(recipe) | calibration.record() if calibration else {}),
        **({"mixed_precision": graph.mix.record()} if graph.mix else {}),
    }
    written = _Written(onnx_path=onnx_path, destination=destination, inputs=inputs, spec=spec)
    with publishing() as publication:  # all of them and their sidecars appear, or none
        dlc = written.publish(publication, graph, details, soc)
    return QuantizeResult(
        dlc=dlc,
        qdq=beside.qdq,
        encodings=beside.encodings,
        widened=graph.widened,
        notes=(*notes, *graph.notes),
        equalized=beside.equalized if graph.float_model else None,
        equalization=graph.equalization,
        mix=graph.mix,
    )


def _recipe_record(recipe: Recipe) -> dict[str, Any]:
    return {
        "calibration": recipe.calibration,
        "equalization_method": recipe.equalization.value,
        "corrects_biases": recipe.corrects_biases,
        "rounding": recipe.rounding.value,
    }


@dataclass(frozen=True, kw_only=True)
class _Written:
    """Where a quantized graph goes. inputs: what it was made from."""

    onnx_path: Path
    destination: Path
    inputs: list[Path]
    spec: DetectorSpec

    def publish(
        self,
        publication: Publication,
        graph: QuantizedGraph,
        details: dict[str, Any],
        soc: Soc | None,
    ) -> ConvertResult:
        """Write and describe the DLC and the files beside it."""
        beside = FilesBeside.of(self.destination)
        details = details | self._float_record(publication, graph)
        described: dict[str, Any] = {"step": "quantize", "inputs": self.inputs}
        qdq_file = publication.file(beside.qdq)
        qdq_file.write_bytes(graph.model.SerializeToString())
        encodings_file = publication.file(beside.encodings)
        encodings_file.write_text(encodings_to_json(graph.encodings), encoding="utf-8")
        qdq_record = {"name": beside.qdq.name, "sha256": sha256_of(qdq_file)}
        dlc = add_dlc(
            *(publication, qdq_file, self.destination, self.spec),
            soc=soc,
            details={**details, QDQ_ENTRY: qdq_record},
            **described,
        )
        described |= {"spec": self.spec, "packages": ("onnxruntime", "onnx")}
        publication.describe(beside.encodings, details=details, **described)
        of_qdq = {**details, "onnxruntime_session_entries": dict([EXACT_SUMS_ENTRY])}
        publication.describe(beside.qdq, details=of_qdq, **described)
        if graph.float_model is not None:
            publication.describe(
                beside.equalized, details=details, **{**described, "step": "equalize"}
            )
        return dlc

    def _float_record(self, publication: Publication, graph: QuantizedGraph) -> dict[str, Any]:
        """The float graph that the encodings belong to: the given one, or another, which is
        written."""
        if graph.float_model is None:
            found = {"name": self.onnx_path.name, "sha256": sha256_of(self.onnx_path)}
            return {"float_onnx": found}
        path = FilesBeside.of(self.destination).equalized
        file = publication.file(path)
        file.write_bytes(graph.float_model.SerializeToString())
        return {
            "float_onnx": {"name": path.name, "sha256": sha256_of(file)},
            "equalization": graph.equalization.record() if graph.equalization else None,
        }
