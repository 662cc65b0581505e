"""What a bare state_dict leaves open, and what is assumed for it."""

from persondet import zoo
from persondet.spec import DetectorSpec

_ANCESTORS_RATIO = 1.7


def assumption_note(
    spec: DetectorSpec,
    *,
    anchor_ratios_given: bool = False,
    class_names_given: bool = False,
    activation_given: bool = False,
) -> str:
    """Return a sentence that lists what is assumed, and how to say otherwise.

    spec: as assumed. The others: whether the user said them, so that they are not assumed.
    """
    height, width = spec.input_size_hw
    anchors = "" if anchor_ratios_given else _anchors(spec)
    activation = "" if activation_given else _activation(spec)
    assumed = [
        anchors,
        f"input {height} x {width} (height x width)",
        f"(pixel - {_single(spec.mean_rgb)}) / {_single(spec.std_rgb)}",
        activation,
        f"NMS at IoU {spec.nms_iou:g}",
        "" if class_names_given else f"classes {', '.join(spec.class_names[1:])}",
    ]
    return (
        "the file holds weights alone and does not say how they were trained; assumed: "
        f"{'; '.join(part for part in assumed if part)}. --spec FILE says otherwise"
    )


def _anchors(spec: DetectorSpec) -> str:
    ratios = zoo.default_anchor_ratios(spec.network)
    if not ratios:
        return "the published anchors"
    shown = ", ".join(f"{ratio:.4g}" for ratio in ratios)
    remark = ""
    if _ANCESTORS_RATIO in ratios:
        remark = (
            "; code that takes the square root of its ratio, as the public ancestor's does, makes "
            f"{_ANCESTORS_RATIO**0.5:.5g} of a {_ANCESTORS_RATIO}"
        )
    return f"anchor height / width {shown} (--anchor-ratios gives another{remark})"


def _activation(spec: DetectorSpec) -> str:
    if spec.network in (zoo.RFB_C64, zoo.RFB_C32):
        return ""  # published with one only
    names = {"relu": "ReLU", "relu6": "ReLU6"}
    own = names[zoo.own_backbone_activation(spec.network)]
    return f"{own} in the backbone (--backbone-activation gives the other)"


def _single(values_rgb: tuple[float, float, float]) -> str:
    """One number for all channels, or all three."""
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values_rgb))
