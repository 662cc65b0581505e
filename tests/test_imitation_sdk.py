"""The imitation holds to the contract, and what it writes is real."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
from imitation_sdk import VERSIONS, linux_target, make_sdk
from imitation_sdk.command_line import ToolError, parse
from imitation_sdk.dlc import commands_of, entries_of, read_graph, write_entries
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401
from imitation_sdk.flags import flags_of
from imitation_sdk.layout import HOST

from export.sdk.parsers.dlc_info import parse_dlc_info
from export.sdk.parsers.net_run import processed_inputs
from runtime.onnx_session import open_session

OLD, LAST_1, EARLY_2, LATE, NEWEST = VERSIONS
SHAPE_HWC = (48, 80, 3)


def run_tool(root, tool, *words, cwd=None, target=HOST, env=None):
    """The tool with the environment that bin/envsetup.sh gives."""
    usual = {
        **os.environ,
        "LD_LIBRARY_PATH": str(root / "lib" / target),
        "PYTHONPATH": str(root / "lib" / "python"),
    }
    return subprocess.run(
        [root / "bin" / target / tool, *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=cwd,
        env={**usual, **(env or {})},
        timeout=60,
        check=False,
    )


def converter_of(version):
    return "qairt-converter" if version in (LATE, NEWEST) else "snpe-onnx-to-dlc"


def quantizer_of(version):
    return "qairt-quantizer" if version in (LATE, NEWEST) else "snpe-dlc-quantize"


@pytest.fixture(scope="module")
def files(tmp_path_factory, imitation_sdk, tiny_onnx):
    """Raw files, their list, and by version the float and the quantized DLC made with it."""
    folder = tmp_path_factory.mktemp("files")
    generator = np.random.default_rng(0)
    paths = [folder / f"{index}.raw" for index in range(3)]
    for path in paths:
        generator.uniform(-1, 1, SHAPE_HWC).astype("<f4").tofile(path)
    listed = folder / "list.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    made = {}
    for version in (OLD, EARLY_2, NEWEST):
        root, plain, quantized = (
            imitation_sdk(version),
            folder / f"{version}.dlc",
            folder / f"{version}.q.dlc",
        )
        done = run_tool(root, "snpe-onnx-to-dlc", "-i", tiny_onnx, "-o", plain)
        assert done.returncode == 0, done.stderr
        words = ("--input_dlc", plain, "--input_list", listed, "--output_dlc", quantized)
        done = run_tool(root, quantizer_of(version), *words)
        assert done.returncode == 0, done.stderr
        made[version] = plain, quantized
    return folder, listed, made


# --- flags ---


@pytest.mark.parametrize(
    ("tool", "version", "words"),
    [
        ("snpe-onnx-to-dlc", OLD, "--quantization_overrides o.json --out_node scores"),
        ("snpe-onnx-to-dlc", LAST_1, "-l image NHWC --out_name scores --out_name boxes -n"),
        ("snpe-onnx-to-dlc", EARLY_2, "--float_bw 16 -d image 1,3,48,80"),
        ("snpe-onnx-to-dlc", LATE, "--preserve_io --float_bitwidth=16"),
        ("snpe-dlc-quantize", OLD, "--optimizations cle --optimizations bc --enable_htp"),
        ("snpe-dlc-quantize", LAST_1, "--axis_quant --bias_bitwidth 32 --htp_socs sm8350"),
        ("snpe-dlc-quant", EARLY_2, "--use_per_channel_quantization --use_native_input_files"),
        ("snpe-dlc-quant", LATE, "--param_quantizer symmetric --algorithms cle"),
        ("qairt-quantizer", LATE, "--algorithms cle"),
        ("qairt-quantizer", NEWEST, "--apply_algorithms cle --act_quantizer_calibration sqnr"),
        ("qairt-converter", LATE, "--desired_input_shape image 1,3,48,80"),
        ("qairt-converter", NEWEST, "-s image 1,3,48,80 --target_backend HTP"),
        ("snpe-net-run", LATE, "--perf_profile extreme_power_saver --validate_cache"),
        ("snpe-net-run", OLD, "--userbuffer_tf8 --gpu_mode float16 --use_gpu"),
        ("snpe-dlc-graph-prepare", EARLY_2, "--htp_socs sm8550 --optimization_level 3"),
    ],
)
def test_flags_of_the_version(tool, version, words):
    parse(tool, version, [*_required(tool, version), *words.split()])


@pytest.mark.parametrize(
    ("tool", "version", "words", "message"),
    [
        ("snpe-onnx-to-dlc", "1.43.0.2307", "--quantization_overrides o.json", "unrecognized"),
        ("snpe-onnx-to-dlc", OLD, "-l image NCHW", "unrecognized arguments: -l"),
        ("snpe-onnx-to-dlc", OLD, "--no_simplification", "unrecognized"),
        ("snpe-onnx-to-dlc", OLD, "--out_name scores", "unrecognized"),
        ("snpe-onnx-to-dlc", LAST_1, "--float_bw 16", "unrecognized"),
        ("snpe-onnx-to-dlc", EARLY_2, "--preserve_io", "unrecognized"),
        ("snpe-onnx-to-dlc", LATE, "--float_bw 16", "unrecognized"),
        ("snpe-onnx-to-dlc", LAST_1, "-l image", "expected 2 arguments"),
        ("snpe-onnx-to-dlc", LAST_1, "--no_simp", "unrecognized"),
        ("snpe-dlc-quantize", OLD, "--axis_quant", "unrecognised option '--axis_quant'"),
        ("snpe-dlc-quantize", LAST_1, "--use_per_channel_quantization", "unrecognised"),
        ("snpe-dlc-quantize", LAST_1, "--act_bitwidth 4", "'4'.*invalid"),
        ("snpe-dlc-quant", EARLY_2, "--enable_htp", "unrecognised"),
        ("snpe-dlc-quant", EARLY_2, "--algorithms cle", "unrecognised"),
        ("snpe-dlc-quant", LATE, "--optimizations cle", "unrecognised"),
        ("snpe-dlc-quant", LATE, "--act_quantizer_calibration mse", "unrecognised"),
        ("qairt-quantizer", NEWEST, "--algorithms cle", "unrecognized"),
        ("snpe-dlc-quant", NEWEST, "--use_adjusted_weights_quantizer", "unrecognised"),
        ("qairt-quantizer", NEWEST, "--override_params", "unrecognized"),
        ("qairt-quantizer", LATE, "--axis_quant", "unrecognized"),
        ("qairt-converter", LATE, "-s image 1,3,48,80", "unrecognized"),
        ("qairt-converter", NEWEST, "--input_layout image NCHW", "unrecognized"),
        ("qairt-converter", NEWEST, "--target_backend NPU", "invalid choice"),
        ("snpe-net-run", EARLY_2, "--perf_profile extreme_power_saver", "invalid"),
        ("snpe-net-run", LAST_1, "--use_native_input_files", "unrecognised"),
        ("snpe-net-run", EARLY_2, "--use_gpu_mode float16", "unrecognised"),
        ("snpe-net-run", EARLY_2, "--use_cpu", "unrecognised"),
        ("snpe-diagview", LATE, "--csv_format_version 2", "unrecognised"),
    ],
)
def test_flags_of_other_versions_are_refused(tool, version, words, message):
    with pytest.raises(ToolError, match=message):
        parse(tool, version, [*_required(tool, version), *words.split()])


def _required(tool, version):
    flags = [flag for flag in flags_of(tool, version) if flag.required]
    return [word for flag in flags for word in (flag.names[-1], "x")]


def test_what_is_required_is_required():
    with pytest.raises(ToolError, match="-i/--input_network") as error:
        parse("snpe-onnx-to-dlc", LAST_1, [])
    assert error.value.code == 2
    with pytest.raises(ToolError, match="--input_dlc"):
        parse("snpe-dlc-quantize", LAST_1, [])


def test_the_quantizer_of_1_56_has_the_options_that_a_real_one_recorded(shared_dlc):
    record = commands_of(entries_of(shared_dlc / "test_abs_q.dlc"))["quantizer-command"]
    tool, *words = record.split()
    ours = {flag.key for flag in flags_of(tool, "1.56.2.3050")}
    assert ours == {word.partition("=")[0] for word in words}


# --- environment ---


def test_version_and_help(imitation_sdk):
    root = imitation_sdk(LAST_1)
    assert f"SNPE v{LAST_1}" in run_tool(root, "snpe-net-run", "--version").stdout
    assert "--axis_quant" in run_tool(root, "snpe-dlc-quantize", "-h").stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_shape_of_the_folder(imitation_sdk, version):
    root = imitation_sdk(version)
    assert (root / "bin" / "envsetup.sh").is_file()
    assert (root / "bin" / linux_target(version) / "snpe-net-run").is_file()
    assert (root / "lib" / linux_target(version) / "libSNPE.so").is_file()
    tools = {path.name for path in (root / "bin" / HOST).iterdir()}
    assert ("snpe-dlc-quant" in tools) == (version not in (OLD, LAST_1))
    assert ("qairt-converter" in tools) == (version in (LATE, NEWEST))
    skels = "lib/dsp/*skel.so" if version in (OLD, LAST_1) else "lib/hexagon-v68/unsigned/*Skel.so"
    assert list(root.glob(skels))


def test_tools_need_what_envsetup_sets(imitation_sdk):
    root = imitation_sdk(EARLY_2)
    lost = run_tool(root, "snpe-net-run", "--version", env={"LD_LIBRARY_PATH": ""})
    assert lost.returncode == 127 and "libSNPE.so: cannot open shared object" in lost.stderr
    other = str(imitation_sdk(LATE) / "lib" / HOST)
    mixed = run_tool(root, "snpe-net-run", "--version", env={"LD_LIBRARY_PATH": other})
    assert mixed.returncode == 127 and "symbol lookup error" in mixed.stderr
    no_python = run_tool(root, "snpe-onnx-to-dlc", "-h", env={"PYTHONPATH": ""})
    assert no_python.returncode == 1 and "No module named 'qti'" in no_python.stderr


# --- converting ---


@pytest.mark.parametrize("version", [OLD, EARLY_2, NEWEST])
def test_legacy_converter_makes_nhwc(files, version):
    graph = read_graph(files[2][version][0])
    assert graph.tensors["image"].shape == (1, *SHAPE_HWC)
    assert graph.tensors["scores"].shape == (1, 150, 3)


def test_qairt_converter_keeps_nchw(imitation_sdk, tiny_onnx, tmp_path):
    done = run_tool(
        imitation_sdk(LATE), "qairt-converter", "-i", tiny_onnx, "-o", tmp_path / "m.dlc"
    )
    assert "Conversion completed successfully" in done.stderr
    assert read_graph(tmp_path / "m.dlc").tensors["image"].shape == (1, 3, 48, 80)


@pytest.mark.parametrize(
    ("words", "shape"), [((), (1, 80, 3, 48)), (("-l", "image", "NHWC"), (1, 48, 80, 3))]
)
def test_an_nhwc_input_must_be_declared(
    imitation_sdk,
    tiny_uint8_onnx,
    tmp_path,
    words,
    shape,
):
    words = ("-i", tiny_uint8_onnx, "-o", tmp_path / "m.dlc", *words)
    done = run_tool(imitation_sdk(LAST_1), "snpe-onnx-to-dlc", *words)
    assert done.returncode == 0
    assert read_graph(tmp_path / "m.dlc").tensors["image"].shape == shape


def test_log_lines_of_both_generations(imitation_sdk, tiny_onnx, tmp_path):
    words = ("-i", tiny_onnx, "-o", tmp_path / "m.dlc")
    old = run_tool(imitation_sdk(LAST_1), "snpe-onnx-to-dlc", *words).stderr
    assert "INFO - INFO_DLC_SAVE_LOCATION: Saving model at" in old
    assert "WARNING_OP_VERSION_NOT_SUPPORTED" in old  # opset 17
    new = run_tool(imitation_sdk(EARLY_2), "snpe-onnx-to-dlc", *words).stderr
    assert "Simplified model validation is successful" in new
    assert new.rstrip().endswith("INFO_WRITE_SUCCESS:")


def test_containers_of_the_generations(files):
    majors = {version: entries_of(plain)["model"][2] for version, (plain, _) in files[2].items()}
    assert majors == {OLD: 3, EARLY_2: 4, NEWEST: 4}
    with zipfile.ZipFile(files[2][NEWEST][0]) as archive:
        assert all(info.CRC == 0 for info in archive.infolist())


def test_files_of_snpe_1_are_read_as_such(files):
    from runtime.qairt.snpe1 import read_snpe1

    graph = read_snpe1(files[2][OLD][1])
    layers = {layer.name: layer for layer in graph.layers}
    assert layers["image"].shapes == ((1, *SHAPE_HWC),)
    assert graph.is_quantized and graph.parameters == 1596


@pytest.mark.parametrize("version", [OLD, EARLY_2, NEWEST])
def test_metadata_records_commands(files, version):
    plain, quantized = files[2][version]
    commands = commands_of(entries_of(plain))
    assert commands["converter-version"] == version
    assert "disable_batchnorm_folding=False" in commands["converter-command"]
    assert commands["quantizer-command"] == "N/A"
    record = commands_of(entries_of(quantized))["quantizer-command"]
    assert f"input_dlc=[{plain}]" in record and "act_bitwidth=[]" in record
    assert record.startswith("snpe-dlc-quant ") == (version == EARLY_2)


def test_the_history_names_the_quantizer_and_its_version(files):
    """As the schema of Qualcomm's loader demands it."""
    from runtime.qairt.container import check_container
    from runtime.qairt.generation import origin_of

    steps = origin_of(check_container(files[2][NEWEST][1])).steps
    assert [(step.tool, step.version) for step in steps] == [
        ("snpe-onnx-to-dlc", NEWEST),
        ("qairt-quantizer", NEWEST),
    ]


