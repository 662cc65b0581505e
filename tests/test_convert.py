"""export.convert, embedded, verify and the command: the DLC is that graph, or there is no DLC."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from export import embedded
from export.convert import context_binary_path, convert
from export.onnx_export import export_onnx
from export.socs import soc
from export.verify import onnx_parameters, prove_dlc
from persondet.checkpoint import Checkpoint
from persondet.cli import cli
from persondet.errors import InputError, PersondetError
from persondet.networks import build_network, initialise
from persondet.preprocess import preprocess
from persondet.sidecar import read_sidecar, sha256_of, sidecar_path, spec_beside
from persondet.zoo import detector_spec, network_names
from runtime.backend import open_backend
from runtime.qairt.reader import read_dlc


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path_factory, monkeypatch):
    """Nothing may be left in it."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("network_name", network_names())
def test_every_network_of_the_zoo(network_name, tmp_path) -> None:
    spec = detector_spec(network_name)
    network = build_network(spec).eval()
    initialise(network)
    stand_in = tmp_path / "x.pth"
    stand_in.write_bytes(b"")
    exported = export_onnx(Checkpoint(spec, network, (), stand_in), tmp_path / "x.onnx")

    result = convert(exported.path)

    assert (result.path, result.spec) == (tmp_path / "x.dlc", spec)
    model = onnx.load(exported.path)
    assert result.proof.parameters == onnx_parameters(model)
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    ops = result.proof.ops
    assert ops["Conv2d"] + ops["DepthWiseConv2d"] == convolutions
    with zipfile.ZipFile(result.path) as archive:
        assert archive.testzip() is None


def test_the_sidecar(tiny_onnx, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/persondet", "convert", "tiny.onnx"])
    result = convert(tiny_onnx, tmp_path / "deep" / "folder" / "x.dlc")
    record = read_sidecar(result.path)
    assert record is not None
    assert record["step"] == "convert"
    assert record["command"] == ["persondet", "convert", "tiny.onnx"]
    assert record["artefact"]["sha256"] == sha256_of(result.path)
    assert record["inputs"] == [
        {"name": "tiny.onnx", "sha256": sha256_of(tiny_onnx), "bytes": tiny_onnx.stat().st_size}
    ]
    assert {"onnxruntime-qnn", "onnxruntime", "onnx"} <= set(record["versions"])
    details = record["details"]
    assert (details["toolchain"], details["parameters"]) == ("embedded", result.proof.parameters)
    assert details["ops"] == result.proof.ops
    assert details["quantized"] is False
    assert spec_beside(result.path) == result.spec


def _with_node(model: onnx.ModelProto, op_type: str, name: str, output: str) -> None:
    """Put a node of one input behind an output, which keeps its name."""
    for node in model.graph.node:
        node.output[:] = [f"{output}_raw" if o == output else o for o in node.output]
    model.graph.node.append(helper.make_node(op_type, [f"{output}_raw"], [output], name))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Hardmax", "the_odd_one", "scores")], r"the nodes the_odd_one \(Hardmax\); replace"),
        (
            [("Celu", "first", "scores"), ("Hardmax", "second", "boxes")],
            r"first \(Celu\), second \(Hardmax\)",
        ),
    ],
)
def test_nodes_that_the_htp_does_not_take_are_named(tiny_onnx, tmp_path, nodes, message) -> None:
    model = onnx.load(tiny_onnx)
    for node in nodes:
        _with_node(model, *node)
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"x\.onnx cannot become a DLC: Qualcomm's.*" + message):
        convert(tmp_path / "x.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_a_node_in_the_middle_is_named_too(tiny_onnx, tmp_path) -> None:
    """It would split the graph into two DLC files, or stay on the CPU without a word."""
    model = onnx.load(tiny_onnx)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.name = "Celu", "in_the_middle"
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(InputError, match=r"the nodes in_the_middle \(Celu\)"):
        convert(tmp_path / "x.onnx")


def test_nodes_without_names_or_with_odd_ones(tiny_onnx, tmp_path) -> None:
    """Other tools leave the names away; the proof goes by names."""
    expected = convert(tiny_onnx, tmp_path / "expected.dlc").proof
    for number, name in enumerate(("", "a:b/ü {}_token_7")):
        model = onnx.load(tiny_onnx)
        for index, node in enumerate(model.graph.node):
            node.name = name.format(index)
        onnx.save(model, tmp_path / f"{number}.onnx")
        assert convert(tmp_path / f"{number}.onnx").proof == expected


@pytest.fixture
def earlier(tiny_onnx, tmp_path) -> Path:
    """A DLC of an earlier run with its sidecar, alone in its folder."""
    return convert(tiny_onnx, tmp_path / "x.dlc").path


def _fail(error: Exception):
    def failing(*_args, **_options):
        raise error

    return failing


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ("run_module", PersondetError("crashed (SIGSEGV)"), "crashed"),
        ("repack", OSError(errno.ENOSPC, "No space left on device"), r"x\.dlc: No space left"),
        ("read_dlc", InputError("the loader refuses it"), "refuses"),
        ("prove_dlc", PersondetError("not that graph"), "not that graph"),
    ],
)
def test_a_failure_leaves_the_earlier_files(
    earlier, rfb_onnx, monkeypatch, step, error, message
) -> None:
    before = _contents(earlier.parent)
    monkeypatch.setattr(embedded, step, _fail(error))
    with pytest.raises(PersondetError, match=message):
        convert(rfb_onnx, earlier)
    assert _contents(earlier.parent) == before


