"""ONNX to DLC, quantized DLC, compare and benchmark through the SDKs of several versions.

The SDKs are the imitation's, which knows nothing of `export/sdk/`'s tables: a flag that this
version of the tool does not have fails here.
"""

import dataclasses
import json
import re
import shlex
import time
import zipfile
from itertools import product
from pathlib import Path

import pytest
from data_files import write_picture
from imitation_sdk import VERSIONS, linux_target, make_sdk
from imitation_sdk.command_line import parse
from imitation_sdk.dlc import commands_of, entries_of, read_graph
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401

from export.sdk.command_lines import convert_plan, quantize_plan, toolset_of
from export.sdk.intent import CALIBRATIONS, WEIGHT_SCHEMES, ConvertIntent, QuantizeIntent
from export.sdk.output_layers import output_layers
from export.sdk.raw_files import input_list
from export.sdk.versions import parse_version
from persondet.cli import main
from persondet.errors import InputError
from persondet.sidecar import read_sidecar
from persondet.spec import DetectorSpec

OLD, LAST_1, EARLY_2, LATE, NEWEST = VERSIONS
OF_SNPE_1 = (OLD, LAST_1)
EVERY_VERSION = (
    *("1.43.0.2307", "1.51.0.2663", "1.54.2", "1.56.2.3050", "1.61.0.3358", "1.68.0.3932"),
    *("2.0.1", "2.5.0.4052", "2.10.0.4541", "2.22.6.240515184619_92920", "2.25.0.240728"),
    *("2.26.0.240828", "2.33.0.250327", "2.39.0.250926", "2.48.0.260113"),
)
SDK_VARIABLES = ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT", "IMITATION_FAULT")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    for name in SDK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "device"))