@pytest.mark.parametrize("version", ["2.33.0.250327", "2.39.0.250926"])
def test_records_between_text_and_history_are_readable(tiny_onnx, tmp_path, version):
    root = make_sdk(tmp_path, version)
    run_tool(root, "qairt-converter", "-i", tiny_onnx, "-o", tmp_path / "m.dlc")
    assert read_graph(tmp_path / "m.dlc").inputs == ("image",)
    assert commands_of(entries_of(tmp_path / "m.dlc"))["converter-version"] == version


def test_converter_failures(imitation_sdk, tiny_onnx, tmp_path):
    root, broken = imitation_sdk(NEWEST), tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    assert run_tool(root, "qairt-converter", "-i", broken).returncode == 255
    model = onnx.load(tiny_onnx)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, tmp_path / "dynamic.onnx")
    done = run_tool(root, "qairt-converter", "-i", tmp_path / "dynamic.onnx")
    assert "Missing command line inputs for dynamic inputs ['image']" in done.stderr
    words = ("-i", tiny_onnx, "-o", tmp_path / "nowhere" / "m.dlc")
    assert "No such file" in run_tool(root, "qairt-converter", *words).stderr


# --- quantizing ---


def test_quantized_edges_and_log(files, imitation_sdk):
    folder, listed, made = files
    tensor = read_graph(made[EARLY_2][1]).tensors["image"]
    assert tensor.dtype == "ufixed8" and tensor.encoding.scales[0] == pytest.approx(
        2 / 255, rel=0.01
    )
    words = ("--input_dlc", made[OLD][0], "--input_list", listed, "--output_dlc", folder / "x.dlc")
    old = run_tool(imitation_sdk(OLD), "snpe-dlc-quantize", *words).stderr
    assert "[INFO] Setting activation for layer: " in old and "[INFO] bw: 8, min: " in old
    assert f"Writing quantized model to: {folder / 'x.dlc'}" in old
    words = ("--input_dlc", made[EARLY_2][0], *words[2:], "--axis_quant", "--act_bitwidth", "16")
    late = run_tool(imitation_sdk(LATE), "snpe-dlc-quant", *words).stderr
    warning = "[WARNING] --axis_quant is deprecated, use --use_per_channel_quantization option."
    assert warning in late
    new = run_tool(imitation_sdk(EARLY_2), "snpe-dlc-quant", *words).stderr
    assert warning not in new
    assert f"Saved quantized dlc to: {folder / 'x.dlc'}" in new
    graph = read_graph(folder / "x.dlc")
    assert graph.tensors["image"].dtype == "ufixed16"
    first = next(op for op in graph.ops if op.type == "Conv2d")
    assert len(graph.tensors[first.inputs[1]].encoding.scales) == 8  # one an output channel


