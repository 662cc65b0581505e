"""Names of inputs and outputs that a DLC can have: letters, digits, underscores.

Converters turn the others into such (`input.1` of old torch exports into `input_1`), each by its
own rule. Done before they see the graph, the name is known.
"""

import dataclasses
import re

import onnx

from persondet.spec import DetectorSpec


def with_dlc_names(
    model: onnx.ModelProto, spec: DetectorSpec
) -> tuple[onnx.ModelProto, DetectorSpec]:
    """Return the model and its spec with names that a DLC can have; both as given if they are."""
    names = (spec.input_name, spec.scores_name, spec.boxes_name)
    if all(_dlc_name(name) == name for name in names):
        return model, spec
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    new_names: dict[str, str] = {}
    for name in names:
        new = _dlc_name(name)
        while new != name and new in taken:
            new += "_"
        taken.add(new)
        new_names[name] = new
    named_spec = dataclasses.replace(
        spec,
        input_name=new_names[spec.input_name],
        scores_name=new_names[spec.scores_name],
        boxes_name=new_names[spec.boxes_name],
    )
    return renamed(model, new_names), named_spec


def _dlc_name(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{plain}" if plain[0].isdigit() else plain


def renamed(model: onnx.ModelProto, new_names: dict[str, str]) -> onnx.ModelProto:
    """Return a copy whose tensors have new names, by the old ones."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for node in graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]
        node.output[:] = [new_names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = new_names.get(value.name, value.name)
    return copy
