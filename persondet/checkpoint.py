"""Checkpoints: files of tensors to a network with its spec, and back.

A published checkpoint is a bare state_dict and does not say what it is: the network, its width and
its classes are read from the keys and shapes. Our own files carry their spec.
"""

import contextlib
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from persondet import zoo
from persondet.anchors import anchors_cxcywh_norm
from persondet.assumptions import assumption_note
from persondet.checkpoint_file import EXPECTED, expanded, read_checkpoint_file, shown_entries
from persondet.errors import InputError
from persondet.files import parse_json
from persondet.networks import build_network
from persondet.networks.rfb import BASE_WIDTHS
from persondet.networks.ssd import SSD
from persondet.recognition import network_of, num_classes_of, width_mult_of
from persondet.sidecar import read_sidecar, replacing
from persondet.spec import DetectorSpec, spec_from_json, spec_to_json
from persondet.state_dict import kind_of, network_state
from persondet.stored_tensor import ExpandedError, StoredTensor, check_sharing

_LANDMARKS = "landmark_headers."
_LONGEST_KEY = 80  # of the keys shown
_SAME_ANCHOR = 1e-3  # of the input's size: a third of a pixel


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint: the network in eval mode, and what was noticed while loading.

    training: how it was trained, as `persondet train` says it; empty where the file does not.
    """

    spec: DetectorSpec
    network: SSD
    notes: tuple[str, ...]
    path: Path
    training: Mapping[str, Any] = field(default_factory=dict)


def load_checkpoint(
    path: Path | str,
    *,
    model: str | None = None,
    class_names: Sequence[str] | None = None,
    anchor_ratios: Sequence[float] | None = None,
    backbone_activation: str | None = None,
    spec: DetectorSpec | None = None,
) -> Checkpoint:
    """Read a file of PyTorch's or a safetensors file. Nothing in it is executed.

    model: the zoo's name of the network; None: recognised from the keys and shapes.
    class_names: without the background. anchor_ratios, backbone_activation: see
    `zoo.detector_spec`. spec: instead of all these, and of the file's own; the network is built
    from it.
    Raises InputError for a file that is not a state_dict of one of our networks: with every
    missing, unexpected or wrongly shaped key in one message, or, when over half of the keys differ
    from the network that was recognised, saying that it is none of them.
    """
    if spec is not None and (model or class_names or anchor_ratios or backbone_activation):
        raise InputError(
            "a spec says the network, its classes, anchors and activation: give either a spec or "
            "those"
        )
    path = Path(path)
    content = read_checkpoint_file(path)
    read_sidecar(path)
    if model is not None:
        model = zoo.known_network(model)
    state = network_state(path, content)
    weights, stored_spec = float_tensors(path, state.weights), _stored_spec(path, content)
    notes = list(state.notes)
    if dropped := [key for key in weights if key.startswith(_LANDMARKS)]:
        weights = {key: value for key, value in weights.items() if key not in dropped}
        notes.append(f"{path}: the landmark heads ({len(dropped)} tensors) are ignored")
    guessed = stored_spec is None and model is None and spec is None
    if spec is not None:
        spec = zoo.with_backbone_activation(spec, spec.backbone_activation)
        if stored_spec is not None:
            _check_same_network(path, spec, stored_spec)
    elif stored_spec is not None:
        spec = _overridden(path, stored_spec, model, class_names, anchor_ratios)
        if backbone_activation:
            spec = zoo.with_backbone_activation(spec, backbone_activation)
    else:
        spec = _recognised_spec(path, weights, model, class_names, anchor_ratios)
        spec = zoo.with_backbone_activation(spec, backbone_activation)
        note = assumption_note(
            spec,
            anchor_ratios_given=bool(anchor_ratios),
            class_names_given=bool(class_names),
            activation_given=bool(backbone_activation),
        )
        notes.append(f"{path}: {note}")
        if state.priors is not None and (note_of := _priors_note(path, state.priors, spec)):
            notes.append(note_of)
    network = _filled_network(path, spec, weights, guessed=guessed)
    return Checkpoint(spec, network, tuple(notes), path, _training_record(content))


def save_checkpoint(
    path: Path,
    network: torch.nn.Module,
    spec: DetectorSpec,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write the network's state_dict together with its spec. Equal weights give equal bytes."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(checkpoint_bytes(network, spec, training))


def checkpoint_bytes(
    network: torch.nn.Module,
    spec: DetectorSpec,
    training: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> bytes:
    """The content of a checkpoint file; equal weights give equal bytes.

    training: how it was trained, JSON-ready. dtype: of the tensors; they load as float32.
    """
    weights = {
        key: _plain(value, dtype).cpu() if value.is_floating_point() else value.cpu()
        for key, value in network.state_dict().items()
    }
    content = {"state_dict": weights, "spec": spec_to_json(spec)}
    if training:
        content["training"] = json.dumps(training)
    buffer = io.BytesIO()  # torch writes a file's own name into the file, but not a buffer's
    torch.save(content, buffer)
    return buffer.getvalue()


def _training_record(content: Any) -> Mapping[str, Any]:
    text = content.get("training") if isinstance(content, Mapping) else None
    try:
        record = parse_json(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _stored_spec(path: Path, content: Mapping[Any, Any]) -> DetectorSpec | None:
    """The spec in a file of ours, the state of a training run included."""
    text = content.get("spec")
    if not isinstance(text, str) or not ("state_dict" in content or "learnt_from" in content):
        return None
    try:
        return spec_from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def float_tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The entries of a file as float32 tensors; what they claim is checked before any is made.

    Raises InputError for entries that are not float tensors, claim more than the file has, or hold
    numbers that are not finite.
    """
    problems = [
        f"{key}: {kind_of(value)}"
        for key, value in state.items()
        if not (isinstance(key, str) and _is_float(value))
    ]
    if problems:
        header = f"{path} holds {len(problems)} entries that are not float tensors; {EXPECTED}"
        raise InputError("\n  ".join([header, *shown_entries(problems)]))
    try:
        check_sharing(state.values())
    except ExpandedError as error:
        raise expanded(path, error) from None
    weights = {key: _plain(value.tensor()) for key, value in state.items()}
    bad = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        header = f"{path} holds numbers that are not finite (NaN or infinity) in:"
        raise InputError("\n  ".join([header, *shown_entries(bad)]))
    return weights


