"""Qualcomm SoCs: names, model number and Hexagon architecture, for ahead-of-time compilation.

Numbers as in Qualcomm's public QnnTypes.h and ExecuTorch's table of chipsets. Each was compiled for
with the pinned libraries, which write into the result which SoC a number is (`soc_type=QCS6490;
arch=68`); a test reads that back. So QCM6490 and QCS6490 have 93. The SM7325 is the same die under
its phone's name, and has 35; its number compiles for a QCS6490 as well, but is not the board's.
"""

from dataclasses import dataclass

from persondet.errors import InputError


@dataclass(frozen=True)
class Soc:
    """A SoC.

    model: Qualcomm's number of it. arch: Hexagon architecture, 73 for v73. products: what else it
    is called; each is accepted as a name.
    """

    name: str
    model: int
    arch: int
    products: tuple[str, ...]

    @property
    def product(self) -> str:
        """All products in one text, for people."""
        return ", ".join(self.products)

    @property
    def has_half_floats(self) -> bool:
        """False for v68, whose HTP has no half precision that Qualcomm promises."""
        return self.arch > _ARCH_WITHOUT_HALF_FLOATS


_ARCH_WITHOUT_HALF_FLOATS = 68

SOCS = {
    soc.name: soc
    for soc in (
        Soc("sm8350", 30, 68, ("Snapdragon 888",)),
        Soc("sm7325", 35, 68, ("Snapdragon 778G",)),
        Soc("qcm6490", 93, 68, ("QCM6490", "QCS6490", "RB3 Gen 2")),
        Soc("sa8295", 39, 68, ("SA8295P",)),
        Soc("sm8450", 36, 69, ("Snapdragon 8 Gen 1",)),
        Soc("sm7450", 41, 69, ("Snapdragon 7 Gen 1",)),
        Soc("sm8475", 42, 69, ("Snapdragon 8+ Gen 1",)),
        Soc("sxr2230p", 53, 69, ("Snapdragon XR2 Gen 2",)),
        Soc("sm8550", 43, 73, ("Snapdragon 8 Gen 2",)),
        Soc("qcs8550", 66, 73, ("QCS8550", "QCM8550")),
        Soc("sc8380xp", 60, 73, ("Snapdragon X Elite", "X Elite")),
        Soc("sa8255", 52, 73, ("SA8255P",)),
        Soc("qcs9100", 77, 73, ("QCS9100", "QCS9075", "IQ-9")),
        Soc("sm8650", 57, 75, ("Snapdragon 8 Gen 3",)),
        Soc("sm8750", 69, 79, ("Snapdragon 8 Elite",)),
        Soc("sm8845", 97, 81, ("Snapdragon 8 Gen 5",)),
        Soc("sm8850", 87, 81, ("Snapdragon 8 Elite Gen 5",)),
    )
}


def plain_name(name: str) -> str:
    """The name without what people write differently: capitals, blanks, `-` and `_`."""
    return "".join(character for character in name.lower() if character not in " -_")


_BY_NAME = {plain_name(name): soc for soc in SOCS.values() for name in (soc.name, *soc.products)}


def find_soc(name: str) -> Soc | None:
    """Return the SoC of that name or product, in any case; None for one not in the table."""
    return _BY_NAME.get(plain_name(name))


def soc(name: str) -> Soc:
    """Return the SoC of that name or product. Raises InputError listing the known names."""
    found = find_soc(name)
    if found is None:
        raise InputError(
            f"unknown SoC {name!r}; known: {', '.join(SOCS)}, or a product's name, such as QCS6490 "
            "or X Elite"
        )
    return found
