"""Tools that lie, fail, hang or break off: a clear error, nothing earlier lost, nothing left."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from export.sdk.command_lines import toolset_of
from export.sdk.intent import ConvertIntent, QuantizeIntent
from export.sdk.sdk import Sdk, find_sdk
from export.sdk.toolchain import Toolchain, convert
from export.sdk.versions import parse_version
from persondet.errors import InputError, PersondetError
from persondet.sidecar import read_sidecar
from quantize.calibration_set import calibration_set
from quantize.presets import Equalization
from quantize.sdk_quantizer import quantize_with_sdk, write_calibration
from runtime.qairt.container import check_container

EARLIER = b"of an earlier run"


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """Nothing may be left in it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def toolchain_of(imitation_sdk):
    def made(version: str, **changes) -> Toolchain:
        sdk = find_sdk({}, folder=imitation_sdk(version))
        assert sdk is not None
        return Toolchain(sdk, toolset_of(sdk.version), **changes)

    return made


def _convert(onnx_path: Path, destination: Path, toolchain: Toolchain, **wishes):
    return convert(onnx_path, destination, toolchain=toolchain, intent=ConvertIntent(**wishes))


def test_a_float_dlc(toolchain_of, tiny_onnx, tmp_path) -> None:
    """From a folder with a blank, and a model whose name is a shell's business."""
    source = tmp_path / "a b" / "-x; $(reboot).onnx"
    source.parent.mkdir()
    shutil.copy(tiny_onnx, source)
    lines: list[str] = []
    toolchain = toolchain_of("2.48.0.260113", on_line=lines.append)
    result = _convert(source, tmp_path / "a b" / "t.dlc", toolchain)
    record = read_sidecar(result.path)
    assert record is not None
    assert record["details"]["sdk"] == {"name": "QAIRT 2.48.0.260113", "version": "2.48.0.260113"}
    assert record["details"]["commands"] == [
        "qairt-converter --input_network x_reboot.onnx --output_path x_reboot.dlc "
        "--source_model_input_layout image NCHW --desired_input_layout image NHWC "
        "--out_tensor_name scores --out_tensor_name boxes"
    ]
    assert record["spec"]["input_format"] == "float-nhwc"
    assert any("Conversion completed successfully" in line for line in lines)
    assert {path.name for path in source.parent.iterdir()} == {source.name, "t.dlc", "t.dlc.json"}


def test_crcs_that_the_writer_left_out_are_put_in(toolchain_of, tiny_onnx, tmp_path) -> None:
    import zipfile

    result = _convert(tiny_onnx, tmp_path / "t.dlc", toolchain_of("2.48.0.260113"))
    with zipfile.ZipFile(result.path) as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("silent_success", r"ended with exit code 0, but wrote no file"),
        ("lying_success", r"ended with exit code 0, but wrote no file"),
        ("writes_then_fails", r"failed with exit code 255\n"),
        (
            "truncated",
            r"wrote a file that is no DLC: t.* truncated or damaged DLC \(.*\)\nits last",
        ),
        ("killed", r"was ended by signal 9"),
        ("no_python_module", r"(?s)failed with exit code.*No module named.*\n  cause: .*\n  fix: "),
    ],
)
def test_a_converter_that_fails(
    toolchain_of, tiny_onnx, tmp_path, monkeypatch, fault, message
) -> None:
    destination = tmp_path / "t.dlc"
    destination.write_bytes(EARLIER)
    monkeypatch.setenv("IMITATION_FAULT", fault)
    with pytest.raises(PersondetError, match=message) as caught:
        _convert(tiny_onnx, destination, toolchain_of("2.5.0.4052"))
    assert str(caught.value).startswith("snpe-onnx-to-dlc of SNPE 2.5.0.4052 ")
    assert str(caught.value).endswith(f"all that was printed: {destination}.log")
    assert "snpe-onnx-to-dlc" in Path(f"{destination}.log").read_text()
    assert destination.read_bytes() == EARLIER
    assert {path.name for path in tmp_path.iterdir()} == {"t.dlc", "t.dlc.log"}


