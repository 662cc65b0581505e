"""Versions of the SNPE and QAIRT SDKs, and the families whose command lines differ."""

import re
from dataclasses import dataclass
from enum import Enum

from persondet.errors import InputError

_VERSION = re.compile(r"v?(\d+(?:\.\d+){1,3})((?:[_-][\w.-]+)?)", re.ASCII)
# Documented are 2.0-2.10 and 2.25 on. What lies between counts as the older family: from 2.25 the
# old spellings only warn, whereas an older tool refuses the new ones (inferred).
_FIRST_QAIRT = (2, 25)


class Family(Enum):
    """SDKs that share tools and spellings, oldest first."""

    SNPE_1_4 = "1.4x"
    SNPE_1 = "1.5x-1.68"
    SNPE_2 = "2.0-2.10"
    QAIRT = "2.25+"


@dataclass(frozen=True, order=True)
class SdkVersion:
    """numbers: (1, 68, 0, 3932), as many as were given; text: as given, without a leading v."""

    numbers: tuple[int, ...]
    text: str

    @property
    def family(self) -> Family:
        """The family by the first two numbers; 2.11 to 2.24 count as 2.0-2.10."""
        if self.numbers < (1, 50):
            return Family.SNPE_1_4
        if self.numbers < (2,):
            return Family.SNPE_1
        return Family.SNPE_2 if self.numbers < _FIRST_QAIRT else Family.QAIRT

    @property
    def name(self) -> str:
        """`SNPE 1.68.0.3932`, `QAIRT 2.26.0.240828`."""
        return f"{'QAIRT' if self.family is Family.QAIRT else 'SNPE'} {self}"

    def __str__(self) -> str:
        return self.text


def parse_version(text: str) -> SdkVersion:
    """`1.68`, `1.68.0.3932`, `v2.22.6.240515184619_92920` ...

    Raises InputError for what is no version of two to four numbers.
    """
    found = _VERSION.fullmatch(text.strip())
    if not found:
        raise InputError(
            f"{text!r} is no SDK version: expected two to four numbers, such as 1.68, 2.10.0.4541 "
            "or 2.26.0.240828"
        )
    numbers = tuple(int(number) for number in found[1].split("."))
    return SdkVersion(numbers, found[1] + found[2])


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text.strip()) is not None
