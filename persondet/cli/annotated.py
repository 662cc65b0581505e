"""Annotated images, and what models find on them: for `evaluate` and `quantize --data`."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.cli.device import DeviceChoice
from persondet.wording import counted

if TYPE_CHECKING:
    from benchmarks.devices.device_backend import DeviceBackend
    from benchmarks.evaluation.cost import ModelFound
    from benchmarks.evaluation.found import FoundPicture
    from benchmarks.evaluation.truth import Truth
    from persondet.data.sources import Source
    from runtime.backend import Backend


@dataclass(frozen=True, kw_only=True)
class AnnotatedImages:
    """A data set as the options name it, and how models are run on it.

    classes, limit: as `read_truth` takes them.
    workers: processes that detect.
    use_cache: take detections of earlier runs, and keep those of this one.
    spec_path: for a model file that came without its spec.
    device: where models run; None: here.
    """

    data: str
    images_root: Path | None
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    workers: int = 1
    use_cache: bool = True
    spec_path: Path | None = None
    device: DeviceChoice | None = None

    def sources(self) -> "list[Source]":
        from persondet.data.sources import parse_sources

        return parse_sources([self.data], self.images_root)

    def truth(self, class_names: Sequence[str]) -> "Truth":
        """Return the ground truth for a model of these classes. Raises as `read_truth` does."""
        from benchmarks.evaluation.truth import read_truth

        return read_truth(self.sources(), class_names, self.classes, self.limit)

    def truth_if_known(self, model: str) -> "Truth | None":
        """Return the ground truth, if the model's classes are known before it is loaded."""
        from persondet.cli.opening import spec_if_known

        known = spec_if_known(model, self.spec_path)
        return self.truth(known.class_names) if known else None

    def found_by(
        self,
        model: str,
        truth: "Truth | None",
        reference: "ModelFound | None" = None,
        stands_for: str | None = None,
    ) -> "tuple[ModelFound, Truth]":
        """Detect on every image, and return the ground truth for the model's classes along.

        truth: what is known of it. reference: a model whose classes this one must have.
        stands_for: the DLC in whose place this model runs.
        """
        from benchmarks.evaluation.cost import ModelFound, check_classes

        name = stands_for or model
        with contextlib.ExitStack() as stack:
            backend, there = self._opened(stack, model)
            if reference is not None:
                check_classes(reference.name, reference.spec, name, backend.spec)
            if truth is None or truth.class_names != backend.spec.class_names:
                truth = self.truth(backend.spec.class_names)
            if reference is None:
                for note in truth.notes:
                    click.echo(f"note: {note}", err=True)
            found = self._detected(model, backend, there, truth)
            instead = f"; {Path(model).name} in place of the DLC" if stands_for else ""
            device = f"{backend.device}{instead}"
            return ModelFound(name=name, device=device, spec=backend.spec, found=found), truth

    def _opened(
        self, stack: contextlib.ExitStack, model: str
    ) -> "tuple[Backend, DeviceBackend | None]":
        """Return the model, open until the stack closes; twice if it runs on a device."""
        from persondet.cli.opening import open_model

        if self.device is not None:
            (there,) = self.device.open(stack, [model], self.spec_path)
            return there, there
        opened = open_model(model, self.spec_path, self._threads(model))
        return stack.enter_context(contextlib.closing(opened)), None

    def _threads(self, model: str) -> int | None:
        from persondet.models import resolve_model
        from runtime.backend import model_kind

        return None if model_kind(resolve_model(model)) == "dlc" or self.device else 1

    def _detected(
        self, model: str, backend: "Backend", there: "DeviceBackend | None", truth: "Truth"
    ) -> "list[FoundPicture]":
        from benchmarks.evaluation.collecting import collect
        from benchmarks.evaluation.detections_cache import detections_cache, engine
        from benchmarks.evaluation.found import ModelToOpen
        from persondet.cli.progress import progress_bar
        from persondet.images import read_image_rgb
        from persondet.models import resolve_model
        from persondet.preprocess import preprocess
        from runtime.backend import model_kind

        path = resolve_model(model)
        to_open = ModelToOpen(path, backend.spec, self._threads(model))
        ran_by = engine(model_kind(path), backend, on_device=there is not None)
        cache = detections_cache(to_open, ran_by) if self.use_cache else None
        images = [picture.path for picture in truth.pictures]
        if there is not None:
            waiting = (image for image in images if cache is None or cache.get(image) is None)
            there.prefetch(preprocess(read_image_rgb(image), backend.spec) for image in waiting)
        with progress_bar("detecting", len(images)) as advance:
            found, cached = collect(to_open, backend, images, cache, self.workers, advance)
        if cached:
            of = counted(len(images), "picture")
            click.echo(f"note: detections of {cached} of {of} came from another run", err=True)
        return found