def test_overrides_apply_only_where_asked(files, imitation_sdk, tiny_onnx, tmp_path):
    encoding = {"bitwidth": 8, "min": -2.0, "max": 2.0, "scale": 4 / 255, "offset": -128}
    overrides = tmp_path / "overrides.json"
    record = {"activation_encodings": {"image": [encoding], "gone": [encoding]}}
    overrides.write_text(json.dumps({**record, "param_encodings": {}}))
    root, plain, listed = imitation_sdk(EARLY_2), tmp_path / "m.dlc", files[1]
    words = ("-i", tiny_onnx, "-o", plain, "--quantization_overrides", overrides)
    assert run_tool(root, "snpe-onnx-to-dlc", *words).returncode == 0
    scales = []
    for more in ((), ("--override_params",)):
        words = ("--input_dlc", plain, "--input_list", listed, "--output_dlc", tmp_path / "q.dlc")
        assert run_tool(root, "snpe-dlc-quant", *words, *more).returncode == 0
        scales.append(read_graph(tmp_path / "q.dlc").tensors["image"].encoding.scales[0])
    assert scales == pytest.approx([2 / 255, 4 / 255], rel=0.01)


def test_quantizer_failures(files, imitation_sdk, tmp_path):
    root, listed, (plain, quantized) = imitation_sdk(OLD), files[1], files[2][OLD]
    again = run_tool(root, "snpe-dlc-quantize", "--input_dlc", quantized, "--input_list", listed)
    assert again.returncode == 1 and "already quantized" in again.stderr
    (tmp_path / "short.raw").write_bytes(bytes(100))
    (tmp_path / "list.txt").write_text("short.raw\n")
    words = ("--input_dlc", plain, "--input_list", "list.txt", "--output_dlc", tmp_path / "q.dlc")
    short = run_tool(root, "snpe-dlc-quantize", *words, cwd=tmp_path)
    assert "is 100 bytes, expected 46080" in short.stderr
    both = run_tool(root, "snpe-dlc-quantize", *words, "--bitwidth", "8", "--act_bitwidth", "8")
    assert both.returncode == 1


