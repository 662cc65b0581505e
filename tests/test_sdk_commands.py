"""`convert` and `quantize`: which toolchain, and dry runs; docs/snpe.md is of this table."""

import shlex
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from export.sdk.coverage import document
from export.sdk.dry_run import activation_lines
from export.sdk.sdk import ROOT_VARIABLES, Sdk
from export.sdk.versions import parse_version
from persondet.cli import cli
from persondet.errors import PersondetError


@pytest.fixture(autouse=True)
def folder(tmp_path, tiny_onnx, monkeypatch) -> Path:
    """A working folder with `my model.onnx`, and no SDK in the environment."""
    for name in (*ROOT_VARIABLES, "PERSONDET_SDK_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(tiny_onnx, tmp_path / "my model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*arguments: str):
    return CliRunner().invoke(cli, list(arguments))


def _message(result) -> str:
    error = result.exception
    return str(error) if isinstance(error, PersondetError) else result.output


@pytest.mark.parametrize("version", ["1.47", "1.68", "2.10", "2.25", "2.48.0.260113"])
def test_a_dry_run_needs_no_sdk(version, folder) -> None:
    result = _run("convert", "my model.onnx", "--dry-run", "--sdk-version", version)
    assert result.exit_code == 0, result.output
    *activation, command = result.stdout.splitlines()
    words = shlex.split(command)
    assert words[0] == ("qairt-converter" if version >= "2.25" else "snpe-onnx-to-dlc")
    assert words[1:5] == ["--input_network", "my model.onnx", "--output_path", "my model.dlc"]
    assert f"{version}" in activation[0]
    assert activation[-1].startswith("source ")
    assert [path.name for path in folder.iterdir()] == ["my model.onnx"]
    assert ("the ONNX has opset 17; SNPE 1." in result.stderr) == version.startswith("1.")


def test_the_lines_run_in_a_shell(imitation_sdk, folder, tmp_path_factory) -> None:
    """With `set -u`, after an envsetup.sh that does what the vendor's does."""
    root = tmp_path_factory.mktemp("a b") / "sdk"
    shutil.copytree(imitation_sdk("2.25.0.240728"), root)
    (root / "bin" / "envsetup.sh").write_text(
        f'export PATH="{root}/bin/x86_64-linux-clang:$PATH"\n'
        f'export PYTHONPATH="{root}/lib/python:$PYTHONPATH"\n'
        f'export LD_LIBRARY_PATH="{root}/lib/x86_64-linux-clang:$LD_LIBRARY_PATH"\n'
    )
    dry = _run("convert", "my model.onnx", "--dry-run", "--sdk", str(root))
    assert dry.exit_code == 0, dry.output
    script = folder / "lines.sh"
    script.write_text("set -eu\nunset PYTHONPATH LD_LIBRARY_PATH\n" + dry.stdout)
    subprocess.run(["bash", str(script)], check=True, cwd=folder, capture_output=True)
    assert (folder / "my model.dlc").stat().st_size > 1000


def test_the_interpreter_of_an_sdk_finds_its_onnx() -> None:
    version = parse_version("1.68")
    sdk = Sdk(Path("/opt/snpe"), version, python=Path("/my py/python3.6"))
    assert activation_lines(version, sdk) == [
        "export SNPE_ROOT=/opt/snpe",
        "source /opt/snpe/bin/envsetup.sh -o "
        "\"$('/my py/python3.6' -c 'import onnx; print(onnx.__path__[0])')\"",
    ]
    assert "python3 -c" in activation_lines(version, None)[-1]


def test_a_dry_run_of_quantize(folder, astronaut) -> None:
    arguments = ("quantize", "my model.onnx", "--dry-run", "--sdk-version", "2.39", "-o", "q.dlc")
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    *_, comment, convert, quantize = result.stdout.splitlines()
    assert comment.startswith(
        "# the list and its files come from `persondet quantize ... --dry-run"
    )
    assert "--output_path q.float.dlc" in convert
    assert quantize == (
        "qairt-quantizer --input_dlc q.float.dlc --input_list q.raw/input_list.txt "
        "--output_dlc q.dlc"
    )
    assert len(list(folder.iterdir())) == 1

    result = _run(*arguments, "--raw-files", "raw", "--calib", str(astronaut))
    assert result.exit_code == 0, result.output
    assert "# " not in result.stdout
    (path,) = (folder / "raw" / "input_list.txt").read_text().splitlines()
    assert Path(path) == folder / "raw" / "00000_astronaut.raw"
    assert Path(path).stat().st_size == 48 * 80 * 3 * 4