@pytest.fixture
def persondet(monkeypatch, capfd):
    """Run the command line in this process; returns (exit code, standard output, error)."""

    def run(*arguments):
        capfd.readouterr()  # of `made`
        monkeypatch.setattr("sys.argv", ["persondet", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures of a scene")  # blanks, which lists cannot express
    for index in range(3):
        write_picture(folder / f"picture {index}.png", (60 + index, 90))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, imitation_sdk, tiny_onnx, pictures):
    """By version: the float and the quantized DLC, made by the command line once a worker."""
    folder, kept = tmp_path_factory.mktemp("made"), {}

    def make(version):
        if version not in kept:
            root, stem = imitation_sdk(version), folder / version
            paths = stem.with_name(f"{version}.dlc"), stem.with_name(f"{version}.quantized.dlc")
            for words in (
                ("convert", tiny_onnx, "-o", paths[0], "--sdk", root),
                ("quantize", tiny_onnx, "-o", paths[1], "--sdk", root, "--calib", pictures),
            ):
                _run_quietly(words)
            kept[version] = paths
        return kept[version]

    return make


def _run_quietly(words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["persondet", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0


# --- every wish in every version ---


def _convert_intents():
    for layout, bits in product(("nhwc", "source"), (32, 16)):
        yield ConvertIntent(layout, bits)
    yield ConvertIntent(simplify=False)
    yield ConvertIntent(fold_batch_norm=False)
    yield ConvertIntent(overrides=Path("overrides.json"))
    yield ConvertIntent(float_bits=16, socs=("sm8550", "sm8650"), optimization_level=3)


def _quantize_intents():
    switches = ("per_channel", "per_row", "cle", "bias_correction", "apply_overrides", "enable_hta")
    yield from (QuantizeIntent(**{name: True}) for name in (*switches, "native_inputs"))
    yield from (QuantizeIntent(calibration=name) for name in CALIBRATIONS)
    yield from (QuantizeIntent(weight_scheme=name) for name in WEIGHT_SCHEMES)
    for act, weight, bias in product((8, 16), (8, 16, 4), (None, 8, 32)):
        yield QuantizeIntent(act, weight, bias)
    yield QuantizeIntent(apply_overrides=True, float_fallback=True)
    yield QuantizeIntent(calibration="sqnr", weight_scheme="symmetric")
    yield QuantizeIntent(socs=("sm8550", "qcs6490"))
    yield QuantizeIntent(socs=("sm8550",), optimization_level=1)
    switches = {"per_channel": True, "cle": True, "apply_overrides": True}
    yield QuantizeIntent(16, 8, 32, socs=("sm8550",), **switches)


def _plans(version, tools, spec):
    """What is rendered; refusals are collected by their texts."""
    files = {
        **{"dlc": Path("m.dlc"), "input_list": Path("l.txt"), "output": Path("q.dlc")},
        "outputs": ("scores", "boxes"),
    }
    plans, refusals = [], []
    for intent in (*_convert_intents(), *_quantize_intents()):
        try:
            if isinstance(intent, ConvertIntent):
                place = {"onnx": Path("m.onnx"), "dlc": Path("m.dlc")}
                plans.append(convert_plan(intent, spec, version, tools, **place))
            else:
                plans.append(quantize_plan(intent, version, tools, **files))
        except InputError as error:
            refusals.append(str(error))
    return plans, refusals


@pytest.mark.parametrize("text", EVERY_VERSION)
@pytest.mark.parametrize("input_format", ["float-nchw", "float-nhwc", "uint8-nhwc"])
def test_what_is_rendered_is_what_the_version_takes(text, input_format):
    from tiny_network import TINY_SPEC

    spec: DetectorSpec = dataclasses.replace(TINY_SPEC, input_format=input_format)
    version = parse_version(text)
    for name in ("snpe", "qairt") if version >= parse_version("2.25") else (None,):
        plans, refusals = _plans(version, toolset_of(version, name), spec)
        assert len(plans) >= 4
        for plan in plans:
            for call in plan.calls:
                parse(call.tool, text, list(call.arguments))
        assert all("versions that have one: " in text for text in refusals)


SINCE_1_56 = (
    QuantizeIntent(
        *(16, 16, 32), per_channel=True, cle=True, apply_overrides=True, socs=("sm8350",)
    ),
    QuantizeIntent(bias_bits=8, calibration="sqnr", weight_scheme="symmetric"),
    QuantizeIntent(bias_correction=True),
)
SINCE_2_5 = (*SINCE_1_56, QuantizeIntent(native_inputs=True))
SINCE_2_25 = (*SINCE_2_5, QuantizeIntent(weight_bits=4, per_row=True))
OF_QAIRT = (*SINCE_2_25, *(QuantizeIntent(calibration=name) for name in CALIBRATIONS))


@pytest.mark.parametrize(
    ("text", "tools", "intents"),
    [
        *(("1.56.2", None, SINCE_1_56), ("1.68", None, SINCE_1_56), ("2.5", None, SINCE_2_5)),
        *(("2.25", "snpe", SINCE_2_25), ("2.25", "qairt", OF_QAIRT), ("2.48", "qairt", OF_QAIRT)),
    ],
)
def test_what_a_version_has_is_not_refused(text, tools, intents):
    """The strictness of the test above must not be bought with refusals."""
    version = parse_version(text)
    files = {
        **{"dlc": Path("m.dlc"), "input_list": Path("l.txt"), "output": Path("q.dlc")},
        "outputs": ("scores", "boxes"),
    }
    for intent in intents:
        assert quantize_plan(intent, version, toolset_of(version, tools), **files).calls


# --- the flow ---


@pytest.mark.parametrize("version", VERSIONS)
def test_dlc_and_quantized_dlc(made, tiny_onnx, version):
    for path, step in zip(made(version), ("convert", "quantize"), strict=True):
        record = read_sidecar(path)
        assert record["step"] == step
        assert record["details"]["sdk"]["version"] == version
        assert record["spec"]["input_format"] == "float-nhwc"  # the ONNX's is float-nchw
        for line in record["details"]["commands"]:
            tool, *words = shlex.split(line)
            parse(tool, version, words)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None  # right CRCs, also where the SDK left them out
        commands = commands_of(entries_of(path))
        assert commands["converter-version"] == version
        assert (commands["quantizer-command"] == "N/A") == (step == "convert")
        graph = read_graph(path)
        assert graph.tensors["image"].shape == (1, 48, 80, 3)
        assert graph.tensors["image"].dtype == ("float32" if step == "convert" else "ufixed8")
    left = {path.name for path in made(version)[0].parent.iterdir() if version in path.name}
    assert left == {f"{version}{end}" for end in (".dlc", ".dlc.json")} | {
        f"{version}.quantized{end}" for end in (".dlc", ".dlc.json")
    } | {f"{version}.equalized{end}" for end in (".onnx", ".onnx.json")}


@pytest.mark.parametrize("version", VERSIONS)
def test_compare_and_benchmark_on_a_device(
    persondet, made, imitation_sdk, tiny_onnx, pictures, tmp_path, monkeypatch, version
):
    monkeypatch.setenv("SNPE_ROOT", str(imitation_sdk(version)))
    monkeypatch.setenv("PERSONDET_SNPE_TARGET", linux_target(version))
    plain, quantized = made(version)
    words = ("--images", pictures, "--device", "local", "--json")
    if version in (OLD, NEWEST):
        code, out, err = persondet("compare", tiny_onnx, plain, *words, "--runtime", "cpu")
        assert code == 0, err
        assert _least_sqnr_db(out) > 100
    code, out, err = persondet("compare", tiny_onnx, quantized, *words, "--runtime", "dsp")
    assert code == 0, err
    assert 30 < _least_sqnr_db(out) < 60
    runtimes = "cpu,dsp" if version == NEWEST else "dsp"
    words = ("--image", pictures / "picture 0.png", "--device", "local", "--runtimes", runtimes)
    words += ("--runs", 2, "--warmup", 0, "--frames", 2, "--json")
    code, out, err = persondet("benchmark", quantized, *words)
    assert code == 0, err
    settings = json.loads(out)["settings"]
    assert [setting["runtime"] for setting in settings] == runtimes.split(",")
    assert all(len(setting["totals_us"]) == 2 for setting in settings)
    assert not [
        path for path in (tmp_path / "device").iterdir() if path.name.startswith("persondet-run-")
    ]


def _least_sqnr_db(comparison_json):
    (model,) = json.loads(comparison_json)["pairs"]
    return min(output["sqnr_db"] or 1000.0 for output in model["outputs"].values())


def test_a_net_run_without_an_option_for_outputs_gets_their_layers(
    persondet, imitation_sdk, tiny_onnx, pictures, tmp_path, monkeypatch
):
    """1.4x: in the first line of the list, by the names that the DLC has for them."""
    version, dlc = "1.43.0.2307", tmp_path / "t.dlc"
    root = imitation_sdk(version)
    code, _, err = persondet("convert", tiny_onnx, "-o", dlc, "--sdk", root)
    assert code == 0, err
    assert output_layers(dlc, ("scores", "boxes")) == ("/Concat", "/Concat_1")
    assert output_layers(tiny_onnx, ("scores", "boxes")) == ()
    written = []
    real = input_list
    monkeypatch.setattr(
        "benchmarks.devices.snpe_board.input_list",
        lambda *rows, **names: written.append(real(*rows, **names)) or written[-1],
    )
    monkeypatch.setenv("SNPE_ROOT", str(root))
    monkeypatch.setenv("PERSONDET_SNPE_TARGET", linux_target(version))
    words = ("--images", pictures, "--device", "local", "--json", "--runtime", "cpu")
    code, out, err = persondet("compare", tiny_onnx, dlc, *words)
    assert code == 0, err
    assert _least_sqnr_db(out) > 100
    assert written[0].splitlines()[0] == "#/Concat /Concat_1"


@pytest.mark.parametrize("version", [EARLY_2, NEWEST])
def test_compare_here(persondet, made, tiny_onnx, pictures, version):
    words = ("compare", tiny_onnx, made(version)[1], "--images", pictures, "--json")
    code, out, err = persondet(*words)
    assert code == 0, err
    assert 30 < _least_sqnr_db(out) < 60


def test_files_of_snpe_1_are_not_for_here(persondet, made, tiny_onnx, pictures):
    words = ("compare", tiny_onnx, made(OLD)[0], "--images", pictures)
    code, _, err = persondet(*words)
    assert code == 2
    assert "was written by SNPE 1.x (converter 1.51.0.2663)" in err


@pytest.mark.parametrize("version", [LAST_1, NEWEST])
def test_bytes_as_input(persondet, imitation_sdk, tiny_uint8_onnx, pictures, tmp_path, version):
    root, quantized = imitation_sdk(version), tmp_path / "q.dlc"
    words = ("quantize", tiny_uint8_onnx, "-o", quantized, "--sdk", root, "--calib", pictures)
    native = () if version == LAST_1 else ("--native-inputs",)
    code, _, err = persondet(*words, *native)
    assert code == 0, err
    graph = read_graph(quantized)
    assert (graph.tensors["image"].shape, graph.tensors["image"].numpy_dtype) == (
        (1, 48, 80, 3),
        "uint8",
    )


def _cache(dlc):
    return json.loads(entries_of(dlc)["imitation.cache"])


@pytest.mark.parametrize("version", [LAST_1, EARLY_2, LATE, NEWEST])
def test_a_prepared_graph(persondet, imitation_sdk, tiny_onnx, pictures, tmp_path, version):
    """Of both outputs: each tool takes the last one unless it is told."""
    words = ("quantize", tiny_onnx, "-o", tmp_path / "q.dlc", "--soc", "sm8550,RB3 Gen 2")
    words += ("--soc", "QCS8550", "--sdk", imitation_sdk(version), "--calib", pictures)
    code, _, err = persondet(*words)
    assert code == 0, err
    assert _cache(tmp_path / "q.dlc") == {
        "socs": ["SM8550", "QCS6490", "QCS8550"],
        "outputs": ["scores", "boxes"],
        "version": version,
    }
    for known in ("fewer than 10", "the ONNX has", "the SDK got the equalised ONNX"):
        err = err.replace(f"note: {known}", "")
    assert "note" not in err


@pytest.mark.parametrize("version", [EARLY_2, LATE, NEWEST])
def test_a_prepared_graph_of_half_floats(persondet, imitation_sdk, tiny_onnx, tmp_path, version):
    root, dlc = imitation_sdk(version), tmp_path / "h.dlc"
    words = ("convert", tiny_onnx, "-o", dlc, "--sdk", root, "--soc", "sm8550")
    code, _, err = persondet(*words, "--float-bits", 16, "--optimization-level", 3)
    assert code == 0, err
    assert _cache(dlc) == {
        **{"socs": ["SM8550"], "outputs": ["scores", "boxes"]},
        **{"version": version, "optimization_level": "3"},
    }
    commands = read_sidecar(dlc)["details"]["commands"]
    assert [command.split()[0] for command in commands][1:] == ["snpe-dlc-graph-prepare"]
    code, _, err = persondet(*words)
    assert (code, "needs --float-bits 16" in err) == (2, True)


@pytest.mark.parametrize("tools", ["snpe", "qairt"])
def test_float_fallback(persondet, imitation_sdk, tiny_onnx, pictures, tmp_path, tools):
    """Encodings of all, without a picture; of nothing that the graph is quantized by."""
    words = ("quantize", tiny_onnx, "-o", tmp_path / "e.dlc", "--calib", pictures)
    assert persondet(*words, "--toolchain", "embedded")[0] == 0
    encodings, root = tmp_path / "e.quantized.encodings.json", imitation_sdk(NEWEST)
    words = ("quantize", tmp_path / "e.equalized.onnx", "-o", tmp_path / "q.dlc", "--sdk", root)
    words += ("--sdk-tools", tools, "--encodings", encodings, "--float-fallback")
    code, _, err = persondet(*words)
    assert code == 0, err
    assert read_graph(tmp_path / "q.dlc").tensors["image"].encoding is not None
    details = read_sidecar(tmp_path / "q.dlc")["details"]
    assert "--input_list" not in details["commands"][1] and "pictures" not in details
    code, _, err = persondet(*words, "--calib", pictures)
    assert (code, "--calib: --float-fallback calibrates nothing" in err) == (2, True)
    empty = tmp_path / "empty.json"
    empty.write_text('{"activation_encodings": {}, "param_encodings": {}}')
    words = (*words[:-2], empty, words[-1])
    code, _, err = persondet(*words)
    assert (code, "is not the graph: nothing in it is quantized" in err) == (1, True)


def test_the_aip_takes_what_was_prepared_for_it(
    persondet, imitation_sdk, tiny_onnx, made, pictures, tmp_path, monkeypatch
):
    root, dlc = imitation_sdk(LAST_1), tmp_path / "hta.dlc"
    words = ("quantize", tiny_onnx, "-o", dlc, "--sdk", root, "--calib", pictures)
    code, _, err = persondet(*words, "--enable-hta")
    assert code == 0, err
    monkeypatch.setenv("SNPE_ROOT", str(root))
    monkeypatch.setenv("PERSONDET_SNPE_TARGET", linux_target(LAST_1))
    words = ("--images", pictures, "--device", "local", "--runtime", "aip", "--json")
    code, out, err = persondet("compare", tiny_onnx, dlc, *words)
    assert code == 0, err
    assert 30 < _least_sqnr_db(out) < 60
    other = made(LAST_1)[1]
    code, _, err = persondet("compare", tiny_onnx, other, *words)
    assert code == 2
    assert "the runtime aip needs a DLC quantized with --enable_hta" in err
    words = ("--image", pictures / "picture 0.png", "--device", "local", "--tool", "throughput")
    words += ("--runs", 1, "--warmup", 0)
    code, out, err = persondet("benchmark", other, *words, "--runtimes", "dsp,aip", "--json")
    assert [setting["runtime"] for setting in json.loads(out)["settings"]] == ["dsp"]
    assert "--enable_hta" in out + err  # left out, saying why
    code, _, err = persondet("benchmark", other, *words, "--runtimes", "aip")
    assert (code, "--enable_hta" in err) == (2, True)


def test_encodings_reach_the_quantizer(persondet, imitation_sdk, tiny_onnx, pictures, tmp_path):
    words = ("quantize", tiny_onnx, "-o", tmp_path / "e.dlc", "--calib", pictures)
    assert persondet(*words, "--toolchain", "embedded")[0] == 0
    (encodings,) = tmp_path.glob("*.encodings.json")
    record = json.loads(encodings.read_text())
    activations = record["activation_encodings"]
    wide = {"bitwidth": 8, "min": -2.0, "max": 2.0, "scale": 4 / 255, "offset": -128}
    activations["image"] = [{**activations["image"][0], **wide}]
    encodings.write_text(json.dumps(record))
    encodings.with_name(encodings.name + ".json").unlink(missing_ok=True)
    for version in (EARLY_2, NEWEST):
        words = ("quantize", tiny_onnx, "-o", tmp_path / "q.dlc", "--calib", pictures)
        code, _, err = persondet(*words, "--encodings", encodings, "--sdk", imitation_sdk(version))
        assert code == 0, err
        encoding = read_graph(tmp_path / "q.dlc").tensors["image"].encoding
        assert encoding.scales[0] == pytest.approx(4 / 255)


def test_from_a_checkpoint(persondet, imitation_sdk, rfb_checkpoint, pictures, tmp_path):
    """.pth to quantized DLC in one command, at the opset that SNPE 1.x takes."""
    root = imitation_sdk(LAST_1)
    words = ("quantize", rfb_checkpoint, "-o", tmp_path / "q.dlc", "--calib", pictures)
    code, _, err = persondet(*words, "--sdk", root)
    assert code == 0, err
    assert "opset" not in err
    assert read_graph(tmp_path / "q.dlc").tensors["image"].shape == (1, 240, 320, 3)


# --- faults ---


@pytest.fixture
def faulty(persondet, imitation_sdk, tiny_onnx, pictures, tmp_path, monkeypatch):
    """Quantize with a fault over an earlier result; returns (exit code, error), after checking
    that the result is untouched and nothing temporary stays."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    def run(version, fault, *words):
        monkeypatch.setenv("IMITATION_FAULT", fault)
        destination = tmp_path / "out" / "q.dlc"
        destination.parent.mkdir(exist_ok=True)
        destination.write_bytes(b"an earlier result")
        code, _, err = persondet(
            *("quantize", tiny_onnx, "-o", destination, "--calib", pictures),
            *("--sdk", imitation_sdk(version), "--sdk-version", version, *words),
        )
        assert destination.read_bytes() == b"an earlier result"
        assert {path.name for path in destination.parent.iterdir()} <= {"q.dlc", "q.dlc.log"}
        assert list(temporary.iterdir()) == []
        return code, err

    return run


@pytest.mark.parametrize(
    ("version", "fault", "message"),
    [
        (OLD, "snpe-onnx-to-dlc:silent_success", "exit code 0, but wrote no file"),
        (OLD, "snpe-dlc-quantize:lying_success", "exit code 0, but wrote no file"),
        (NEWEST, "qairt-quantizer:lying_success", "exit code 0, but wrote no file"),
        (EARLY_2, "snpe-dlc-quant:writes_then_fails", "failed with exit code 1"),
        (EARLY_2, "snpe-onnx-to-dlc:writes_then_fails", "failed with exit code 255"),
        (EARLY_2, "snpe-dlc-quant:truncated", "wrote a file that is no DLC"),
        (NEWEST, "qairt-converter:killed", "signal 9"),
        (EARLY_2, "no_python_module", "No module named 'qti'"),
        (OLD, "snpe-dlc-quantize:no_space", "No space left on device"),
    ],
)
def test_a_tool_that_fails(faulty, version, fault, message):
    code, err = faulty(version, fault)
    assert code == 1
    assert message in err
    assert "Traceback" not in err or fault == "no_python_module"


def test_a_tool_that_hangs(faulty):
    begun = time.monotonic()
    code, err = faulty(EARLY_2, "snpe-dlc-quant:hangs", "--tool-timeout", "2")
    assert code == 1
    assert "did not finish in 2 s and was stopped" in err
    assert time.monotonic() - begun < 30  # its child sleeps for ten minutes


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "snpe-net-run:no_output",
            "ended well on local but left no .*Result_2: expected results of 3",
        ),
        ("snpe-net-run:short_output", "bytes"),
        ("snpe-net-run:killed", "exit code|signal 9"),
    ],
)
def test_a_device_whose_results_are_wrong(
    persondet, made, tiny_onnx, pictures, tmp_path, monkeypatch, fault, message
):
    root = make_sdk(tmp_path / "sdk", EARLY_2, fault=fault)
    monkeypatch.setenv("SNPE_ROOT", str(root))
    words = ("--images", pictures, "--device", "local", "--runtime", "cpu")
    code, _, err = persondet("compare", tiny_onnx, made(EARLY_2)[0], *words)
    assert code == 1
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert not [
        path for path in (tmp_path / "device").iterdir() if path.name.startswith("persondet-run-")
    ]


def test_a_diagnostic_log_of_noise(persondet, made, pictures, tmp_path, monkeypatch):
    root = make_sdk(tmp_path / "sdk", EARLY_2, fault="gibberish_log")
    monkeypatch.setenv("SNPE_ROOT", str(root))
    words = ("--image", pictures / "picture 0.png", "--device", "local", "--runtimes", "cpu")
    code, _, err = persondet("benchmark", made(EARLY_2)[1], *words, "--runs", 1, "--warmup", 0)
    assert code == 1
    assert "Traceback" not in err