def test_what_quantizers_end_with(files, imitation_sdk, tmp_path):
    """By the logs that are known: of qairt-quantizer's before 2.30 none is."""
    _, listed, made = files
    words = ("--input_dlc", made[NEWEST][0], "--input_list", listed)
    words += ("--output_dlc", tmp_path / "q.dlc")
    qairt = run_tool(imitation_sdk(NEWEST), "qairt-quantizer", *words).stderr
    assert "INFO - Quantization completed successfully\n" in qairt
    assert f"INFO - Quantized Model saved at: {tmp_path / 'q.dlc'}\n" in qairt
    assert "Saved quantized dlc" not in qairt and "Writing quantized model" not in qairt
    older = run_tool(imitation_sdk(NEWEST), "snpe-dlc-quant", *words).stderr
    assert f"Successfully saved DLC to {tmp_path / 'q.dlc'}" in older
    words = ("--input_dlc", made[EARLY_2][0], *words[2:])
    assert run_tool(imitation_sdk(LATE), "qairt-quantizer", *words).stderr == ""


@pytest.mark.parametrize("version", [LATE, NEWEST])
def test_a_soc_is_refused_by_converters_and_quantizers(
    files, imitation_sdk, tiny_onnx, tmp_path, version
):
    root, soc = imitation_sdk(version), ("--target_soc_model", "SM8650")
    words = ("-i", tiny_onnx, "-o", tmp_path / "m.dlc")
    done = run_tool(root, "qairt-converter", *words, *soc)
    assert done.returncode != 0 and "SOC model SM8650 is not supported." in done.stderr
    words = ("-i", files[2][EARLY_2][0], "-l", files[1], "-o", tmp_path / "q.dlc")
    done = run_tool(root, "qairt-quantizer", *words, *soc)
    assert done.returncode != 0 and "SOC model SM8650 is not supported." in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_steps_of_16_bit_weights_need_symmetric_ones(files, imitation_sdk, tmp_path):
    words = ("-i", files[2][NEWEST][0], "-l", files[1], "-o", tmp_path / "q.dlc")
    words += ("--weights_bitwidth", "16", "--restrict_quantization_steps=-0x8000 0x7F7F")
    plain = run_tool(imitation_sdk(NEWEST), "qairt-quantizer", *words).stderr
    assert "Value will be ignored." in plain
    words += ("--param_quantizer_schema", "symmetric")
    symmetric = run_tool(imitation_sdk(NEWEST), "qairt-quantizer", *words).stderr
    assert "steps to: min: -32768 - max: 32639" in symmetric


