"""benchmarks.sdk_figures, export.sdk.dlc_info and `info`: an SDK's figures beside ours."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner
from dlc_files import entries_of, flip_byte, write_entries
from imitation_sdk.fixtures import sdk_fixture  # noqa: F401
from tiny_detector import SPEC

from benchmarks.model_info import info_of_file
from benchmarks.sdk_figures import compared_figures
from benchmarks.snpe1_info import is_snpe1, snpe1_info
from export.sdk.dlc_info import dlc_info_tool, sdk_dlc_info
from export.sdk.parsers.dlc_info import (
    CacheRecord,
    DlcInfo,
    ScaledCount,
    TableGraph,
    TableLayer,
    TablePort,
)
from export.sdk.sdk import Sdk, find_sdk
from export.sdk.versions import Family, parse_version
from persondet.cli import cli
from persondet.errors import InputError, PersondetError
from persondet.sidecar import publishing

VERSIONS = ("1.68.0.3932", "2.5.0.4052", "2.26.0.240828")
# What snpe-dlc-info prints of f38, by the specification of the network
F38 = TableGraph(parameters=2_750_864, macs=ScaledCount("618M"), memory_text="345.9 MiB")


def layer(kind: str, **attributes: str) -> TableLayer:
    return TableLayer(
        index=0,
        name="x",
        type=kind,
        inputs=(),
        outputs=(),
        shape=(),
        runtimes="ADGC",
        attributes=attributes,
    )


def info_of(graph: TableGraph) -> DlcInfo:
    return DlcInfo(graphs=(graph,))


def by_name(figures):
    return {figure.name: figure for figure in figures}


@pytest.fixture(scope="module")
def f38(f38_dlc):
    return info_of_file(f38_dlc)


def test_f38_agrees_with_what_snpe_prints_of_it(f38):
    figures = by_name(compared_figures(f38, info_of(F38), Family.SNPE_1))
    for name in ("Total parameters", "Total MACs per inference", "Memory needed to run"):
        assert figures[name].agrees, figures[name]
    assert figures["Total MACs per inference"].why == "the SDK truncates its figure"
    assert figures["Layers"].agrees is None and figures["Layers"].why == "the SDK printed none"
    assert "Inputs" not in figures  # 1.x prints no table of them


def test_differences_are_explained(f38):
    port = TablePort("image", (1, 300, 300, 3), "Float_32")
    theirs = replace(
        F38,
        layers=(
            layer("Conv2d", **{"param count": "2M"}),
            layer("FullyConnected", **{"param count": "9k", "MACs per inference": "8M"}),
        ),
        inputs=(port,),
        parameters=2_760_000,
        macs=ScaledCount("626M"),
        memory_text="346.0 MiB",
    )
    figures = by_name(compared_figures(f38, info_of(theirs), Family.SNPE_2))
    assert not any(figure.agrees for name, figure in figures.items() if name != "Inputs")
    assert figures["Total parameters"].why.endswith("counts other layers too: FullyConnected")
    assert figures["Total MACs per inference"].why.endswith("too: FullyConnected")
    assert figures["Memory needed to run"].why.endswith("later rules are not public")
    assert "every op of the file" in figures["Layers"].why
    renamed = replace(theirs, inputs=(replace(port, name="image.1"),))
    inputs = by_name(compared_figures(f38, info_of(renamed), Family.SNPE_2))["Inputs"]
    assert inputs.agrees is False and "renamed a tensor or changed its layout" in inputs.why


def test_fewer_parameters_than_ours(f38):
    theirs = replace(F38, parameters=2_750_000)
    why = by_name(compared_figures(f38, info_of(theirs), Family.SNPE_1))["Total parameters"].why
    assert why.startswith("864 less in the SDK's count")


def test_caches_are_shown(f38):
    caches = (CacheRecord(name="c", sdk_version="2.45", identifier="HTP_V68_SM7325_2MB"),)
    figures = by_name(compared_figures(f38, DlcInfo(graphs=(F38,), caches=caches), Family.QAIRT))
    assert figures["Prepared for"].sdk == "HTP_V68_SM7325_2MB"
    assert "Prepared for" not in by_name(compared_figures(f38, info_of(F38), Family.QAIRT))


@pytest.fixture(params=VERSIONS)
def sdk(request, imitation_sdk) -> Sdk:
    found = find_sdk({"SNPE_ROOT": str(imitation_sdk(request.param))})
    assert found is not None
    return found


def test_every_sdk_counts_as_we_do(sdk, tiny_dlc):
    info = info_of_file(tiny_dlc)
    figures = by_name(compared_figures(info, sdk_dlc_info(tiny_dlc, sdk), sdk.family))
    assert figures["Total parameters"].agrees
    assert figures["Total MACs per inference"].agrees
    assert figures["Layers"].agrees or figures["Layers"].why
    is_1x = sdk.family is Family.SNPE_1
    assert ("Inputs" in figures) == (not is_1x)
    assert dlc_info_tool(sdk) == (
        "snpe-dlc-info" if sdk.version.numbers < (2, 25) else "qairt-dlc-info"
    )


def test_the_tools_failure_is_shown_with_its_words(sdk, tmp_path):
    (tmp_path / "no.dlc").write_text("no")
    with pytest.raises(PersondetError, match=r"dlc-info of .* failed with exit code \d+ on"):
        sdk_dlc_info(tmp_path / "no.dlc", sdk)


def test_a_tool_that_prints_gibberish(tmp_path):
    tool = tmp_path / "bin" / "x86_64-linux-clang" / "snpe-dlc-info"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho '| \x01 | ???'\n")
    tool.chmod(0o755)
    sdk = Sdk(tmp_path, parse_version("2.5"))
    with pytest.raises(PersondetError, match="dlc-info printed no table"):
        sdk_dlc_info(tmp_path / "x.dlc", sdk)
    tool.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'qti'\" >&2\nexit 1\n")
    with pytest.raises(PersondetError, match=r"(?s)No module named 'qti'.*fix: .*PYTHONPATH"):
        sdk_dlc_info(tmp_path / "x.dlc", sdk)
    tool.unlink()
    with pytest.raises(InputError, match="incomplete"):
        sdk_dlc_info(tmp_path / "x.dlc", sdk)


def invoke(*arguments, environ=None):
    return CliRunner().invoke(cli, ["info", *map(str, arguments)], env=environ or {})


def test_the_command(tiny_dlc, imitation_sdk):
    folder = imitation_sdk(VERSIONS[-1])
    result = invoke(tiny_dlc, "--totals", "--toolchain", "snpe", "--sdk", folder)
    assert result.exit_code == 0, result.output
    assert "QAIRT 2.26.0.240828" in result.stdout and "same" in result.stdout
    result = invoke(tiny_dlc, "--json", "--toolchain", "snpe", environ={"SNPE_ROOT": str(folder)})
    record = json.loads(result.stdout)["sdk"]
    assert record["name"] == "QAIRT 2.26.0.240828"
    assert record["figures"][0]["agrees"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--toolchain", "snpe"], "no SDK is known; set SNPE_ROOT"),
        (["--toolchain", "snpe", "--sdk", "nowhere"], "there is no SDK folder"),
        (["--toolchain", "snpe", "--sdk-version", "x"], "'x' is no SDK version"),
    ],
)
def test_no_sdk(tiny_dlc, arguments, message, monkeypatch):
    for name in ("SNPE_ROOT", "QNN_SDK_ROOT", "QAIRT_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    result = invoke(tiny_dlc, *arguments)
    assert isinstance(result.exception, InputError) and message in str(result.exception)


def test_options_of_an_sdk_without_one(tiny_dlc):
    result = invoke(tiny_dlc, "--sdk", "somewhere")
    assert result.exit_code == 2 and "are of --toolchain snpe" in result.output


def test_an_sdk_reads_dlc_files_only(tiny_onnx, imitation_sdk):
    result = invoke(tiny_onnx, "--toolchain", "snpe", "--sdk", imitation_sdk(VERSIONS[0]))
    assert isinstance(result.exception, InputError)
    assert "reads .dlc files only" in str(result.exception)


def test_a_file_of_snpe_1_is_shown(shared_dlc, tmp_path):
    path = shared_dlc / "test_abs_q.dlc"
    text = invoke(path).stdout
    assert "elementwise_unary_abs_0 ElementwiseUnaryOp 3x4x5" in text
    assert "real = (stored -125) * 0.18431373" in text
    assert "SNPE 1.x (1.56.2.3050), model format 3.0" in text
    assert "SNPE 2.0 to 2.24: no, the model is of format 3" in text
    assert "elementwise_unary_abs_0" not in invoke(path, "--totals").stdout
    record = json.loads(invoke(path, "--json").stdout)
    assert (record["parameters"], record["macs"]) == (0, None)
    assert record["outputs"][0]["encoding"]["offsets"] == [0]
    assert record["origin"]["steps"][0]["version"] == "1.56.2.3050"
    assert [loader["loads"] for loader in record["origin"]["runtimes"]] == [True, *[False] * 3]
    csv = "name,type,output_shape,parameters\nx,Input,3x4x5,0\n"
    assert invoke(path, "--csv", "-").stdout.startswith(csv)
    result = invoke(path, "--model", "mb2-ssd-lite-f38")
    assert "a network is given for a .pth file only" in str(result.exception)


def test_the_sidecar_of_a_file_of_snpe_1_is_shown(shared_dlc, tmp_path):
    path, source = tmp_path / "old.dlc", tmp_path / "old.onnx"
    source.write_bytes(b"source")
    with publishing() as publication:
        publication.file(path).write_bytes((shared_dlc / "test_abs.dlc").read_bytes())
        publication.describe(path, step="convert", inputs=[source], spec=SPEC)
    text = invoke(path).stdout
    assert "old.dlc (DLC of SNPE 1.x, tiny)" in text
    assert "Made from: " in text and "old.onnx (sha256 " in text
    record = json.loads(invoke(path, "--json").stdout)
    assert (record["network"], record["sidecar"]["step"]) == ("tiny", "convert")
    shutil.copyfile(shared_dlc / "test_abs_q.dlc", path)
    assert "Made from: " not in (stale := invoke(path).stdout)
    assert "Note:" in stale


def test_figures_of_snpe_1_beside_its_sdks(shared_dlc):
    info = snpe1_info(shared_dlc / "test_split_equal_parts_2d.dlc")
    theirs = info_of(TableGraph(parameters=0, macs=ScaledCount("0"), memory_text="1.0 KiB"))
    figures = by_name(compared_figures(info, theirs, Family.SNPE_1))
    assert figures["Total parameters"].agrees
    assert figures["Total MACs per inference"].agrees is None
    assert (figures["Memory needed to run"].ours, figures["Layers"].ours) == ("-", "2")


def test_a_graph_that_cannot_be_read_leaves_the_container(tiny_dlc, tmp_path):
    """What is in the way here is damage to the graph, behind a right CRC."""
    entries = entries_of(tiny_dlc)
    model = entries["model"][:200] + bytes(400) + entries["model"][600:]
    path = write_entries(tmp_path / "x.dlc", {**entries, "model": model})
    result = invoke(path)
    assert isinstance(result.exception, PersondetError)
    assert "Container:" in result.stdout and "QAIRT and SNPE 2.25 on: yes" in result.stdout
    assert invoke(path, "--json").stdout == ""
    flip_byte(tiny_dlc, path, "model")
    result = invoke(path)
    assert "the CRC of its entry `model` does not fit" in str(result.exception)
    assert result.stdout == ""


def test_a_dlc_says_what_loads_it(tiny_dlc):
    text = invoke(tiny_dlc, "--totals").stdout
    assert "SNPE 1.x: no, the model is of format 4" in text
    assert "QAIRT and SNPE 2.25 on: yes" in text
    assert not is_snpe1(tiny_dlc)


def test_a_float_graph_of_uint8_pictures_is_no_quantized_one(tiny_uint8_dlc):
    info = info_of_file(tiny_uint8_dlc)
    assert info.inputs[0].encoding is not None
    assert info.origin is not None and not info.origin.is_quantized
