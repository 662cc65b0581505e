"""persondet.interface: inputs and outputs against a spec."""

from persondet.interface import interface_problems
from persondet.zoo import detector_spec

SPEC = detector_spec("rfb-tiny-mb2-ssd-c32", class_names=("person", "head"))
INPUTS = {"image": ("float32", (1, 3, 240, 320))}
OUTPUTS = {"scores": ("float32", (1, 13260, 3)), "boxes": ("float32", (1, 13260, 4))}


def _problems(inputs=INPUTS, outputs=OUTPUTS) -> list[str]:
    return list(interface_problems(SPEC, inputs, outputs))


def test_what_fits() -> None:
    assert _problems() == []
    assert _problems(outputs=dict(reversed(OUTPUTS.items()))) == []
    assert SPEC.output_shapes == {name: shape for name, (_, shape) in OUTPUTS.items()}


def test_each_difference_is_a_line() -> None:
    assert _problems(inputs={"picture": INPUTS["image"]}) == [
        "input 'image' is missing, found picture",
        "unexpected input picture, expected only image",
    ]
    assert _problems(inputs={"image": ("uint8", (1, 3, 240, 320))}) == [
        "input 'image': expected float32 (1, 3, 240, 320), got uint8 (1, 3, 240, 320)"
    ]
    assert _problems(inputs={"image": ("float32", ("batch", 3, 240, 320))}) == [
        "input 'image': expected float32 (1, 3, 240, 320), got float32 (batch, 3, 240, 320) "
        "(dynamic shapes: export with fixed ones)"
    ]
    assert _problems(outputs={}) == [
        "output 'scores' is missing, found none",
        "output 'boxes' is missing, found none",
    ]
    swapped = {"scores": OUTPUTS["boxes"], "boxes": OUTPUTS["scores"]}
    assert len(_problems(outputs=swapped)) == 2
