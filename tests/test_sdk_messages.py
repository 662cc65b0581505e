"""export.sdk.messages: the vendor's text, its cause, its remedy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.messages import explain, explanation_lines

KNOWN = [
    ("onnx.onnx_cpp2py_export.checker: No schema registered for Hardswish", "onnx 1.6 to 1.8"),
    ("ModuleNotFoundError: No module named 'qti'", "PYTHONPATH"),
    ("ModuleNotFoundError: No module named 'qti.aisw'", "PYTHONPATH"),
    ("ImportError: No module named snpe", "envsetup"),
    ("WARNING_OP_VERSION_NOT_SUPPORTED: Operation Relu Not Supported.", "lower opset"),
    ("Missing command line inputs for dynamic inputs ['image']", "fixed shapes"),
    ("ERROR - Reshape_199: 5D tensors are not supported", "raw heads"),
    ("tvm._ffi.base.TVMError: Traceback", "export to ONNX"),
    ("Invalid model for HBA quantization algorithm.", "--disable_batchnorm_folding"),
    ("[INFO] bw: 32, min: 0, max: 0, delta: 0, offset: -2147483648", "--override_params"),
    ("error_code=402; error_message=Network partition has failed.", "--enable_cpu_fallback"),
    ("error_code=7005; error_message=QnnGraph_addNode() failed for layer Gather_1", "rank"),
    (
        "RuntimeWarning: error_code=802; error_message=Layer parameter value is invalid",
        "CPU or DSP",
    ),
    ("Error while executing the sum function.", "ADSP_LIBRARY_PATH"),
    ("Please use testsig if using unsigned images.", "unsignedPD:ON"),
    ("Failed to create transport for device, error: 1008", "same SDK"),
    ("Stub lib id mismatch: expected (v2.5), detected (v2.7)", "same SDK"),
    ("ERROR - SOC model SM8550 is not supported.", "snpe-dlc-graph-prepare --htp_socs"),
    ("/lib/libc.so.6: version `GLIBC_2.34' not found (required by ./tool)", "Ubuntu 22.04"),
    ("libstdc++.so.6: version `GLIBCXX_3.4.30' not found", "Ubuntu 22.04"),
    (
        "error_code=311; error_message=Incomplete DLC is missing mandatory record",
        "`persondet info`",
    ),
    ("error_code=1002; error_message=No backend could validate Op=Conv_0", "SDK of the runtime"),
    ("error_code=15001; error_message=Graph could not be composed", "SDK of the runtime"),
    ("[ERROR] Bad quantization: zero scale!", "--enable_hta"),
    (
        "TypeError: 'NoneType' object is not iterable in 'AttributeProto'",
        "bin/check-python-dependency",
    ),
    ("error_code=500; error_message=Target runtime is not available.", "snpe-platform-validator"),
    ("No Snapdragon SOC detected", "newer SDK"),
    ("Segmentation fault (core dumped)", "SDK of the runtime"),
    ("command terminated: exit code 139", "SDK of the runtime"),
    ("command terminated: exit code 134", "v69"),
    ("Aborted", "v69"),
    ("./snpe-dlc-quant: line 3: Illegal instruction (core dumped)", "AVX2"),
    ("testsig-0x0.so: Permission denied", "adb shell"),
    ("Failed to write data to: output/Result_0//backbone/Relu.raw", "plain names"),
    ("Unable to load dlc: unsupported model version 4.0", "`persondet info`"),
    ("write: No space left on device", "free space"),
    ("command terminated: exit code 137", "fewer threads"),
]


@pytest.mark.parametrize(("text", "remedy"), KNOWN)
def test_a_known_message_gets_its_remedy(text, remedy):
    (found,) = explain(f"2021-10-07 03:37:16,388 - 204 - INFO - begun\n  {text}\nend")
    assert found.found == text
    assert remedy in found.fix and found.cause


@pytest.mark.parametrize(
    "text",
    [
        "",
        "INFO_CONVERSION_SUCCESS: Conversion completed successfully",
        "[INFO] Saved quantized dlc to: model.dlc",
        "Simplified model validation is successful",
        "DLC created with converter version: 2.5.0.4052",
        "Model Version: N/A",
        "[INFO] bw: 8, min: -1, max: 1, delta: 0.007, offset: -128",
        "Successfully executed!",
        "Successfully executed graph head",
        "No cache record in the DLC matches the target device (HTP_V68_SM7325_2MB).",
        "Build time: 15001 microseconds",
        "Processing DNN input(s): 1002.raw",
        "Layer is not supported in AIP",
        "INFO_DLC_SAVE_LOCATION: Saving model at ./5d/x.dlc",
    ],
)
def test_ordinary_lines_are_not_explained(text):
    assert explain(text) == ()


def test_causes_are_named_once_in_the_order_of_the_text():
    lines = ("Failed to write data to: a/b", "error_code=402; x", "error_code=402; y")
    found = explain("\n".join((*lines, lines[0])))
    assert [each.found for each in found] == ["Failed to write data to: a/b", "error_code=402; x"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("ERROR: Network\r\n  partition has failed.", "lacks an operator"),
        ("ERROR: INVALID MODEL FOR HBA\nQUANTIZATION ALGORITHM", "batch norm was folded"),
        ("Failed to load\nskel", "stub"),
        ('ImportError: No module named "qti"', "Python modules"),
        ("Cannot open container: DLC version 4 is not supported", "SNPE 1.x does not load"),
    ],
)
def test_case_and_line_breaks_do_not_matter(text, cause):
    (found,) = explain(text)
    assert cause in found.cause
    assert "\n" not in found.found and found.found.split() == text.split()


def test_a_line_may_have_several_causes():
    found = explain("error_code=402; Failed to write data to: a/b; No space left on device")
    assert [each.cause.split()[1] for each in found] == ["runtime", "output", "storage"]


@pytest.mark.parametrize(
    "text",
    [
        "Fail: Unsupported model IR version: 9, max supported IR version: 8",
        "ERROR - failed: the model has opset version 18",
        "INFO - Loaded DLC; DLC created with converter version 2.5.0.4052",
        "error: argument --model_version: expected one argument",
    ],
)
def test_another_version_is_not_the_containers(text):
    assert explain(text) == ()


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        ((137, -9), "use of memory"),
        ((139, -11), "of another version than the runtime"),
        ((134, -6), "16-bit floats on a DSP of architecture v68"),
        ((132, -4), "lack AVX2"),
    ],
)
def test_some_exit_codes_tell_the_cause(codes, cause):
    for code in codes:
        (found,) = explain("", code=code)
        assert found.found == f"exit code {code}" and cause in found.cause
    assert explain("fine", code=1) == ()
    assert len(explain("exit code 137", code=137)) == 1  # once


def test_lines_to_print():
    lines = explanation_lines(
        explain("error_code=402; error_message=Network partition has failed.")
    )
    assert lines[0].startswith("error_code=402")
    assert lines[1].startswith("  cause: the runtime lacks") and lines[2].startswith("  fix:   ")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_no_text_is_too_odd(text):
    for each in explain(text):
        assert each.cause and each.fix and each.found