def test_graph_prepare(files, imitation_sdk, tmp_path):
    root, words = imitation_sdk(EARLY_2), ("--input_dlc", files[2][EARLY_2][1])
    words += ("--output_dlc", tmp_path / "c.dlc")
    assert run_tool(root, "snpe-dlc-graph-prepare", *words).returncode == 0
    assert read_graph(tmp_path / "c.dlc").inputs == ("image",)
    exclusive = ("--htp_socs", "sm8550", "--htp_archs", "v73")
    done = run_tool(root, "snpe-dlc-graph-prepare", *words, *exclusive)
    assert "mutually exclusive" in done.stderr
    done = run_tool(root, "snpe-dlc-graph-prepare", *words, "--htp_socs", "qcs9075")
    assert "qcs9075 is not one of sm8350" in done.stderr.lower() and done.returncode == 1


def test_graph_prepare_takes_the_last_output_unless_told(files, imitation_sdk, tmp_path):
    root, dlc = imitation_sdk(NEWEST), tmp_path / "c.dlc"
    words = ("--input_dlc", files[2][NEWEST][1], "--output_dlc", dlc)
    words += ("--htp_socs", "qcs6490,SM8550")
    done = run_tool(root, "snpe-dlc-graph-prepare", *words)
    for line in (
        "[USER_INFO] No cache record in the DLC matches the target device. Creating a new record",
        "[INFO] SNPE HTP Offline Prepare: Successfully created cache for QCS6490",
        "[INFO] QCS6490 : Success",
        "[INFO] SM8550 : Success",
        f"[USER_INFO] Successfully saved DLC to {dlc}",
    ):
        assert line in done.stderr.splitlines()
    assert json.loads(entries_of(dlc)["imitation.cache"])["outputs"] == ["boxes"]
    told = ("--set_output_tensors", "scores,boxes")
    run_tool(root, "snpe-dlc-graph-prepare", *words, *told)
    assert json.loads(entries_of(dlc)["imitation.cache"])["outputs"] == ["scores", "boxes"]
    done = run_tool(root, "snpe-dlc-graph-prepare", *words, "--set_output_tensors", "gone")
    assert "gone is not in the network" in done.stderr


