"""export.sdk.parsers: net_run and throughput."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.sdk.parsers.net_run import RuntimeErrorLine, processed_inputs, runtime_errors
from export.sdk.parsers.throughput import ThreadResult, parse_throughput
from persondet.errors import PersondetError

BANNER = """\
-------------------------------------------------------------------------------
Model String: N/A
SNPE v2.14.2.230905160328_61726
-------------------------------------------------------------------------------
"""
OLD_RUN = f"""\
{BANNER}Processing DNN input(s):
/data/local/tmp/raw/0.raw
Processing DNN input(s):
/data/local/tmp/raw/1.raw
Successfully executed!
"""
RUN_2_22 = f"""\
{BANNER}
Processing graph : head
Processing DNN input(s):
./raw/0.raw
Processing DNN input(s):
./raw/1.raw
Successfully executed graph head
"""
RUN_2_46 = f"""\
{BANNER}
Processing graph : head
Processing DNN input(s): ./raw/0.raw
Processing DNN input(s): ./raw/1.raw
Successfully executed graph head
"""
ERROR = (
    "error_code=402; error_message=Network partition has failed. error_code=402; "
    "error_message=Layer x not supported; error_component=Dl System; line_no=417; "
    "thread_id=547726"
)


@pytest.mark.parametrize("text", [OLD_RUN, RUN_2_22, RUN_2_46])
def test_inferences_that_were_begun(text):
    assert processed_inputs(text) == 2
    assert processed_inputs(text[: text.index("1.raw")] + "1.raw") == 2
    assert processed_inputs(text.replace("Successfully", "[INFO] x\nSuccessfully")) == 2
    assert processed_inputs(f"{text}{ERROR}\n") == 2
    assert processed_inputs(text[: text.index("Processing DNN")]) == 0


def test_a_list_of_paths_below_one_line():
    assert processed_inputs("Processing DNN input(s):\na.raw\nb.raw\n") == 2


def test_error_lines():
    line = (
        "error_code=7005; error_message=QnnGraph_addNode() failed; error_component=Qnn; line_no=3"
    )
    assert runtime_errors(f"x\n{line}\n{line}\n") == (
        RuntimeErrorLine(7005, "QnnGraph_addNode() failed", "Qnn", "3", ""),
    )
    first, second = runtime_errors(OLD_RUN + ERROR)
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


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=40), st.sampled_from((RUN_2_46 + OLD_RUN + THROUGHPUT).splitlines())
        ),
        max_size=25,
    ).map("\n".join)
)
def test_no_text_crashes_a_parser(text):
    assert 0 <= processed_inputs(text) <= len(text)
    with contextlib.suppress(PersondetError):
        parse_throughput(text)
