"""export.sdk.parsers: net_run, throughput and bench."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.parsers.bench import parse_bench_config, parse_bench_csv
from export.sdk.parsers.net_run import RuntimeErrorLine, parse_net_run, runtime_errors
from export.sdk.parsers.statistics import Amount
from export.sdk.parsers.throughput import ThreadResult, parse_throughput
from persondet.errors import InputError, PersondetError

NET_RUN = """\
-------------------------------------------------------------------------------
Model String: N/A
SNPE v2.22.6.240515184619_92920
-------------------------------------------------------------------------------
Processing DNN input(s):
/data/local/tmp/raw/0.raw
Processing DNN input(s):
/data/local/tmp/raw/1.raw
Successfully executed!
"""
ERROR = (
    "error_code=402; error_message=Network partition has failed. error_code=402; "
    "error_message=Layer x not supported; error_component=Dl System; line_no=417; "
    "thread_id=547726"
)


def test_a_run():
    run = parse_net_run(NET_RUN)
    assert run.version == "2.22.6.240515184619_92920"
    assert (run.processed, run.says_success, run.errors) == (2, True, ())
    older = parse_net_run(NET_RUN.replace("Successfully executed!\n", ""))
    assert (older.processed, older.says_success) == (2, False)
    assert parse_net_run("") == parse_net_run("gibberish\x00")


def test_error_lines():
    line = (
        "error_code=7005; error_message=QnnGraph_addNode() failed; error_component=Qnn; line_no=3"
    )
    assert runtime_errors(f"x\n{line}\n{line}\n") == (
        RuntimeErrorLine(7005, "QnnGraph_addNode() failed", "Qnn", "3", ""),
    )
    first, second = parse_net_run(NET_RUN + ERROR).errors
    assert (first.code, first.thread_id) == (402, "547726")
    assert second.message == "Layer x not supported"
    assert runtime_errors("error_code=; error_message=") == ()


THROUGHPUT = (
    "[Thread 0 - cpu_float32] 43.6138 infs/sec - Number of images processed: 437 - Build time: "
    "48593 microseconds - Elapsed time: 10020649 microseconds - Real time: 10019761 microseconds - "
    "Teardown time: 8047 microseconds - Batch : 1\nTotal throughput: 43.6138 infs/sec\n"
)


def test_throughput_of_one_thread():
    result = parse_throughput(THROUGHPUT)
    assert result.total_per_second == 43.6138
    assert result.threads == (
        ThreadResult(0, "cpu_float32", 43.6138, 437, 48593, 10020649, 10019761, 8047, 1),
    )


def test_throughput_of_several_and_of_a_cut_text():
    text = (
        "[Instance 0 - dsp_fixed8_tf] 300.5 infs/sec\n[Instance 1 - gpu_float16] 1e2 infs/sec - Bui"
    )
    result = parse_throughput(text)
    assert [thread.runtime for thread in result.threads] == ["dsp_fixed8_tf", "gpu_float16"]
    assert result.total_per_second == 400.5
    assert result.threads[1].build_us is None
    failed = parse_throughput(f"{ERROR}\nTotal throughput: 0 infs/sec")
    assert failed.total_per_second == 0 and failed.errors[0].code == 402


@pytest.mark.parametrize("text", ["", "[Thread 0 - cpu] fast infs/sec", "\x00" * 10])
def test_throughput_of_nothing(text):
    with pytest.raises(PersondetError, match="printed no result: expected a line such as"):
        parse_throughput(text)


CONFIG = {
    "Name": "f38",
    "HostRootPath": "f38",
    "HostResultsDir": "f38/results",
    "DevicePath": "/data/local/tmp/snpebm",
    "Devices": ["454d40f3"],
    "HostName": "localhost",
    "Runs": 2,
    "Model": {
        "Name": "f38",
        "Dlc": "f38.dlc",
        "InputList": "list.txt",
        "Data": ["raw"],
    },
    "Runtimes": ["GPU", "DSP"],
    "Measurements": ["timing"],
    "CpuFallback": True,
    "BufferTypes": ["", "ub_tf8"],
}


def test_a_configuration():
    config = parse_bench_config(json.dumps(CONFIG))
    assert (config.name, config.runs, config.results_dir) == ("f38", 2, "f38/results")
    assert (config.devices, config.runtimes) == (("454d40f3",), ("GPU", "DSP"))
    assert (config.dlc, config.input_list, config.inputs) == ("f38.dlc", "list.txt", ("raw",))
    assert config.buffer_types == ("", "ub_tf8") and config.cpu_fallback
    assert config.options["DevicePath"] == "/data/local/tmp/snpebm"
    older = {**CONFIG, "HostResultDir": "elsewhere"}
    del older["HostResultsDir"], older["BufferTypes"], older["CpuFallback"]
    config = parse_bench_config(json.dumps(older))
    assert (config.results_dir, config.cpu_fallback) == ("elsewhere", False)
    assert config.buffer_types == ("", "ub_float", "ub_tf8")  # all of them by default


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Name": 3}, "wrong in Name: expected a text, got 3"),
        ({"Runs": True}, "wrong in Runs: expected a whole number, got True"),
        ({"Runs": 0}, "wrong in Runs: expected 1 or more, got 0"),
        ({"Devices": ["a", "b"]}, "wrong in Devices: expected one device"),
        ({"Runtimes": ["NPU"]}, r"wrong in Runtimes: expected texts out of 'GPU'.*got 'NPU'"),
        ({"BufferTypes": 3}, "wrong in BufferTypes"),
        ({"HostResultsDir": None}, "wrong in HostResultsDir: expected a text, got None"),
        ({"Model": []}, "wrong in Model: expected an object"),
        ({"Model": {"Dlc": "a"}}, "wrong in Model:InputList"),
    ],
)
def test_a_wrong_configuration(change, message):
    with pytest.raises(InputError, match=message):
        parse_bench_config(json.dumps({**CONFIG, **change}))


def test_a_configuration_that_is_none():
    for text in ("", "{", "[" * 100_000):
        with pytest.raises(InputError, match="is not JSON"):
            parse_bench_config(text)
    with pytest.raises(InputError, match="wrong in the file: expected an object"):
        parse_bench_config("[]")


RESULTS = """\
SNPE SDK version:,1.63.0.3523

