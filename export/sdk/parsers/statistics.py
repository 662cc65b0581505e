"""Names of the timings that snpe-diagview prints, and amounts with their unit."""

import math
import re
from dataclasses import dataclass

# As key_of() makes them, of the words that the tools print for them
CREATE_KEYS = (
    "load",
    "deserialize",
    "create",
    "init",
    "de_init",
    "create_networks",
    "rpc_init",
    "snpe_accelerator_init",
    "accelerator_init",
)
EXECUTE_KEYS = (
    "total_inference",
    "forward_propagate",
    "rpc_execute",
    "snpe_accelerator",
    "accelerator",
    "misc_accelerator",
)
_US = {"us", "usec", "microsec", "microseconds"}
_CYCLES = {"cycles"}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)", re.ASCII)


@dataclass(frozen=True)
class Amount:
    """A time in microseconds, or a count of cycles; never both, and one is never made the other.

    Both are None for a number whose unit is not known. A zero without unit, which the tools print
    for what does not apply, is 0 us.
    """

    us: float | None = None
    cycles: int | None = None

    def __post_init__(self) -> None:
        if self.us is not None and self.cycles is not None:
            raise ValueError("an amount is in microseconds or in cycles, not in both")


def key_of(name: str) -> str:
    """`Create Network(s)` is create_networks, `Total Inference Time` total_inference."""
    key = re.sub(r"\(s\)", "s", name.strip().lower())
    key = re.sub(r"[^a-z0-9]+", "_", key).strip("_")
    return key.removesuffix("_time")


def amount_of(number: float, unit: str) -> Amount:
    """unit: as printed; `NONE` and nothing are no unit, and an amount of no known unit is empty."""
    if unit.lower() in _US:
        return Amount(us=number)
    if unit.lower() in _CYCLES:
        return Amount(cycles=round(number))
    return Amount(us=0.0) if number == 0 and unit.upper() in ("", "NONE") else Amount()


def amount_in(text: str) -> Amount | None:
    """`26458 us`, `162014 cycles`, `0`, `0 NONE`; None where the text is no number of that kind."""
    found = _AMOUNT.fullmatch(text.strip())
    if not found or math.isinf(float(found[1])):  # 1e999
        return None
    return amount_of(float(found[1]), found[2])