def test_a_graph_that_falls_into_parts_is_refused_naming_the_node(
    earlier, tiny_onnx, tmp_path
) -> None:
    """onnxruntime expands Mish into what the HTP takes in part: two DLCs around the rest."""
    model = onnx.load(tiny_onnx)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.name = "Mish", "my_mish"
    model.opset_import[0].version = 18
    onnx.save(model, tmp_path / "mish.onnx")
    before = _contents(earlier.parent)
    with pytest.raises(InputError, match=r"mish\.onnx cannot become .*my_mish \(Mish\)"):
        convert(tmp_path / "mish.onnx", earlier)
    assert _contents(earlier.parent) == before


def test_a_full_temporary_folder_is_told_from_other_failures(earlier, tiny_onnx, monkeypatch):
    message = "[ONNXRuntimeError] : 11 : EP_FAIL : Graph finalize failed, Code: 6022"
    answer = {"refused": [], "message": message}
    monkeypatch.setattr(embedded, "run_module", lambda *_, **__: answer)
    with pytest.raises(InputError, match=r"is the disk full\? .*TMPDIR names another"):
        convert(tiny_onnx, earlier)


def test_without_the_wheel(tiny_onnx, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"onnxruntime-qnn, which is not installed: pip install"):
        convert(tiny_onnx, tmp_path / "x.dlc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(tiny_onnx, tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        convert(tiny_onnx, tmp_path / "x.dlc")


def test_destinations_that_cannot_be(tiny_onnx, tmp_path) -> None:
    with pytest.raises(InputError, match=r"the result's name must end in \.dlc"):
        convert(tiny_onnx, tiny_onnx)
    (tmp_path / "folder.dlc").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        convert(tiny_onnx, tmp_path / "folder.dlc")


def test_the_proof_lists_every_difference(tiny_onnx, tiny_dlc, tiny_checkpoint) -> None:
    model, graph, spec = onnx.load(tiny_onnx), read_dlc(tiny_dlc), tiny_checkpoint.spec
    prove_dlc(model, spec, graph, tiny_onnx)

    lost = next(op for op in graph.ops if op.type == "DepthWiseConv2d")
    fewer = dataclasses.replace(graph, ops=tuple(op for op in graph.ops if op is not lost))
    with pytest.raises(PersondetError, match=r"is not that graph: .*nothing was written") as caught:
        prove_dlc(model, spec, fewer, tiny_onnx)
    assert f"missing nodes {lost.name.rpartition('_token_')[0]} (Conv)" in str(caught.value)
    parameters = onnx_parameters(model)
    assert f"{parameters - 80:,} convolution parameters, the ONNX has {parameters:,}" in str(
        caught.value
    )

    other = dataclasses.replace(spec, class_names=("background", "person"), input_name="picture")
    with pytest.raises(PersondetError) as caught:
        prove_dlc(model, other, graph, tiny_onnx)
    assert "input 'picture' is missing, found image" in str(caught.value)
    assert "output 'scores': expected float32 (1, 150, 2), got float32 (1, 150, 3)" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["sm8550", "sm8350"])