def test_a_converter_that_hangs(toolchain_of, tiny_onnx, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMITATION_FAULT", "hangs")
    toolchain = toolchain_of("1.68.0.3932", timeout_s=1.5)
    with pytest.raises(
        PersondetError, match=r"did not finish in 1\.5 s and was stopped; --tool-timeout"
    ):
        _convert(tiny_onnx, tmp_path / "t.dlc", toolchain)
    assert {path.name for path in tmp_path.iterdir()} == {"t.dlc.log"}


def test_another_python_is_named(toolchain_of, tiny_onnx, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMITATION_FAULT", "no_python_module")
    with pytest.raises(PersondetError, match=r"ran in Python 3\.1\d; SNPE 2\.5\.0\.4052 is .*3\.8"):
        _convert(tiny_onnx, tmp_path / "t.dlc", toolchain_of("2.5.0.4052"))


def _own_tool(root: Path, name: str, text: str, version: str = "2.5.0.4052") -> Sdk:
    for part in ("bin/x86_64-linux-clang", "lib/x86_64-linux-clang", "lib/python"):
        (root / part).mkdir(parents=True, exist_ok=True)
    path = root / "bin/x86_64-linux-clang" / name
    path.write_text(text)
    path.chmod(0o755)
    sdk = find_sdk({}, folder=root, version=parse_version(version))
    assert sdk is not None
    return sdk


def test_a_file_of_snpe_1_without_the_line(tiny_onnx, tiny_dlc, tmp_path) -> None:
    script = f"#!/bin/sh\ncp {tiny_dlc} tiny.dlc\necho INFO_CONVERSION_SUCCESS >&2\n"
    sdk = _own_tool(tmp_path / "sdk", "snpe-onnx-to-dlc", script, "1.68.0.3932")
    with pytest.raises(PersondetError, match=r"never said 'Conversion completed successfully'"):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))


@pytest.mark.parametrize("version", ["2.5.0.4052", "2.25.0.240728"])
def test_from_2_0_on_the_file_is_the_proof(
    imitation_sdk, tiny_onnx, tmp_path, pictures, version
) -> None:
    """Each tool's file, in its place and right, by tools that say nothing at all."""
    root = tmp_path / "sdk"
    shutil.copytree(imitation_sdk(version), root)
    for tool in (root / "bin" / "x86_64-linux-clang").iterdir():
        real = tool.rename(tool.with_name(f"{tool.name}.real"))
        if tool.name.startswith("qairt") or "onnx" in tool.name:
            tool.write_text(f'#!/bin/sh\nexec {sys.executable} {real} "$@" 2>/dev/null\n')
        else:
            tool.write_text(f'#!/bin/sh\nexec {real} "$@" >/dev/null 2>&1\n')
        tool.chmod(0o755)
    sdk = find_sdk({}, folder=root, version=parse_version(version))
    assert sdk is not None
    toolchain = Toolchain(sdk, toolset_of(sdk.version))
    result = _quantize(tiny_onnx, tmp_path / "q.dlc", toolchain, pictures, socs=("sm8550",))
    assert result.proof.counted is not None
    assert not [note for note in result.notes if "said" in note or "cache" in note]


def test_a_preparation_that_adds_nothing_is_noted(
    toolchain_of, imitation_sdk, tiny_onnx, tmp_path, pictures
) -> None:
    root = tmp_path / "sdk"
    shutil.copytree(imitation_sdk("2.5.0.4052"), root)
    script = "#!/bin/sh\ncp tiny.quantized.uncached.dlc tiny.quantized.dlc\n"
    sdk = _own_tool(root, "snpe-dlc-graph-prepare", script)
    toolchain = Toolchain(sdk, toolset_of(sdk.version))
    result = _quantize(tiny_onnx, tmp_path / "q.dlc", toolchain, pictures, socs=("sm8550",))
    assert any("may hold no cache: expect a slow start" in note for note in result.notes)


def test_what_graph_prepare_says_first_is_no_failure(
    toolchain_of, tiny_onnx, tmp_path, pictures
) -> None:
    lines: list[str] = []
    toolchain = toolchain_of("2.48.0.260113", on_line=lines.append)
    _quantize(tiny_onnx, tmp_path / "q.dlc", toolchain, pictures, socs=("qcs6490",))
    assert any("No cache record in the DLC matches" in line for line in lines)
    assert any("Successfully created cache for QCS6490" in line for line in lines)
    assert any("Quantized Model saved at: " in line for line in lines)


