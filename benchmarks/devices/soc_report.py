"""Which SoC a device has, and which Hexagon architecture, from what the device says of itself."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.devices.transport import Transport
from export.socs import Soc, find_soc

# One line a key. Android: properties; Qualcomm's kernels: soc0; mainline kernels: the device tree.
_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$(printf %s "$2" | tr '\000\n' '  ')"; }
say machine "$(uname -m)"
say system "$(uname -s)"
if command -v getprop >/dev/null 2>&1; then
  version=$(getprop ro.build.version.release)
  say android "${version:-of an unknown version}"
  say soc_model "$(getprop ro.soc.model)"
  say platform "$(getprop ro.board.platform)"
fi
for file in /sys/devices/soc0/machine /proc/device-tree/compatible /proc/device-tree/model; do
  if [ -r "$file" ]; then say "${file##*/}_file" "$(tr '\000' ' ' < "$file")"; fi
done
for node in /dev/adsprpc-smd /dev/fastrpc-cdsp /dev/fastrpc-adsp; do
  if [ -r "$node" ]; then say dsp "$node"; elif [ -e "$node" ]; then say dsp_closed "$node"; fi
done
"""
_SOC_KEYS = ("soc_model", "machine_file", "compatible_file", "model_file", "platform")
_SOC_WORD = re.compile(r"[a-z]{2,4}\d{4}p?")
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class SocReport:
    """said: all that the device told, by key. soc: None where it is not one that we know.

    named: what looks like a SoC's name in what it told. dsp_node: the device file of the DSP;
    dsp_readable: whether this user may open it.
    """

    said: Mapping[str, str]
    soc: Soc | None
    named: str
    dsp_node: str
    dsp_readable: bool

    @property
    def is_android(self) -> bool:
        return "android" in self.said

    @property
    def text(self) -> str:
        place = (
            f"Android {self.said['android']}" if self.is_android else self.said.get("system", "")
        )
        words = [f"{place} {self.said.get('machine', '')}".strip()]
        if self.soc:
            words.append(f"{self.soc.product} ({self.soc.name}), Hexagon v{self.soc.arch}")
        elif self.named:
            words.append(f"SoC {self.named}, whose Hexagon architecture is not in our table")
        return ", ".join(words)


def ask_soc(transport: Transport) -> SocReport:
    """Raises PersondetError where the device does not answer."""
    finished = transport.check(
        ["sh", "-c", _SCRIPT], what=f"asking {transport.name} for its SoC", timeout_s=_TIMEOUT_S
    )
    return soc_report(finished.stdout)


def soc_report(text: str) -> SocReport:
    """What the device said, one `key=value` a line; other lines are ignored."""
    pairs = (line.partition("=") for line in text.splitlines())
    said = {key: value.strip() for key, sign, value in pairs if sign and value.strip()}
    named = [word for key in _SOC_KEYS for word in _SOC_WORD.findall(said.get(key, "").lower())]
    known = (found for word in named if (found := find_soc(word)))
    node = said.get("dsp") or said.get("dsp_closed", "")
    return SocReport(said, next(known, None), next(iter(named), ""), node, "dsp" in said)