def test_graph_prepare_of_float_graphs(files, imitation_sdk, tiny_onnx, tmp_path):
    root, half, dlc = imitation_sdk(NEWEST), tmp_path / "h.dlc", tmp_path / "c.dlc"
    words = ("--input_dlc", files[2][NEWEST][0], "--output_dlc", dlc, "--htp_socs", "sm8550")
    done = run_tool(root, "snpe-dlc-graph-prepare", *words)
    assert (done.returncode, dlc.exists()) == (1, False)
    run_tool(root, "qairt-converter", "-i", tiny_onnx, "-o", half, "--float_bitwidth", "16")
    words = ("--input_dlc", half, "--output_dlc", dlc, "--use_float_io", "--htp_socs")
    done = run_tool(root, "snpe-dlc-graph-prepare", *words, "qcs6490")
    assert (done.returncode, dlc.exists()) == (-signal.SIGABRT, False)
    assert run_tool(root, "snpe-dlc-graph-prepare", *words, "sm8550").returncode == 0
    assert dlc.exists()


def test_a_file_of_floats_where_encodings_are_not_all(files, imitation_sdk, tmp_path):
    root, dlc = imitation_sdk(NEWEST), tmp_path / "q.dlc"
    words = ("-i", files[2][NEWEST][0], "-o", dlc, "--enable_float_fallback")
    both = run_tool(root, "qairt-quantizer", *words, "-l", files[1])
    assert "mutually exclusive" in both.stderr
    assert run_tool(root, "qairt-quantizer", *words).returncode == 0
    assert read_graph(dlc).tensors["image"].dtype == "float32"


# --- dlc-info ---


def test_dlc_info_of_both_families(files, imitation_sdk):
    old = run_tool(imitation_sdk(OLD), "snpe-dlc-info", "-i", files[2][OLD][0]).stdout
    assert "Total parameters: 1596 (0.0 MB assuming single precision float)" in old
    assert "Total MACs per inference: 169k (100%)" in old
    assert "Layers used by DLC: " in old and "Input Name" not in old and "(Float_32)" not in old
    assert old.startswith("DLC info for: ") and "Info of graph" not in old
    early = run_tool(imitation_sdk(EARLY_2), "snpe-dlc-info", "-i", files[2][EARLY_2][0]).stdout
    assert early.startswith("DLC info for: ") and "Ops used by DLC: " in early
    words = ("-i", files[2][NEWEST][1])
    new = run_tool(imitation_sdk(NEWEST), "snpe-dlc-info", *words).stdout
    assert new.startswith("DLC info of: ") and "\nInfo of graph: " in new
    assert "image (uFxp_8) [NW Input]" in new and "Ops used by Graph: " in new
    assert re.search(r"\| Input Name \| Dimensions +\| Type +\| Encoding Info", new)
    assert re.search(r"\| image +\| 1,48,80,3 +\| uFxp_8", new)


# --- running ---


def net_run(root, dlc, listed, output, *words, **more):
    files = ("--container", dlc, "--input_list", listed, "--output_dir", output)
    return run_tool(root, "snpe-net-run", *files, *words, **more)


@pytest.mark.parametrize("version", [OLD, NEWEST])
def test_net_run_gives_the_networks_outputs(files, imitation_sdk, tiny_onnx, tmp_path, version):
    folder, listed, made = files
    both = ("--set_output_tensors", "scores,boxes")
    done = net_run(imitation_sdk(version), made[version][0], listed, tmp_path, *both)
    assert f"Model String: N/A\nSNPE v{version}\n" in done.stdout
    assert processed_inputs(done.stdout) == 3
    if version == NEWEST:
        assert f"\nProcessing graph : {version}\n" in done.stdout
        assert f"\nProcessing DNN input(s): {folder / '0.raw'}\n" in done.stdout
        assert done.stdout.endswith(f"Successfully executed graph {version}\n")
    else:
        assert f"Processing DNN input(s):\n{folder / '0.raw'}\n" in done.stdout
        assert "Successfully executed" not in done.stdout
    session = open_session(tiny_onnx)
    for index in range(3):
        image = np.fromfile(folder / f"{index}.raw", "<f4").reshape(1, *SHAPE_HWC)
        expected = session.run(["scores"], {"image": image.transpose(0, 3, 1, 2)})[0]
        found = np.fromfile(tmp_path / f"Result_{index}" / "scores.raw", "<f4")
        np.testing.assert_allclose(found.reshape(1, 150, 3), expected, atol=1e-5)
    assert (tmp_path / "SNPEDiag_0.log").is_file()


@pytest.mark.parametrize("version", [OLD, EARLY_2, NEWEST])
def test_a_run_gives_the_last_output_unless_asked(files, imitation_sdk, tmp_path, version):
    folder, _, made = files
    layer = _layer_of("scores", made[version][0])
    listed = tmp_path / "list.txt"

    def written(first_line, *words):
        listed.write_text(f"{first_line}{folder / '1.raw'}\n")
        output = tmp_path / f"output{len(list(tmp_path.iterdir()))}"
        done = net_run(imitation_sdk(version), made[version][0], listed, output, *words)
        names = sorted(path.name for path in output.glob("Result_0/*"))
        return names if done.returncode == 0 else done.stderr

    assert written("") == ["boxes.raw"]
    assert written("", "--set_output_tensors", "scores,boxes") == ["boxes.raw", "scores.raw"]
    assert written(f"#{layer}\n") == ["scores.raw"]
    both = written("%scores boxes\n")
    if version == OLD:  # SNPE 1 takes the line for files
        assert "Failed to open raw file" in both
    else:
        assert both == ["boxes.raw", "scores.raw"]