def test_a_file_of_another_graph(tiny_onnx, tiny_dlc, tmp_path) -> None:
    """A whole DLC and the line, but with the source's layout."""
    line = "echo Conversion completed successfully >&2"
    sdk = _own_tool(
        tmp_path / "sdk", "snpe-onnx-to-dlc", f"#!/bin/sh\ncp {tiny_dlc} tiny.dlc\n{line}\n"
    )
    message = r"is not the graph: input 'image': expected float32 \(1, 48, 80, 3\), got .*3, 48, 80"
    with pytest.raises(PersondetError, match=message):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))
    assert {path.name for path in tmp_path.iterdir()} == {"sdk", "t.dlc.log"}


def test_parts_of_two_sdks(tiny_onnx, tmp_path, shared_dlc) -> None:
    old = shared_dlc / "test_abs.dlc"
    line = "echo Conversion completed successfully >&2"
    sdk = _own_tool(
        tmp_path / "sdk", "snpe-onnx-to-dlc", f"#!/bin/sh\ncp '{old}' tiny.dlc\n{line}\n"
    )
    message = r"SDK 2\.5\.0\.4052 gave a DLC of converter 1\.51\.0\.2663: its parts are of several"
    with pytest.raises(PersondetError, match=message):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))


def test_another_version_than_the_sdks_own(tiny_onnx, tiny_dlc, tmp_path) -> None:
    """As where --sdk-version names SNPE 1.x and the folder is of a newer SDK."""
    script = f"#!/bin/sh\ncp {tiny_dlc} tiny.dlc\necho Conversion completed successfully >&2\n"
    sdk = _own_tool(tmp_path / "sdk", "snpe-onnx-to-dlc", script, "1.68.0.3932")
    message = r"SDK 1\.68\.0\.3932 gave a DLC of QAIRT: it is another SDK.*--sdk-version"
    with pytest.raises(PersondetError, match=message):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))


def test_an_old_file_of_another_graph(tiny_onnx, tmp_path, shared_dlc) -> None:
    old = shared_dlc / "test_abs.dlc"
    script = f"#!/bin/sh\ncp '{old}' tiny.dlc\necho Conversion completed successfully >&2\n"
    sdk = _own_tool(tmp_path / "sdk", "snpe-onnx-to-dlc", script, "1.51.0.2663")
    message = r"SDK 1\.51\.0\.2663 wrote is not the graph: image is missing; scores is missing"
    with pytest.raises(PersondetError, match=message):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))


@pytest.fixture
def pictures(tmp_path, astronaut) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for name in ("a b.png", "#c.png"):
        shutil.copy(astronaut, folder / name)
    return folder


def _quantize(onnx_path, destination, toolchain, pictures, overrides=None, **wishes):
    return quantize_with_sdk(
        onnx_path,
        destination,
        toolchain=toolchain,
        calibration=calibration_set(pictures),
        converting=ConvertIntent(overrides=overrides),
        quantizing=QuantizeIntent(**wishes),
        equalization=Equalization.NONE,
    )


@pytest.mark.parametrize("version", ["1.68.0.3932", "2.25.0.240728"])
def test_a_quantized_dlc(toolchain_of, tiny_onnx, tmp_path, pictures, version) -> None:
    result = _quantize(
        *(tiny_onnx, tmp_path / "q.dlc", toolchain_of(version), pictures),
        **{"per_channel": True, "socs": ("sm8550",), "bias_correction": True},
    )
    record = read_sidecar(result.path)
    assert record is not None
    assert [picture["name"] for picture in record["details"]["pictures"]] == ["#c.png", "a b.png"]
    assert len(record["details"]["commands"]) == (2 if version < "2" else 3)
    generation = check_container(result.path).generation
    assert record["details"]["container"] == generation == result.proof.generation
    notes = " ".join(result.notes)
    assert ("no effect" in notes) == (version > "2")
    assert ("has opset 17; SNPE 1.68.0.3932 is known to take 9 to 11" in notes) == (version < "2")


def test_an_interpreter_that_is_none(imitation_sdk, tiny_onnx, tmp_path) -> None:
    root = imitation_sdk("2.5.0.4052")
    sdk = find_sdk({"PATH": "/bin:/usr/bin"}, folder=root, python=Path("false"))
    assert sdk is not None
    message = r"(?s)failed with exit code 1.*false does not run as a Python; .* for 3\.8 or 3\.6"
    with pytest.raises(PersondetError, match=message):
        _convert(tiny_onnx, tmp_path / "t.dlc", Toolchain(sdk, toolset_of(sdk.version)))


