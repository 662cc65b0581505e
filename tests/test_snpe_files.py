"""Which files of an SDK go to which device, and the command lines there."""

from pathlib import Path

import pytest
from imitation_sdk.command_line import parse

from benchmarks.devices.snpe_commands import (
    RunSettings,
    check_settings,
    net_run_words,
    throughput_words,
)
from benchmarks.devices.snpe_files import (
    DeviceSystem,
    device_files,
    device_variables,
    sdk_target,
)
from export.sdk.sdk import Sdk
from export.sdk.versions import parse_version
from persondet.errors import InputError

ANDROID = DeviceSystem("android", "arm64-v8a")
PATHS = {"container": "m.dlc", "input_list": "list.txt", "output_dir": "out"}
OUTPUTS = ("scores", "boxes")
NAMED = "--set_output_tensors scores,boxes"
UNSIGNED = "--platform_options unsignedPD:ON"


def sdk(folder: Path, version: str, *files: str) -> Sdk:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Sdk(folder, parse_version(version))


def with_targets(folder: Path, *targets: str) -> Sdk:
    return sdk(folder, "2.25.0", *(f"bin/{target}/snpe-net-run" for target in targets))


ALL = (
    *("x86_64-linux-clang", "aarch64-android", "arm-android-clang8.0", "aarch64-ubuntu-gcc9.4"),
    *("aarch64-oe-linux-gcc9.3", "aarch64-oe-linux-gcc11.2", "aarch64-oe-linux-gcc8.2"),
)


@pytest.mark.parametrize(
    ("device", "target"),
    [
        (ANDROID, "aarch64-android"),
        (DeviceSystem("android", "armeabi-v7a"), "arm-android-clang8.0"),
        (DeviceSystem("linux", "aarch64", "ubuntu"), "aarch64-ubuntu-gcc9.4"),
        (DeviceSystem("linux", "aarch64", "qcom-wayland"), "aarch64-oe-linux-gcc11.2"),
        (DeviceSystem("linux", "x86_64", "debian"), "x86_64-linux-clang"),
    ],
)
def test_the_target_fits_the_device(tmp_path: Path, device: DeviceSystem, target: str) -> None:
    assert sdk_target(with_targets(tmp_path, *ALL), device) == target


def test_older_targets(tmp_path: Path) -> None:
    found = with_targets(tmp_path, "aarch64-android-clang8.0", "aarch64-linux-gcc4.9")
    assert sdk_target(found, ANDROID) == "aarch64-android-clang8.0"
    assert sdk_target(found, DeviceSystem("linux", "aarch64", "ubuntu")) == "aarch64-linux-gcc4.9"


def test_no_target(tmp_path: Path) -> None:
    found = with_targets(tmp_path, "x86_64-linux-clang")
    match = (
        r"no binaries for a arm64-v8a device with android: its folder bin has x86_64-linux-clang"
    )
    with pytest.raises(InputError, match=match):
        sdk_target(found, ANDROID)
    assert sdk_target(found, ANDROID, "x86_64-linux-clang") == "x86_64-linux-clang"
    with pytest.raises(
        InputError, match=r"PERSONDET_SNPE_TARGET=mips: the SDK has no folder bin/m"
    ):
        sdk_target(found, ANDROID, "mips")


_TARGET = ("bin/t/snpe-net-run", "bin/t/snpe-throughput-net-run", "lib/t/libSNPE.so")


def test_the_dsp_s_files_of_snpe_2(tmp_path: Path) -> None:
    found = sdk(
        tmp_path,
        "2.25.0",
        *_TARGET,
        "lib/t/libSnpeHtpV73Stub.so",
        "lib/t/libSnpeHtpPrepare.so",
        "lib/t/libQnnHtp.so",
        "lib/t/libc++_shared.so",
        "lib/hexagon-v73/unsigned/libSnpeHtpV73Skel.so",
        "lib/hexagon-v73/unsigned/libQnnHtpV73Skel.so",
    )
    cpu = {"bin/snpe-net-run", "bin/snpe-throughput-net-run", "lib/libSNPE.so"}
    cpu |= {"lib/libc++_shared.so"}
    assert set(device_files(found, "t", "cpu")) == set(device_files(found, "t", "gpu")) == cpu
    dsp = {"lib/libSnpeHtpV73Stub.so", "lib/libSnpeHtpPrepare.so", "dsp/libSnpeHtpV73Skel.so"}
    files = device_files(found, "t", "dsp")
    assert set(files) == cpu | dsp
    assert files["dsp/libSnpeHtpV73Skel.so"].parent.parent.name == "hexagon-v73"


def test_the_dsp_s_files_of_snpe_1(tmp_path: Path) -> None:
    domains = ("lib/t/libsnpe_dsp_domains_v2.so", "lib/dsp/libsnpe_dsp_v66_domains_v2_skel.so")
    found = sdk(tmp_path, "1.68.0", *_TARGET, *domains)
    files = set(device_files(found, "t", "dsp"))
    assert files >= {"lib/libsnpe_dsp_domains_v2.so", "dsp/libsnpe_dsp_v66_domains_v2_skel.so"}
    assert not any("dsp_" in name for name in device_files(found, "t", "cpu"))


