"""Qualcomm SoCs: name, model number and Hexagon architecture, for ahead-of-time compilation.

Numbers as in Qualcomm's public QnnTypes.h / ExecuTorch's table of chipsets; each pair was compiled
for with the pinned libraries.
"""

from dataclasses import dataclass

from persondet.errors import InputError


@dataclass(frozen=True)
class Soc:
    """model: Qualcomm's number of the SoC; arch: Hexagon architecture, 73 for v73."""

    name: str
    model: int
    arch: int
    product: str


SOCS = {
    soc.name: soc
    for soc in (
        Soc("sm8350", 30, 68, "Snapdragon 888"),
        Soc("qcm6490", 93, 68, "QCM6490, QCS6490 (RB3 Gen 2)"),
        Soc("sa8295", 39, 68, "SA8295P"),
        Soc("sm8450", 36, 69, "Snapdragon 8 Gen 1"),
        Soc("sm8475", 42, 69, "Snapdragon 8+ Gen 1"),
        Soc("sxr2230p", 53, 69, "Snapdragon XR2 Gen 2"),
        Soc("sm8550", 43, 73, "Snapdragon 8 Gen 2"),
        Soc("sa8255", 52, 73, "SA8255P"),
        Soc("qcs9100", 77, 73, "QCS9100, QCS9075 (IQ-9)"),
        Soc("sm8650", 57, 75, "Snapdragon 8 Gen 3"),
        Soc("sm8750", 69, 79, "Snapdragon 8 Elite"),
        Soc("sm8850", 87, 81, "Snapdragon 8 Elite Gen 5"),
    )
}


def soc(name: str) -> Soc:
    """Raises InputError listing the known names."""
    found = SOCS.get(name.lower())
    if found is None:
        raise InputError(f"unknown SoC {name!r}; known: {', '.join(SOCS)}")
    return found