def test_a_temporary_folder_with_blanks(
    toolchain_of, tiny_onnx, tmp_path, pictures, temporary_folder, monkeypatch
) -> None:
    blank = tmp_path / "t m p"
    blank.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(blank))
    _quantize(tiny_onnx, tmp_path / "q.dlc", toolchain_of("2.25.0.240728"), pictures)
    assert list(blank.iterdir()) == []


@pytest.mark.parametrize("fault", ["snpe-dlc-quant:silent_success", "snpe-dlc-quant:no_space"])
def test_a_quantizer_that_fails(
    toolchain_of, tiny_onnx, tmp_path, pictures, monkeypatch, fault
) -> None:
    destination = tmp_path / "q.dlc"
    destination.write_bytes(EARLIER)
    monkeypatch.setenv("IMITATION_FAULT", fault)
    with pytest.raises(PersondetError, match=r"snpe-dlc-quant of SNPE 2\.5\.0\.4052 "):
        _quantize(tiny_onnx, destination, toolchain_of("2.5.0.4052"), pictures)
    assert destination.read_bytes() == EARLIER
    assert {path.name for path in tmp_path.iterdir()} == {"my pictures", "q.dlc", "q.dlc.log"}


def test_a_quantizer_that_gives_the_float_graph_back(
    toolchain_of,
    tiny_onnx,
    tmp_path,
    pictures,
    imitation_sdk,
) -> None:
    root = tmp_path / "sdk"
    shutil.copytree(imitation_sdk("2.5.0.4052"), root)
    sdk = _own_tool(
        root,
        "snpe-dlc-quant",
        "#!/bin/sh\ncp tiny.dlc tiny.quantized.dlc\necho Saved quantized dlc\n",
    )
    with pytest.raises(PersondetError, match=r"the weights .* are not quantized"):
        toolchain = Toolchain(sdk, toolset_of(sdk.version))
        _quantize(tiny_onnx, tmp_path / "q.dlc", toolchain, pictures)


def test_before_the_first_tool_runs(toolchain_of, tiny_onnx, tmp_path, pictures) -> None:
    old, overrides = toolchain_of("1.68.0.3932"), tmp_path / "e.json"
    destination = tmp_path / "q.dlc"
    overrides.write_text('{"activation_encodings": {"no_such": []}, "param_encodings": {"w": []}}')
    with pytest.raises(InputError, match=r"e\.json names 2 tensors that .*not have: no_such, w;"):
        _quantize(tiny_onnx, destination, old, pictures, overrides)
    overrides.write_text('{"activation_encodings": {}}')
    with pytest.raises(InputError, match=r"e\.json is no encodings file"):
        _quantize(tiny_onnx, destination, old, pictures, overrides)
    with pytest.raises(InputError, match=r"--native-inputs: the model's own input type is float32"):
        _quantize(tiny_onnx, destination, old, pictures, native_inputs=True)
    with pytest.raises(InputError, match=r"--weight-bits 4.*2\.25 on"):
        _quantize(tiny_onnx, destination, old, pictures, weight_bits=4)
    incomplete = dataclasses.replace(old.sdk, root=tmp_path / "empty")
    with pytest.raises(InputError, match=r"is incomplete: .*snpe-onnx-to-dlc; unpack"):
        _quantize(tiny_onnx, destination, Toolchain(incomplete, old.tools), pictures)
    assert {path.name for path in tmp_path.iterdir()} == {"my pictures", "e.json"}


def test_calibration_files_refuse_a_folder_with_blanks(tiny_checkpoint, tmp_path, pictures) -> None:
    chosen = calibration_set(pictures)
    with pytest.raises(InputError, match=r"cannot be in an input list"):
        write_calibration(chosen, tiny_checkpoint.spec, tmp_path / "a b", native=False)
    assert not (tmp_path / "a b").exists()
    listed = write_calibration(chosen, tiny_checkpoint.spec, tmp_path / "raw", native=False)
    assert listed.read_text().splitlines() == [
        f"{tmp_path}/raw/00000_c.raw",
        f"{tmp_path}/raw/00001_a_b.raw",
    ]
