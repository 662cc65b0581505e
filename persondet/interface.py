"""Whether the inputs and outputs of a graph, of whatever format, are those of a spec."""

from collections.abc import Iterator, Mapping

from persondet.spec import DetectorSpec

# numpy name of the element type, shape; a dynamic dimension is a text
TensorType = tuple[str, tuple[int | str, ...]]


def interface_problems(
    spec: DetectorSpec, inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]
) -> Iterator[str]:
    """What differs from the spec, a line each; inputs and outputs by name."""
    expected_in: dict[str, TensorType] = {spec.input_name: (spec.input_dtype, spec.input_shape)}
    expected_out: dict[str, TensorType] = {
        name: ("float32", shape) for name, shape in spec.output_shapes.items()
    }
    yield from _differences("input", expected_in, inputs)
    yield from _differences("output", expected_out, outputs)


def _differences(
    side: str, expected: Mapping[str, TensorType], found: Mapping[str, TensorType]
) -> Iterator[str]:
    for name, (dtype, shape) in expected.items():
        if name not in found:
            yield f"{side} {name!r} is missing, found {', '.join(found) or 'none'}"
        elif found[name] != (dtype, shape):
            found_dtype, found_shape = found[name]
            fixed = all(isinstance(size, int) for size in found_shape)
            hint = "" if fixed else " (dynamic shapes: export with fixed ones)"
            yield (
                f"{side} {name!r}: expected {dtype} {_shown(shape)}, "
                f"got {found_dtype} {_shown(found_shape)}{hint}"
            )
    if unexpected := [name for name in found if name not in expected]:
        yield f"unexpected {side} {', '.join(unexpected)}, expected only {', '.join(expected)}"


def _shown(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
