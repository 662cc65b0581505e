"""The command lines of snpe-net-run and snpe-throughput-net-run. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.sdk.versions import Family, SdkVersion
from persondet.errors import InputError

PROFILES = (
    *("system_settings", "power_saver", "balanced", "default"),
    *("high_performance", "sustained_high_performance", "burst"),
)
_LATER_PROFILES = {  # the first version that has them
    "low_balanced": (2, 5),
    "low_power_saver": (2, 5),
    "high_power_saver": (2, 5),
    "extreme_power_saver": (2, 25),
}
PROFILING_LEVELS = ("off", "basic", "moderate", "detailed", "linting")
_NET_RUN_RUNTIMES = {
    "cpu": (),
    "gpu": ("--use_gpu",),
    "gpu_fp16": ("--use_gpu", "--gpu_mode", "float16"),
    "dsp": ("--use_dsp",),
    "aip": ("--use_aip",),
}
_THROUGHPUT_RUNTIMES = {
    "cpu": "--use_cpu",
    "gpu": "--use_gpu",
    "gpu_fp16": "--use_gpu_fp16",
    "dsp": "--use_dsp",
    "aip": "--use_aip",
}


@dataclass(frozen=True)
class RunSettings:
    """runtime: cpu, gpu, gpu_fp16, dsp or aip. perf_profile, profiling_level: None for the tool's
    own, balanced and detailed. cpu_fallback: layers that the runtime lacks may run on the CPU."""

    runtime: str
    perf_profile: str | None = None
    profiling_level: str | None = None
    cpu_fallback: bool = False


def check_settings(settings: RunSettings, version: SdkVersion) -> None:
    """Raises InputError for a value that the version's tools do not have, naming those that do."""
    if settings.runtime not in _NET_RUN_RUNTIMES:
        raise InputError(
            f"runtime {settings.runtime!r}: expected one of {', '.join(_NET_RUN_RUNTIMES)}"
        )
    profile, level = settings.perf_profile, settings.profiling_level
    if profile is not None and profile not in PROFILES:
        since = _LATER_PROFILES.get(profile)
        if since is None:
            known = ", ".join((*PROFILES, *_LATER_PROFILES))
            raise InputError(f"perf profile {profile!r}: expected one of {known}")
        if version.numbers < since:
            raise InputError(
                f"perf profile {profile}: SNPE {version} has none; it came with "
                f"{'.'.join(map(str, since))}"
            )
    if level is not None and level not in PROFILING_LEVELS:
        raise InputError(
            f"profiling level {level!r}: expected one of {', '.join(PROFILING_LEVELS)}"
        )
    if level == "linting" and version.numbers < (2,):
        raise InputError(f"profiling level linting: SNPE {version} has none; 2.0 and later have")


def net_run_words(
    settings: RunSettings,
    version: SdkVersion,
    *,
    container: str,
    input_list: str,
    output_dir: str,
    outputs: Sequence[str],
) -> tuple[str, ...]:
    """The arguments of snpe-net-run; paths relative to the folder that it runs in.

    outputs: the model's tensors, all of them: without their names the tool writes the last layer's
    alone, and ignores a cache that was made for all. Versions that cannot be told so take the
    layers' names in the input list.
    """
    words = ["--container", container, "--input_list", input_list, "--output_dir", output_dir]
    words += _NET_RUN_RUNTIMES[settings.runtime]
    if settings.perf_profile is not None:
        words += ["--perf_profile", settings.perf_profile]
    if settings.profiling_level is not None:
        words += ["--profiling_level", settings.profiling_level]
    if settings.cpu_fallback:
        words.append("--enable_cpu_fallback")
    if takes_output_tensors(version):
        words += ["--set_output_tensors", ",".join(outputs)]
    return (*words, *_unsigned_domain(settings, version))


def takes_output_tensors(version: SdkVersion) -> bool:
    """Return whether snpe-net-run can be told the output tensors."""
    return version.numbers >= (1, 50)


def _unsigned_domain(settings: RunSettings, version: SdkVersion) -> tuple[str, ...]:
    """Return what lets a DSP of 1.x load unsigned libraries; SNPE 2 does so by itself."""
    is_old = version.family in (Family.SNPE_1_4, Family.SNPE_1)
    on_dsp = settings.runtime in ("dsp", "aip")
    return ("--platform_options", "unsignedPD:ON") if is_old and on_dsp else ()


def throughput_words(
    settings: RunSettings,
    version: SdkVersion,
    *,
    container: str,
    duration_s: int,
    input_raw: str,
    outputs: Sequence[str],
) -> tuple[str, ...]:
    """The arguments of snpe-throughput-net-run, one thread."""
    words = ["--container", container, "--duration", str(duration_s)]
    words += [_THROUGHPUT_RUNTIMES[settings.runtime], "--input_raw", input_raw]
    if settings.perf_profile is not None:
        words += ["--perf_profile", settings.perf_profile]
    if settings.cpu_fallback:
        words.append("--enable_cpu_fallback")
    if version.numbers >= (2,):  # when 1.x got the option is not known, and it looks at no cache
        words += ["--set_output_tensors", ",".join(outputs)]
    return (*words, *_unsigned_domain(settings, version))