def test_incomplete_sdks(tmp_path: Path) -> None:
    found = sdk(tmp_path, "2.25.0", *_TARGET)
    with pytest.raises(InputError, match=r"has no skel in lib/dsp or lib/hexagon-\*/unsigned"):
        device_files(found, "t", "dsp")
    (tmp_path / "lib/t/libSNPE.so").unlink()
    with pytest.raises(InputError, match=r"incomplete: there is no .*lib/t/libSNPE\.so; unpack"):
        device_files(found, "t", "cpu")


def test_skels_are_separated_by_semicolons() -> None:
    variables = device_variables("/data/local/tmp/persondet/snpe", "android")
    assert variables == {
        "LD_LIBRARY_PATH": "/data/local/tmp/persondet/snpe/lib",
        "ADSP_LIBRARY_PATH": "/data/local/tmp/persondet/snpe/dsp;/system/lib/rfsa/adsp;"
        "/system/vendor/lib/rfsa/adsp;/dsp",
    }
    linux = device_variables("/home/u/a b", "linux")["ADSP_LIBRARY_PATH"]
    assert linux == "/home/u/a b/dsp;/usr/lib/rfsa/adsp;/dsp"
    with pytest.raises(InputError, match=r"a folder with : or ; cannot stand in LD_LIBRARY_PATH"):
        device_variables("/a;b", "linux")


@pytest.mark.parametrize(
    ("settings", "version", "more"),
    [
        (RunSettings("cpu"), "2.25", NAMED),
        (RunSettings("gpu_fp16"), "1.68", f"--use_gpu --gpu_mode float16 {NAMED}"),
        (RunSettings("dsp"), "2.5", f"--use_dsp {NAMED}"),
        (RunSettings("dsp"), "1.68", f"--use_dsp {NAMED} {UNSIGNED}"),
        (RunSettings("dsp"), "1.47", f"--use_dsp {UNSIGNED}"),
        (RunSettings("aip"), "1.68", f"--use_aip {NAMED} {UNSIGNED}"),
        (RunSettings("aip", "burst", "off", True), "2.5",
         f"--use_aip --perf_profile burst --profiling_level off --enable_cpu_fallback {NAMED}"),
    ],
)  # fmt: skip
def test_net_run(settings: RunSettings, version: str, more: str) -> None:
    words = net_run_words(settings, parse_version(version), **PATHS, outputs=OUTPUTS)
    first = "--container m.dlc --input_list list.txt --output_dir out"
    assert " ".join(words) == f"{first} {more}".strip()


@pytest.mark.parametrize(
    ("settings", "version", "more"),
    [
        (RunSettings("gpu_fp16", "burst"), "2.5",
         f"--use_gpu_fp16 --input_raw a.raw --perf_profile burst {NAMED}"),
        (RunSettings("dsp"), "2.46", f"--use_dsp --input_raw a.raw {NAMED}"),
        (RunSettings("dsp"), "1.68", f"--use_dsp --input_raw a.raw {UNSIGNED}"),
        (RunSettings("aip"), "1.51", f"--use_aip --input_raw a.raw {UNSIGNED}"),
        (RunSettings("cpu"), "1.68", "--use_cpu --input_raw a.raw"),
    ],
)  # fmt: skip
def test_throughput(settings: RunSettings, version: str, more: str) -> None:
    words = throughput_words(
        *(settings, parse_version(version)),
        container="m.dlc",
        duration_s=3,
        input_raw="a.raw",
        outputs=OUTPUTS,
    )
    assert " ".join(words) == f"--container m.dlc --duration 3 {more}"
    parse("snpe-throughput-net-run", version, list(words))


@pytest.mark.parametrize(
    ("settings", "version", "match"),
    [
        (RunSettings("npu"), "2.5", r"runtime 'npu': expected one of cpu, gpu, gpu_fp16, dsp, aip"),
        (
            RunSettings("cpu", "fast"),
            "2.5",
            r"perf profile 'fast': expected one of system_settings",
        ),
        (RunSettings("cpu", "low_balanced"), "1.68", r"SNPE 1\.68 has none; it came with 2\.5"),
        (RunSettings("cpu", "extreme_power_saver"), "2.10", r"it came with 2\.25"),
        (RunSettings("cpu", None, "all"), "2.5", r"profiling level 'all': expected one of off, ba"),
        (RunSettings("cpu", None, "linting"), "1.68", r"linting: SNPE 1\.68 has none; 2\.0 and"),
    ],
)
def test_settings_that_a_version_lacks(settings, version, match) -> None:
    with pytest.raises(InputError, match=match):
        check_settings(settings, parse_version(version))