def _layer_of(tensor, dlc):
    layers = json.loads(entries_of(dlc)["imitation.json"])["layers"]
    return next(layer for layer, output in layers.items() if output == tensor)


def test_native_outputs_and_other_tensors(files, imitation_sdk, tmp_path):
    folder, _, made = files
    listed = tmp_path / "list.txt"
    listed.write_text(f"%boxes\nimage:={folder / '1.raw'}\n")
    root, quantized = imitation_sdk(EARLY_2), made[EARLY_2][1]
    assert net_run(root, quantized, listed, tmp_path / "float").returncode == 0
    done = net_run(root, quantized, listed, tmp_path / "native", "--use_native_output_files")
    assert done.stdout.rstrip().endswith("Successfully executed!")
    assert [path.name for path in (tmp_path / "native" / "Result_0").iterdir()] == ["boxes.raw"]
    encoding = read_graph(quantized).tensors["boxes"].encoding
    stored = np.fromfile(tmp_path / "native" / "Result_0" / "boxes.raw", np.uint8)
    real = np.fromfile(tmp_path / "float" / "Result_0" / "boxes.raw", "<f4")
    np.testing.assert_allclose(
        (stored.astype(int) + encoding.offsets[0]) * encoding.scales[0], real, atol=1e-5
    )
    listed.write_text(f"%nothing\n{folder / '1.raw'}\n")
    assert "nothing is not in" in net_run(root, quantized, listed, tmp_path).stderr


def test_runtimes_refuse_the_other_generation(files, imitation_sdk, tmp_path):
    for version, other in ((OLD, EARLY_2), (EARLY_2, OLD)):
        done = net_run(imitation_sdk(version), files[2][other][0], files[1], tmp_path)
        assert done.returncode == 1 and "error_code=" in done.stderr


@pytest.mark.parametrize("version", [OLD, EARLY_2, NEWEST])
def test_the_dsp_needs_stub_and_skel_of_one_sdk(files, imitation_sdk, tmp_path, version):
    _, listed, made = files
    root, target = imitation_sdk(version), linux_target(version)
    skels = root / "lib" / ("dsp" if version == OLD else "hexagon-v68/unsigned")
    quantized = made[version][1]
    env = {"ADSP_LIBRARY_PATH": f"{skels};/usr/lib/rfsa/adsp;/dsp"}
    on_dsp = ("--use_dsp", *(("--platform_options", "unsignedPD:ON") if version == OLD else ()))
    ran = net_run(root, quantized, listed, tmp_path, *on_dsp, target=target, env=env)
    assert ran.returncode == 0, ran.stderr
    assert ("No cache record in the DLC matches" in ran.stdout) == (version != OLD)
    env = {"ADSP_LIBRARY_PATH": f"/usr/lib/rfsa/adsp:{skels}"}  # not semicolons
    lost = net_run(root, quantized, listed, tmp_path, *on_dsp, target=target, env=env)
    assert (
        lost.returncode == 1 and "Failed to create transport for device, error: 1008" in lost.stderr
    )
    shown = run_tool(root, "snpe-diagview", "--input_log", tmp_path / "SNPEDiag_0.log").stdout
    assert "cycles : DSP" in shown
    if version != OLD:
        env = {"ADSP_LIBRARY_PATH": str(skels)}
        plain = net_run(
            root, made[version][0], listed, tmp_path, "--use_dsp", target=target, env=env
        )
        assert "error_code=402" in plain.stderr


def test_snpe_1_is_told_of_unsigned_libraries_and_hta(files, imitation_sdk, tmp_path):
    _, listed, made = files
    root = imitation_sdk(OLD)
    more = {
        "target": linux_target(OLD),
        "env": {"ADSP_LIBRARY_PATH": str(root / "lib" / "dsp")},
    }
    signed = net_run(root, made[OLD][1], listed, tmp_path, "--use_dsp", **more)
    assert signed.returncode == 1 and "Please use testsig" in signed.stderr
    unsigned = ("--use_aip", "--platform_options", "unsignedPD:ON")
    without_hta = net_run(root, made[OLD][1], listed, tmp_path, *unsigned, **more)
    assert without_hta.returncode == 1 and "no HTA section" in without_hta.stderr
    words = ("--input_dlc", made[OLD][0], "--input_list", listed, "--enable_hta")
    words += ("--output_dlc", tmp_path / "h.dlc")
    assert run_tool(root, "snpe-dlc-quantize", *words).returncode == 0
    assert net_run(root, tmp_path / "h.dlc", listed, tmp_path, *unsigned, **more).returncode == 0