def test_a_dry_run_of_a_fallback_to_floats_has_no_list(folder) -> None:
    (folder / "e.json").write_text('{"activation_encodings": {}, "param_encodings": {}}')
    words = ("quantize", "my model.onnx", "--dry-run", "--sdk-version", "2.45", "-o", "q.dlc")
    result = _run(*words, "--encodings", "e.json", "--float-fallback")
    assert result.exit_code == 0, _message(result)
    assert "#" not in result.stdout
    assert result.stdout.splitlines()[-1] == (
        "qairt-quantizer --input_dlc q.float.dlc --output_dlc q.dlc --enable_float_fallback"
    )
    result = _run(*words, "--encodings", "e.json", "--float-fallback", "--calibration", "mse")
    assert "--calibration: --float-fallback calibrates nothing" in _message(result)


def test_a_dry_run_of_a_cache_of_snpe_1_says_what_the_list_lacks(folder, astronaut) -> None:
    words = ("quantize", "my model.onnx", "--dry-run", "--sdk-version", "1.68", "--soc", "sm8350")
    for more in ((), ("--calib", str(astronaut), "--raw-files", "raw")):
        assert "# the cache is of the last output alone, unless" in _run(*words, *more).stdout
    assert "last output" not in _run(*words[:-2]).stdout


def test_a_dry_run_where_a_list_cannot_name_its_files(folder, astronaut, monkeypatch) -> None:
    """What is proposed for --raw-files works."""
    (folder / "a b").mkdir()
    (folder / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "t"))
    words = ("quantize", "my model.onnx", "--dry-run", "--sdk-version", "2.10", "-o", "a b/q.dlc")
    comment = next(line for line in _run(*words).stdout.splitlines() if "--raw-files" in line)
    proposed = comment.rstrip("`").split("--raw-files ")[1].split("`")[0]
    assert proposed == str(folder / "t" / "q.raw")
    result = _run(*words, "--raw-files", proposed, "--calib", str(astronaut))
    assert result.exit_code == 0, _message(result)
    assert (folder / "t" / "q.raw" / "input_list.txt").exists()


def test_a_dry_run_of_a_checkpoint_begins_with_the_export(f38_checkpoint) -> None:
    result = _run("convert", str(f38_checkpoint), "--dry-run", "--sdk-version", "1.68")
    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()[0], result.stdout.splitlines()[-1]
    onnx_path = f38_checkpoint.with_suffix(".onnx")
    assert first == f"persondet export {f38_checkpoint} -o {onnx_path} --opset 11"
    assert last.startswith(f"snpe-onnx-to-dlc --input_network {onnx_path} ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dry-run"],
            "--dry-run: no SDK is known; set SNPE_ROOT or QAIRT_SDK_ROOT to its folder, or",
        ),
        (["--toolchain", "snpe"], "give --sdk DIR; what needs none is --toolchain embedded"),
        (["--sdk-version", "2.39"], "--sdk DIR, or --dry-run to see that version's commands"),
        (["--float-bits", "16"], "--float-bits: no SDK is known"),
        (["--dry-run", "--sdk-version", "2.45", "--soc", "sm8550"], "needs --float-bits 16"),
        (
            ["--dry-run", "--sdk-version", "2.45", "--float-bits", "16", "--soc", "QCS6490"],
            "--soc QCS6490: its HTP is a v68, which has no half precision",
        ),
        (
            ["--soc", "sm8550,sm8650"],
            "--soc sm8550,sm8650: the toolchain embedded compiles for one",
        ),
        (["--soc", "sm8550,"], "expected NAME or NAME,NAME"),
        (["--optimization-level", "3"], "--optimization-level: no SDK is known"),
        (["--no-simplify"], "--no-simplify: no SDK is known"),
        (
            ["--toolchain", "embedded", "--dry-run"],
            "--dry-run: of the toolchain snpe, not embedded",
        ),
        (["--sdk-version", "x"], "'x' is no SDK version"),
        (["--sdk", "."], "is incomplete: it has no bin/x86_64-linux-clang"),
        (["--dry-run", "--sdk-version", "1.3"], "SDK 1.3 is older than 1.40"),
        (["--dry-run", "--sdk-version", "1.68", "--float-bits", "16"], "2.0 on (snpe-onnx-to"),
        (
            ["--dry-run", "--sdk-version", "1.68", "--context-binary"],
            "--context-binary is of the toolchain embedded",
        ),
    ],
)
def test_errors_of_convert(arguments, message, folder) -> None:
    result = _run("convert", "my model.onnx", *arguments)
    assert message in _message(result)
    assert getattr(result.exception, "exit_code", result.exit_code) == 2
    assert [path.name for path in folder.iterdir()] == ["my model.onnx"]


