"""Checkpoints: .pth files to a network with its spec, and back.

A published checkpoint is a bare state_dict and does not say what it is: the network, its width and
its classes are read from the keys and shapes. Our own files carry their spec.
"""

import dataclasses
import io
import json
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from persondet import zoo
from persondet.errors import InputError
from persondet.files import parse_json
from persondet.networks import build_network
from persondet.networks.rfb import BASE_WIDTHS
from persondet.networks.ssd import SSD
from persondet.recognition import network_of, num_classes_of, width_mult_of
from persondet.sidecar import read_sidecar, replacing
from persondet.spec import DetectorSpec, spec_from_json, spec_to_json

# Where training scripts put the state_dict inside of what they save.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "ema")

_EXPECTED = (
    "expected a PyTorch state_dict, as `torch.save(model.state_dict(), FILE)` writes it, bare or "
    f"under one of the keys {', '.join(WRAPPERS)}"
)
_LANDMARKS = "landmark_headers."


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
) -> Checkpoint:
    """Read a .pth file. Nothing in it is executed (`weights_only`).

    model: the zoo's name of the network; None: recognised from the keys and shapes.
    class_names: without the background. anchor_ratios: height / width, see `zoo.detector_spec`.
    Raises InputError for a file that is not a state_dict of one of our networks, with every
    missing, unexpected or wrongly shaped key in one message.
    """
    path = Path(path)
    content = _read(path)
    read_sidecar(path)  # torch does not notice a flipped byte; the sidecar's sha256 does
    if model is not None and (model := zoo.full_name(model)) not in zoo.network_names():
        known = ", ".join(zoo.network_names())
        raise InputError(f"unknown network {model!r}; known: {known}")
    weights, stored_spec = _weights_and_spec(path, content)
    notes = []
    if dropped := [key for key in weights if key.startswith(_LANDMARKS)]:
        weights = {key: value for key, value in weights.items() if key not in dropped}
        notes.append(f"{path}: the landmark heads ({len(dropped)} tensors) are ignored")
    if stored_spec is not None:
        spec = _overridden(path, stored_spec, model, class_names, anchor_ratios)
    else:
        spec = _recognised_spec(path, weights, model, class_names, anchor_ratios)
        if not anchor_ratios and (ratios := zoo.default_anchor_ratios(spec.network)):
            shown = ", ".join(f"{ratio:.4g}" for ratio in ratios)
            notes.append(
                f"{path}: the file does not say its anchors' height / width; assumed {shown} "
                "(--anchor-ratios gives another)"
            )
    network = _filled_network(path, spec, weights)
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


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if not head:
            raise InputError(f"{path} is empty; {_EXPECTED}; copy or download it again")
        with warnings.catch_warnings(action="ignore"):  # what is wrong is said by an error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name the .pth file in it") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        raise InputError(_unpicklable(path, head, error)) from None
    except InputError:
        raise
    except Exception as error:  # a damaged pickle can make the reader raise anything
        if "TorchScript" in str(error):
            raise InputError(f"{path} is a TorchScript archive; {_EXPECTED}") from None
        raise InputError(
            f"{path} cannot be read as a checkpoint: it is truncated, damaged or another kind of "
            f"file; {_EXPECTED}; copy it again from where it came"
        ) from None


def _unpicklable(path: Path, head: bytes, error: pickle.UnpicklingError) -> str:
    is_pickle = head.startswith(b"PK") or head[:1] == b"\x80"
    if is_pickle and (found := re.search(r"GLOBAL ([\w.]+)", str(error))):
        return (
            f"{path} holds Python objects other than tensors ({found[1]}), and loading those could "
            f"run any code; {_EXPECTED}; load it where it was made and save the state_dict alone"
        )
    return (
        f"{path} is not a PyTorch checkpoint: it is damaged, or another kind of file renamed; "
        f"{_EXPECTED}"
    )


def _weights_and_spec(path: Path, content: Any) -> tuple[dict[str, Tensor], DetectorSpec | None]:
    """The state_dict, unwrapped and without `module.`, in float32; and the spec if there is one."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}; {_EXPECTED}")
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    state = content if wrapper is None else content[wrapper]
    text = content.get("spec") if wrapper == "state_dict" else None
    try:
        spec = spec_from_json(text) if isinstance(text, str) else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return _float_tensors(path, state), spec


def _float_tensors(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    state = {k: v for k, v in state.items() if not str(k).endswith("num_batches_tracked")}
    problems = [
        f"{key}: {_kind(value)}"
        for key, value in state.items()
        if not (isinstance(key, str) and _is_float_tensor(value))
    ]
    if problems or not state:
        found = f"{len(problems)} entries that are not float tensors" if problems else "no tensors"
        raise InputError("\n  ".join([f"{path} holds {found}; {_EXPECTED}", *problems]))
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    weights = {key.removeprefix(prefix): _plain(value) for key, value in state.items()}
    bad = [key for key, value in weights.items() if not torch.isfinite(value).all()]
    if bad:
        raise InputError(
            "\n  ".join([f"{path} holds numbers that are not finite (NaN or infinity) in:", *bad])
        )
    return weights


def _plain(value: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """In rows, a copy: a channels-last 1x1 weight would still steer torch's kernels."""
    return value.detach().to(dtype).clone(memory_format=torch.contiguous_format)


def _is_float_tensor(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.device.type == "cpu"
    )


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} tensor, {value.layout}, on {value.device}"
    return type(value).__name__


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
        first = ", ".join(list(weights)[:4])
        raise InputError(
            f"{path} is a state_dict, but of none of the known networks "
            f"({', '.join(zoo.network_names())}): its keys begin with {first}; "
            "expected base_net, extras, classification_headers and regression_headers. "
            "--model NETWORK lists the differences from one of them"
        )
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


def _filled_network(path: Path, spec: DetectorSpec, weights: dict[str, Tensor]) -> SSD:
    with torch.device("meta"):  # no time spent on random weights that are thrown away
        network = build_network(spec)
    expected = network.state_dict()
    counters = {k: torch.tensor(0) for k in expected if k.endswith("num_batches_tracked")}
    problems = _differences({k: v for k, v in expected.items() if k not in counters}, weights)
    if problems:
        header = (
            f"{path} does not fit {spec.network} (width {spec.width_mult:g}, {spec.num_classes} "
            f"classes): {len(problems)} keys differ; give the right network with --model, or "
            "mend the checkpoint"
        )
        raise InputError("\n  ".join([header, *problems]))
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