def test_a_context_binary(tiny_onnx, tmp_path, name) -> None:
    result = convert(tiny_onnx, tmp_path / "x.dlc", soc=soc(name))
    binary = result.context_binary
    assert binary == tmp_path / f"x.{name}.bin"
    assert binary.stat().st_size > 10_000
    record = read_sidecar(binary)
    assert record is not None
    assert (record["step"], record["details"]["soc"]) == ("context-binary", name)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("x.dlc", "x.dlc.json", f"x.{name}.bin", f"x.{name}.bin.json")
    }


def test_a_soc_that_takes_no_floats_leaves_the_earlier_files(earlier, tiny_onnx) -> None:
    before = _contents(earlier.parent)
    with pytest.raises(InputError, match=r"^qcm6490 may not run float graphs.*quantize the model"):
        convert(tiny_onnx, earlier, soc=soc("qcm6490"))
    assert _contents(earlier.parent) == before


def test_the_name_of_a_context_binary() -> None:
    assert context_binary_path(Path("a/m.v2.dlc"), soc("sm8650")) == Path("a/m.v2.sm8650.bin")


def _command(*arguments: object):
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


def test_the_command(tiny_onnx, tmp_path) -> None:
    model = Path(shutil.copy(tiny_onnx, tmp_path))
    result = _command(model, "--context-binary", "--soc", "SM8550")
    assert result.exit_code == 0, result.output
    dlc, binary = result.stdout.splitlines()
    assert dlc.startswith(f"{tmp_path / 'tiny.dlc'}: 0.03 MB, ")
    assert "7 Conv2d" in dlc
    assert "parameters as Qualcomm's loader reads them" in dlc
    assert binary.startswith(f"{tmp_path / 'tiny.sm8550.bin'}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.onnx"], "there is no file gone.onnx"),
        (["."], "is no model: expected a .pth, .onnx or .dlc file"),
        (["{tiny}", "--soc", "sm1"], "unknown SoC 'sm1'; known: sm8350"),
        (["{tiny}", "-o", "x.bin"], "the result's name must end in .dlc"),
        (["{tiny}", "--context-binary"], "--context-binary needs --soc NAME"),
    ],
)
def test_the_commands_errors(tiny_onnx, tmp_path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    result = _command(*(text.format(tiny=tiny_onnx) for text in arguments))
    text = str(result.exception) if isinstance(result.exception, PersondetError) else result.output
    assert message in text
    assert getattr(result.exception, "exit_code", result.exit_code) == 2
    assert list(tmp_path.iterdir()) == []


def _processes_naming(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize("moment", ["imports", "child starts", "child works", "file written"])
def test_ctrl_c(earlier, f38_onnx, temporary_folder, moment) -> None:
    before = _contents(earlier.parent)
    argv = [sys.executable, "-m", "persondet.cli", "convert", str(f38_onnx), "-o", str(earlier)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    reached = {
        "imports": lambda: _has_mapped(process.pid, "onnx_cpp2py_export"),
        "child starts": lambda: list(temporary_folder.glob("persondet-*/log.txt")),
        "child works": lambda: any(
            _has_mapped(int(pid), "libQnnHtp") for pid in _processes_naming(str(f38_onnx))
        ),
        "file written": lambda: list(temporary_folder.glob("persondet-dlc-*/*.dlc")),
    }[moment]
    while not reached():
        assert process.poll() is None, f"finished before {moment}"
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, ""), stderr
    assert stderr.strip() == "persondet: interrupted; nothing half-written was left behind"
    assert _contents(earlier.parent) == before
    assert _processes_naming(str(f38_onnx)) == []


def _has_mapped(pid: int, library: str) -> bool:
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def test_the_sidecar_of_the_session_model_is_whole(tiny_dlc) -> None:
    record = json.loads(sidecar_path(tiny_dlc).read_text())
    assert record["artefact"]["bytes"] == tiny_dlc.stat().st_size


@pytest.mark.parametrize("opset", [9, 10])
def test_a_clip_of_an_old_opset_keeps_its_limits(tiny_checkpoint, tmp_path, opset) -> None:
    """They are attributes there, which QNN drops: 11 dB of SQNR instead of 140."""
    onnx_path = export_onnx(tiny_checkpoint, tmp_path / "old.onnx", opset=opset).path
    convert(onnx_path)
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    tensor = preprocess(picture, tiny_checkpoint.spec)
    float_backend, dlc = open_backend(onnx_path), open_backend(onnx_path.with_suffix(".dlc"))
    expected, found = float_backend.infer(tensor), dlc.infer(tensor)
    dlc.close()
    for name, output in expected.items():
        np.testing.assert_allclose(found[name], output, atol=1e-4)
