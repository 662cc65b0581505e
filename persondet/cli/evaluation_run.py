"""The models of `persondet evaluate`, run: each itself, or the ONNX that stands for it."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from persondet.cli.annotated import AnnotatedImages
from persondet.wording import counted

if TYPE_CHECKING:
    from benchmarks.evaluation.confirmation import Confirmation
    from benchmarks.evaluation.cost import ModelFound
    from benchmarks.evaluation.proxy import Proxy
    from benchmarks.evaluation.truth import Truth
    from persondet.spec import DetectorSpec
    from runtime.backend import Backend


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationRun:
    """models: in the order given. confirmations: by the name of a DLC that another stood for."""

    truth: "Truth"
    models: "tuple[ModelFound, ...]"
    confirmations: "dict[str, Confirmation]"


def run_models(
    images: AnnotatedImages, models: Sequence[str], *, proxy: bool, sample: int | None
) -> EvaluationRun:
    """Detect with every model on every image.

    proxy: run the QDQ ONNX of each DLC in its place, and check on `sample` images (None: 20) that
    the HTP agrees.
    """
    proxies = _proxies(models) if proxy else {}
    truth = images.truth_if_known(models[0])
    _check_known_classes(images, models)
    found: list[ModelFound] = []
    for model in models:
        instead = proxies.get(model)
        if instead is not None:
            click.echo(f"note: {instead.qdq.name} is evaluated in place of {model}", err=True)
        result, truth = images.found_by(
            model if instead is None else str(instead.qdq),
            truth,
            reference=found[0] if found else None,
            stands_for=None if instead is None else model,
        )
        found.append(result)
    assert truth is not None
    confirmations = {
        model: confirmed(truth, one.qdq, one.dlc, one.reference, sample)
        for model, one in proxies.items()
    }
    return EvaluationRun(truth=truth, models=tuple(found), confirmations=confirmations)


def confirmed(
    truth: "Truth",
    qdq: Path,
    dlc: Path,
    reference: Path | None,
    sample: int | None = None,
    reference_spec: "DetectorSpec | None" = None,
) -> "Confirmation":
    """Run a DLC, its QDQ ONNX and the float model on a sample, with a progress bar.

    sample: images; None: the default. reference_spec: for a float model without its own.
    """
    from benchmarks.evaluation.confirmation import DEFAULT_SAMPLE, confirm
    from persondet.cli.progress import progress_bar
    from runtime.backend import open_backend

    count = min(sample or DEFAULT_SAMPLE, len(truth.pictures))
    with contextlib.ExitStack() as stack:

        def opened(path: Path, spec: "DetectorSpec | None" = None) -> "Backend":
            return stack.enter_context(contextlib.closing(open_backend(path, spec)))

        advance = stack.enter_context(progress_bar("confirming on the HTP", count))
        return confirm(
            truth,
            qdq=opened(qdq),
            dlc=opened(dlc),
            reference=None if reference is None else opened(reference, reference_spec),
            count=count,
            advance=advance,
        )


def _proxies(models: Sequence[str]) -> "dict[str, Proxy]":
    """Return what stands for each DLC. Raises click.UsageError if none of the models is one."""
    from benchmarks.evaluation.proxy import proxy_of
    from persondet.models import resolve_model
    from runtime.backend import model_kind

    paths = {model: resolve_model(model) for model in models}
    dlcs = {model: path for model, path in paths.items() if model_kind(path) == "dlc"}
    if not dlcs:
        raise click.UsageError(
            f"--proxy is for quantized DLC files; {counted(len(paths), 'model')} given, none is one"
        )
    return {model: proxy_of(path) for model, path in dlcs.items()}


def _check_known_classes(images: AnnotatedImages, models: Sequence[str]) -> None:
    """Raise InputError for other classes than the first model's, as far as sidecars say them."""
    from benchmarks.evaluation.cost import check_classes
    from persondet.cli.opening import spec_if_known

    specs = {model: spec_if_known(model, images.spec_path) for model in models}
    first = specs[models[0]]
    for model, spec in specs.items():
        if first is not None and spec is not None:
            check_classes(models[0], first, model, spec)