def _plain(value: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """In rows, a copy: a channels-last 1x1 weight would still steer torch's kernels."""
    return value.detach().to(dtype).clone(memory_format=torch.contiguous_format)


def _is_float(value: Any) -> bool:
    return isinstance(value, StoredTensor) and value.dtype.is_floating_point


def _overridden(
    path: Path,
    spec: DetectorSpec,
    model: str | None,
    class_names: Sequence[str] | None,
    anchor_ratios: Sequence[float] | None,
) -> DetectorSpec:
    """The file's own spec, with what the user said instead."""
    if model not in (None, spec.network):
        raise InputError(f"{path} is a checkpoint of {spec.network}, not of {model}")
    if class_names:
        _check_class_names(path, class_names, spec.num_classes)
        spec = dataclasses.replace(spec, class_names=("background", *class_names))
    if anchor_ratios:
        given = zoo.detector_spec(
            spec.network, width_mult=spec.width_mult, anchor_ratios=anchor_ratios
        )
        spec = dataclasses.replace(spec, levels=given.levels)
    return spec


def _check_same_network(path: Path, given: DetectorSpec, own: DetectorSpec) -> None:
    """Raise InputError unless the spec given says what the weights were trained with."""

    def trained(spec: DetectorSpec) -> tuple[object, ...]:
        return (
            *(spec.network, spec.width_mult, spec.num_classes),
            *(spec.mean_rgb, spec.std_rgb, spec.backbone_activation),
        )

    if trained(given) != trained(own):
        raise InputError(
            f"{path} does not fit the spec given: expected (network, width, classes, mean, std, "
            f"activation) {trained(given)}, got {trained(own)}; leave --spec away"
        )


def _check_class_names(path: Path, class_names: Sequence[str], num_classes: int) -> None:
    if len(class_names) != num_classes - 1:
        raise InputError(
            f"{path} has {num_classes} classes with the background, so it takes "
            f"{num_classes - 1} class names; got {len(class_names)}: {', '.join(class_names)}"
        )


def _recognised_spec(
    path: Path,
    weights: Mapping[str, Tensor],
    model: str | None,
    class_names: Sequence[str] | None,
    anchor_ratios: Sequence[float] | None,
) -> DetectorSpec:
    network = model or network_of(weights)
    if network is None:
        raise _of_no_network(path, weights)
    num_classes = num_classes_of(weights)
    if class_names and num_classes is not None:
        _check_class_names(path, class_names, num_classes)
    return zoo.detector_spec(
        network,
        class_names=class_names,
        num_classes=num_classes,
        width_mult=1.0 if network in BASE_WIDTHS else width_mult_of(weights),
        anchor_ratios=anchor_ratios,
    )


def _priors_note(path: Path, priors: StoredTensor, spec: DetectorSpec) -> str:
    """The note that the anchors which the file stores are not those assumed; empty if they are."""
    expected = torch.from_numpy(anchors_cxcywh_norm(spec))
    if priors.shape[-1:] == (4,) and priors.num_elements == expected.numel():
        found = priors.tensor().reshape(-1, 4)
        if torch.allclose(found.double(), expected.double(), rtol=0, atol=_SAME_ANCHOR):
            return ""
    return (
        f"{path}: the anchors that it stores, of shape {list(priors.shape)}, are not those assumed "
        "(centre x, y, width, height, relative to the input), or are stored in another form; if "
        "they are other anchors, boxes come out wrong"
    )


def _of_no_network(path: Path, weights: Mapping[str, Tensor]) -> InputError:
    first = ", ".join(key[:_LONGEST_KEY] for key in list(weights)[:4])
    return InputError(
        f"{path} is a state_dict, but of none of the known networks "
        f"({', '.join(zoo.network_names())}): its keys begin with {first}; "
        f"expected base_net, extras, classification_headers and regression_headers. "
        f"{_nearest(weights)}--model NETWORK lists the differences from one of them"
    )


def _nearest(weights: Mapping[str, Tensor]) -> str:
    """Which network has the fewest differences, as a sentence; empty when all keys differ."""
    found = []
    for name in zoo.network_names():
        with contextlib.suppress(InputError):  # no network has such a width or number of classes
            spec = _spec_like(name, weights)
            expected = _without_counters(_network_on_meta(spec).state_dict())
            keys = len(expected.keys() | weights.keys())
            found.append((len(_differences(expected, weights)), keys, name))
    different, keys, name = min(found, default=(0, 0, ""))
    if different == keys:
        return ""
    return f"The nearest is {name}: {different} of {keys} keys differ. "


def _spec_like(network: str, weights: Mapping[str, Tensor]) -> DetectorSpec:
    width = 1.0 if network in BASE_WIDTHS else width_mult_of(weights)
    return zoo.detector_spec(network, num_classes=num_classes_of(weights), width_mult=width)


def _network_on_meta(spec: DetectorSpec) -> SSD:
    with torch.device("meta"):  # no time spent on random weights that are thrown away
        return build_network(spec)


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _filled_network(
    path: Path, spec: DetectorSpec, weights: dict[str, Tensor], *, guessed: bool
) -> SSD:
    """The network with these weights. guessed: the network was recognised, not said."""
    network = _network_on_meta(spec)
    state = network.state_dict()
    expected = _without_counters(state)
    problems = _differences(expected, weights)
    if guessed and len(problems) > len(expected.keys() | weights.keys()) / 2:
        raise _of_no_network(path, weights)
    if problems:
        header = (
            f"{path} does not fit {spec.network} (width {spec.width_mult:g}, {spec.num_classes} "
            f"classes): {len(problems)} keys differ; give the right network with --model, or "
            "mend the checkpoint"
        )
        raise InputError("\n  ".join([header, *problems]))
    counters = {key: torch.tensor(0) for key in state.keys() - expected.keys()}
    network.load_state_dict({**weights, **counters}, assign=True)
    return network.eval()


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    missing = [f"missing: {key} {tuple(expected[key].shape)}" for key in expected.keys() - found]
    unexpected = [f"unexpected: {key} {tuple(found[key].shape)}" for key in found.keys() - expected]
    shapes = [
        f"wrong shape: {key} is {tuple(found[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in expected.keys() & found
        if expected[key].shape != found[key].shape
    ]
    return [*sorted(missing), *sorted(unexpected), *sorted(shapes)]
