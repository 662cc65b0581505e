"""Reading state.pt: a run goes on from what this very run could have written, or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from persondet.checkpoint_file import read_checkpoint_file, with_tensors
from persondet.errors import InputError

STATE_KEYS = frozenset({"network", "average", "average_updates", "optimizer", "scaler"}) | {
    *("progress", "config", "spec", "learnt_from")
}
_REMEDY = "start anew, from last.pth with --init"


def read_state(path: Path) -> dict[str, Any]:
    """What `Trainer.save` wrote, its tensors on the CPU.

    Raises InputError when the file is damaged, another kind of file or lacks an entry.
    """
    try:
        state = with_tensors(read_checkpoint_file(path))
    except InputError as error:
        raise InputError(f"cannot resume from {path}: {error}; {_REMEDY}") from None
    except RecursionError:  # nested as deeply as no training state is
        state = None
    if not isinstance(state, dict):
        raise InputError(f"cannot resume from {path}: it is not a training state; {_REMEDY}")
    if missing := STATE_KEYS - state.keys():
        raise InputError(
            f"cannot resume from {path}: it lacks {', '.join(sorted(missing))}; {_REMEDY}"
        )
    return state


def check_like(
    path: Path,
    state: Mapping[str, Any],
    own: Mapping[str, Any],
    parameters: Sequence[Tensor],
) -> None:
    """Raise InputError unless the state read could be one of this run.

    own: what the run would write now. parameters: the optimizer's, in its order; it has made no
    step yet, so that what it remembers of each is held against the parameter itself.
    """
    alike = ["network", "average", "average_updates", "progress"]
    if state["scaler"] and own["scaler"]:  # empty on a CPU: a run may go on elsewhere
        alike.append("scaler")
    problem = (
        _difference({key: state[key] for key in alike}, {key: own[key] for key in alike}, "state")
        or _optimizer_difference(state["optimizer"], own["optimizer"], parameters)
        or _negative_count(state)
    )
    if problem:
        raise InputError(
            f"cannot resume from {path}: it is not a state of this run ({problem}); {_REMEDY}"
        )


def _difference(found: Any, own: Any, name: str) -> str:
    """Where the two differ in keys, types or shapes, in words; empty when nowhere."""
    if isinstance(own, Mapping):
        if not isinstance(found, Mapping) or found.keys() != own.keys():
            return f"the entries of {name} differ"
        inner = (_difference(found[key], own[key], f"{name}[{key!r}]") for key in own)
        return next(filter(None, inner), "")
    if isinstance(own, Tensor):
        same = isinstance(found, Tensor) and (found.shape, found.dtype) == (own.shape, own.dtype)
    elif type(own) is float:
        same = type(found) in (int, float)
    else:
        same = type(found) is type(own)
    return "" if same else f"{name} has another type or shape"


def _optimizer_difference(found: Any, own: Mapping[str, Any], parameters: Sequence[Tensor]) -> str:
    if not isinstance(found, Mapping) or found.keys() != own.keys():
        return "the entries of the optimizer differ"
    groups, own_groups = found["param_groups"], own["param_groups"]
    if type(groups) is not list or len(groups) != len(own_groups):
        return "the groups of the optimizer's parameters differ"
    problems = map(_group_difference, groups, own_groups)
    return next(filter(None, problems), "") or _memory_difference(found["state"], parameters)


def _group_difference(group: Any, own: Mapping[str, Any]) -> str:
    """Of one group of parameters. Another release of torch may know other options."""
    if not isinstance(group, Mapping) or group.get("params") != own["params"]:
        return "the groups of the optimizer's parameters differ"
    shared = {key: own[key] for key in own.keys() & group.keys()}
    if not {"lr", "momentum", "weight_decay"} <= shared.keys():
        return "a group of the optimizer's parameters lacks an option"
    return _difference({key: group[key] for key in shared}, shared, "the optimizer's group")


def _memory_difference(found: Any, parameters: Sequence[Tensor]) -> str:
    """Of what the optimizer remembers of each parameter: its momentum."""
    if not isinstance(found, Mapping):
        return "what the optimizer remembers has another type"
    for index, remembered in found.items():
        if type(index) is not int or not 0 <= index < len(parameters):
            return f"the optimizer remembers parameter {index!r}"
        own = {"momentum_buffer": parameters[index]}
        if problem := _difference(remembered, own, f"of parameter {index} what is remembered"):
            return problem
    return ""


def _negative_count(state: Mapping[str, Any]) -> str:
    counts = {key: state["progress"][key] for key in ("epoch", "batch", "step")}
    counts["average_updates"] = state["average_updates"]
    return next((f"{key} is {count}" for key, count in counts.items() if count < 0), "")