Configuration used:
Model:Dlc,f38.dlc
Model:InputDimensions,"1,300,300,3"
Runtimes,"GPU, DSP"
PerfProfile,high_performance

Device Info:
ro.product.model,SDM845
OS_Type,android

,GPU_timing(2 runs),,,,DSP_timing(2 runs),,,
,avg (us),max (us),min (us),runtime,avg (us),max (us),min (us),runtime
Load,149,160,138,,151,152,150,
Total Inference Time,11676,11700,11652,,3318,3400,3236,
RPC Execute,0,0,0,,1777,1800,1754,
layer_000 (Name:data Type:data),0,0,0,GPU,0,0,0,DSP
layer_001 (Name:conv1 (a) Type:convolutional),144,150,138,GPU,99,100,98,CPU
"""


def test_results():
    results = parse_bench_csv(RESULTS)
    assert results.sdk_version == "1.63.0.3523"
    assert results.configuration["Model:InputDimensions"] == "1,300,300,3"
    assert results.device == {"ro.product.model": "SDM845", "OS_Type": "android"}
    gpu, dsp = results.groups
    assert (gpu.runtime, gpu.measurement, gpu.runs) == ("GPU", "timing", 2)
    assert gpu.figures["Total Inference Time"].average == Amount(us=11676)
    total = dsp.figures["Total Inference Time"]
    assert (total.maximum, total.minimum, total.runtime) == (Amount(us=3400), Amount(us=3236), None)
    assert dsp.figures["layer_001 (Name:conv1 (a) Type:convolutional)"].runtime == "CPU"
    assert results.layers == {0: ("data", "data"), 1: ("conv1 (a)", "convolutional")}


def test_results_without_the_first_blank_column_of_the_titles():
    text = RESULTS.replace(",GPU_timing", "GPU_timing").replace("\n,avg", "\navg")
    assert parse_bench_csv(text).groups == parse_bench_csv(RESULTS).groups


def test_units_of_results_are_kept():
    gpu = parse_bench_csv(RESULTS.replace("(us)", "(cycles)")).groups[0]
    assert gpu.figures["Load"].average == Amount(cycles=149)
    memory = parse_bench_csv(RESULTS.replace("GPU_timing", "GPU_mem").replace("(us)", "(kB)"))
    assert memory.groups[0].measurement == "mem"
    assert memory.groups[0].figures["Load"].average == Amount()
    assert memory.groups[0].figures["Load"].texts[0] == "149"


@pytest.mark.parametrize("text", ["", "a,b\n", RESULTS[: RESULTS.index("\n,avg")]])
def test_results_without_measurements(text):
    with pytest.raises(PersondetError, match="hold no measurement: expected a column title"):
        parse_bench_csv(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=40), st.sampled_from((RESULTS + NET_RUN + THROUGHPUT).splitlines())
        ),
        max_size=25,
    ).map("\n".join)
)
def test_no_text_crashes_a_parser(text):
    parse_net_run(text)
    for parse in (parse_throughput, parse_bench_csv, parse_bench_config):
        try:
            parse(text)
        except PersondetError:
            continue
