"""The SoCs that snpe-dlc-graph-prepare makes a cache for, under the names that it has for them."""

from collections.abc import Iterable

from export.socs import Soc, find_soc, plain_name
from persondet.errors import InputError

# As it lists them itself (2.4x); it takes either case. Which of them an older one lacks, it says.
HTP_SOCS = ("sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "qcs6490", "qcs8550")
_BY_SOC: dict[Soc | None, str] = {find_soc(name): name for name in HTP_SOCS}


def htp_socs(names: Iterable[str]) -> str:
    """Return what --htp_socs takes, such as `sm8550,qcs6490`, for names and products of SoCs.

    Raises InputError listing the names that graph-prepare takes.
    """
    return ",".join(dict.fromkeys(map(_htp_soc, names)))


def snpe1_socs(names: Iterable[str]) -> str:
    """Return the same for SNPE 1.x; which SoCs that takes is not known, so that none is refused."""
    return ",".join(dict.fromkeys(map(_snpe1_soc, names)))


def check_half_floats(names: Iterable[str]) -> None:
    """Raise InputError for a SoC whose HTP has no half precision: graph-prepare aborts (134)."""
    for name in names:
        found = find_soc(name)
        if found is not None and not found.has_half_floats:
            raise InputError(
                f"--soc {name}: its HTP is a v{found.arch}, which has no half precision "
                "(graph-prepare aborts with 134); quantize the model for it: `persondet quantize "
                "--soc`"
            )


def _snpe1_soc(name: str) -> str:
    found = find_soc(name)
    return _BY_SOC.get(found, found.name) if found else plain_name(name)


def _htp_soc(name: str) -> str:
    found = find_soc(name)
    if found is None or found not in _BY_SOC:
        other = f"; without an SDK: --toolchain embedded --soc {found.name}" if found else ""
        raise InputError(
            f"--soc {name}: snpe-dlc-graph-prepare makes no cache for it; it takes "
            f"{', '.join(HTP_SOCS)}{other}"
        )
    return _BY_SOC[found]
