"""Which of an SDK's files a device needs, and the variables under which they work there.

Pure, but for listing the SDK's folders.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from export.sdk.sdk import HOST, Sdk
from persondet.errors import InputError

TOOLS = ("snpe-net-run", "snpe-throughput-net-run")
DSP_RUNTIMES = ("dsp", "aip")
TARGET_VARIABLE = "PERSONDET_SNPE_TARGET"
# Of a target's libraries. QAIRT's folder holds those of QNN too, hundreds of megabytes, which the
# SNPE tools do not use (inferred).
_LIBRARY_PREFIXES = ("libSNPE", "libSnpe", "libsnpe", "libc++_shared", "libhta", "libsymphony")
_DSP_LIBRARY = re.compile(r"(Stub|Prepare|_dsp_domains|libhta)", re.IGNORECASE)
_SYSTEM_SKELS = {
    "android": ("/system/lib/rfsa/adsp", "/system/vendor/lib/rfsa/adsp", "/dsp"),
    "linux": ("/usr/lib/rfsa/adsp", "/dsp"),
}


@dataclass(frozen=True)
class DeviceSystem:
    """system: `android` or `linux`; machine: arm64-v8a, aarch64, x86_64 ...; distribution: ID of
    /etc/os-release, or empty."""

    system: str
    machine: str
    distribution: str = ""


def sdk_target(sdk: Sdk, device: DeviceSystem, chosen: str | None = None) -> str:
    """The SDK's name of the device's kind of machine, such as aarch64-android.

    chosen: by the user. Raises InputError where the SDK has no binaries for it.
    """
    there = sorted(path.name for path in (sdk.root / "bin").iterdir() if path.is_dir())
    if chosen is not None:
        if chosen not in there:
            raise InputError(
                f"{TARGET_VARIABLE}={chosen}: the SDK has no folder bin/{chosen}; it has "
                + ", ".join(there)
            )
        return chosen
    for prefix in _target_prefixes(device):
        if fitting := [name for name in there if name.startswith(prefix)]:
            return max(fitting, key=_numbers)
    raise InputError(
        f"{sdk.name} has no binaries for a {device.machine} device with {device.system}: its "
        f"folder bin has {', '.join(there)}; name one of them by the variable {TARGET_VARIABLE}"
    )


def _target_prefixes(device: DeviceSystem) -> tuple[str, ...]:
    """The best first."""
    if device.system == "android":
        return ("arm-android",) if device.machine.startswith("armeabi") else ("aarch64-android",)
    if device.machine == "aarch64":
        by_distribution = ("aarch64-ubuntu-gcc", "aarch64-oe-linux-gcc")
        if device.distribution not in ("ubuntu", "debian"):
            by_distribution = by_distribution[::-1]
        return (*by_distribution, "aarch64-linux-gcc")
    return (HOST,) if device.machine == "x86_64" else ()


def _numbers(name: str) -> tuple[int, ...]:
    """Of two compilers' folders the newer one is taken."""
    return tuple(map(int, re.findall(r"\d+", name)))


def device_files(sdk: Sdk, target: str, runtime: str) -> dict[str, Path]:
    """Path on the device, below the SDK's folder there, to the SDK's file.

    bin/: the tools; lib/: libraries and, for the DSP, its stubs; dsp/: skels, of all architectures.
    Raises InputError for what the SDK should have and lacks.
    """
    with_dsp = runtime in DSP_RUNTIMES
    files = {f"bin/{tool}": sdk.root / "bin" / target / tool for tool in TOOLS}
    for path in sorted((sdk.root / "lib" / target).glob("*.so*")):
        wanted = path.name.startswith(_LIBRARY_PREFIXES)
        if wanted and (with_dsp or not _DSP_LIBRARY.search(path.name)):
            files[f"lib/{path.name}"] = path
    if with_dsp:
        skels = [*sdk.root.glob("lib/dsp/*.so"), *sdk.root.glob("lib/hexagon-*/unsigned/*.so")]
        own = [path for path in sorted(skels) if path.name.startswith(("libSnpe", "libsnpe"))]
        files |= {f"dsp/{path.name}": path for path in own}
        if not own:
            raise InputError(
                f"{sdk.name} in {sdk.root} has no skel in lib/dsp or lib/hexagon-*/unsigned, which "
                "the DSP needs; unpack the SDK again, all of it"
            )
    missing = [path for path in (files["bin/snpe-net-run"],) if not path.is_file()]
    if "lib/libSNPE.so" not in files:
        missing.append(sdk.root / "lib" / target / "libSNPE.so")
    if missing:
        raise InputError(
            f"the SDK is incomplete: there is no {' and no '.join(map(str, missing))}; unpack it "
            "again, all of it"
        )
    return {name: path for name, path in files.items() if path.is_file()}


def device_variables(folder: str, system: str) -> dict[str, str]:
    """The environment of the tools. folder: of the SDK's files on the device.

    ADSP_LIBRARY_PATH is separated by semicolons. Raises InputError for a folder that the variables
    cannot name.
    """
    if re.search(r"[:;]", folder):
        raise InputError(
            f"{folder}: a folder with : or ; cannot stand in LD_LIBRARY_PATH; name another one"
        )
    skels = (f"{folder}/dsp", *_SYSTEM_SKELS[system])
    return {"LD_LIBRARY_PATH": f"{folder}/lib", "ADSP_LIBRARY_PATH": ";".join(skels)}