def test_a_cache_is_for_its_outputs(files, imitation_sdk, tmp_path):
    _, listed, made = files
    root, cached = imitation_sdk(NEWEST), tmp_path / "c.dlc"
    record = {"socs": ["SM8550", "QCS6490"], "outputs": ["scores", "boxes"], "version": NEWEST}
    content = json.dumps(record).encode()
    write_entries(cached, {**entries_of(made[NEWEST][1]), "imitation.cache": content})
    info = parse_dlc_info(run_tool(root, "qairt-dlc-info", "-i", cached).stdout)
    assert [cache.identifier for cache in info.caches] == ["HTP_SM8550", "HTP_QCS6490"]
    assert info.caches[0].about == ("Graph Optimization Level: 2 (default)",)
    more = {
        "target": linux_target(NEWEST),
        "env": {"ADSP_LIBRARY_PATH": str(root / "lib" / "hexagon-v68" / "unsigned")},
    }
    both = ("--set_output_tensors", "scores,boxes")
    for words, is_used in ((both, True), ((), False)):
        ran = net_run(root, cached, listed, tmp_path, "--use_dsp", *words, **more)
        assert ran.returncode == 0, ran.stderr
        assert ("No cache record in the DLC matches" in ran.stdout) == (not is_used)


def test_diagview_of_both_families(files, imitation_sdk, tmp_path):
    log = tmp_path / "SNPEDiag_0.log"
    net_run(imitation_sdk(OLD), files[2][OLD][0], files[1], tmp_path)
    words = ("--input_log", log)
    old = run_tool(imitation_sdk(OLD), "snpe-diagview", *words).stdout
    assert "Average SNPE Statistics:" in old and "\n0: " in old and " us : CPU" in old
    new = run_tool(imitation_sdk(NEWEST), "snpe-diagview", *words).stdout
    assert "SNPE Execute Statistics (Averaged):" in new and "Subnet 0 (CPU) : " in new
    log.write_bytes(b"noise")
    assert run_tool(imitation_sdk(OLD), "snpe-diagview", "--input_log", log).returncode == 1


def test_throughput(files, imitation_sdk):
    words = ("--container", files[2][EARLY_2][1], "--iterations", "3", "--use_cpu", "--use_cpu")
    done = run_tool(imitation_sdk(EARLY_2), "snpe-throughput-net-run", *words)
    first, second, total = done.stdout.splitlines()
    assert first.startswith("[Thread 0 - cpu_float32] ") and "processed: 3 - Build time: " in first
    assert second.startswith("[Thread 1") and total.startswith("Total throughput: ")


def test_platform_validator(imitation_sdk):
    root = imitation_sdk(LATE)
    done = run_tool(root, "snpe-platform-validator", "--runtime", "dsp", "--testRuntime")
    assert "Unit Test on the runtime DSP: Failed." in done.stdout
    assert "testsig" in done.stderr and done.returncode == 1


# --- faults ---


@pytest.mark.parametrize(
    ("fault", "code", "is_written", "says_success"),
    [
        ("silent_success", 0, False, False),
        ("lying_success", 0, False, True),
        ("writes_then_fails", 255, True, True),
        ("killed", -signal.SIGKILL, False, False),
        ("no_space", 1, False, False),
        ("no_python_module", 1, False, False),
        ("snpe-dlc-quant:no_space", 0, True, True),
    ],
)
def test_faults_of_a_converter(
    imitation_sdk,
    tiny_onnx,
    tmp_path,
    fault,
    code,
    is_written,
    says_success,
):
    words = ("-i", tiny_onnx, "-o", tmp_path / "m.dlc")
    env = {"IMITATION_FAULT": fault}
    done = run_tool(imitation_sdk(EARLY_2), "snpe-onnx-to-dlc", *words, env=env)
    assert done.returncode == code
    assert (tmp_path / "m.dlc").exists() == is_written
    assert ("Conversion completed successfully" in done.stderr) == says_success


def test_a_fault_made_into_the_sdk(files, tmp_path):
    root = make_sdk(tmp_path, EARLY_2, fault="snpe-net-run:short_output")
    assert net_run(root, files[2][EARLY_2][0], files[1], tmp_path / "o").returncode == 0
    assert (tmp_path / "o" / "Result_0" / "boxes.raw").stat().st_size == 150 * 4 * 4 / 2


def test_another_python_may_start_the_tools(imitation_sdk):
    """As a wrapper does that names the interpreter of a tool."""
    root = imitation_sdk(EARLY_2)
    env = {"LD_LIBRARY_PATH": str(root / "lib" / HOST), "PYTHONPATH": str(root / "lib" / "python")}
    argv = [sys._base_executable, root / "bin" / HOST / "snpe-onnx-to-dlc", "-h"]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **env})
    assert "--input_network" in done.stdout, done.stderr