@pytest.mark.parametrize("command", ["convert", "quantize"])
def test_a_dry_run_of_a_model_that_is_none(command, folder) -> None:
    arguments = ("--dry-run", "--sdk-version", "1.68")
    result = _run(command, "gone.onnx", *arguments)
    assert "there is no file gone.onnx" in _message(result)
    model = onnx.load(folder / "my model.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "foreign.onnx")
    result = _run(command, "foreign.onnx", *arguments)
    assert "foreign.onnx has no detector spec in its metadata" in _message(result)
    assert result.stdout == ""


def test_the_line_that_a_dry_run_proposes_can_be_run(folder, astronaut) -> None:
    """The default folder has no blanks, though the model's name has one."""
    words = ["quantize", "my model.onnx", "--dry-run", "--sdk-version", "2.39"]
    result = _run(*words)
    (comment,) = (line for line in result.stdout.splitlines() if line.startswith("#"))
    proposed = shlex.split(comment.partition("... ")[2].rstrip("`"))
    assert proposed[:3] == ["--dry-run", "--calib", "DIR"]
    assert _run(*words[:2], "--sdk-version", "2.39", *proposed[:2], str(astronaut), *proposed[3:])
    assert (folder / "my_model.quantized.raw" / "input_list.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calib", ".", "--calibration", "sqnr"], "--calibration sqnr: of the toolchain snpe"),
        (["--calib", ".", "--cle"], "--cle: no SDK is known"),
        (["--dry-run", "--sdk-version", "1.47", "--per-channel"], "versions that have one: 1.56"),
        (["--dry-run", "--sdk-version", "2.39", "--raw-files", "r"], "--raw-files needs --calib"),
        (["--dry-run", "--sdk-version", "2.39", "--native-inputs"], "input type is float32"),
        (["--dry-run", "--sdk-version", "2.39", "--float-fallback"], "needs --encodings FILE"),
        (
            ["--dry-run", "--sdk-version", "2.39", "--soc", "qcs9075"],
            "it takes sm8350, sm8450, sm8550, sm8650, sm8750, qcs6490, qcs8550",
        ),
        (
            ["--dry-run", "--sdk-version", "2.39", "--optimization-level", "3"],
            "--optimization-level is of the graph prepared for a SoC",
        ),
        (
            ["--dry-run", "--sdk-version", "2.39", "--enable-hta"],
            "1.40 to 1.68 (snpe-dlc-quantize)",
        ),
    ],
)
def test_errors_of_quantize(arguments, message, folder) -> None:
    result = _run("quantize", "my model.onnx", *arguments)
    assert message in _message(result)
    assert getattr(result.exception, "exit_code", result.exit_code) == 2
    assert [path.name for path in folder.iterdir()] == ["my model.onnx"]


def test_the_environment_chooses(imitation_sdk, folder, monkeypatch) -> None:
    root = imitation_sdk("2.5.0.4052")
    monkeypatch.setenv("SNPE_ROOT", str(root))
    result = _run("convert", "my model.onnx", "-o", "s.dlc")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == (
        f"toolchain snpe: SNPE 2.5.0.4052 in {root} (SNPE_ROOT); without it: --toolchain embedded"
    )
    assert result.stdout.startswith("s.dlc: 0.0")
    assert "parameters as Qualcomm's loader reads them" in result.stdout
    result = _run("convert", "my model.onnx", "-o", "e.dlc", "--toolchain", "embedded")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    result = _run("quantize", "my model.onnx")
    assert "give --calib DIR|LIST|VIDEO: an SDK quantizes on pictures" in result.output


def test_the_document_is_of_this_table() -> None:
    path = Path(__file__).parents[1] / "docs" / "snpe.md"
    assert path.read_text(encoding="utf-8") == document(), (
        "write it again: python -m export.sdk.coverage > docs/snpe.md"
    )
