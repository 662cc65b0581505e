"""How often a device is asked, and what is taken from its answers; the boards are made up."""

import numpy as np
import pytest

from benchmarks.device_measure import (
    EMULATED_RUNS,
    PYTHON_RUNS,
    SdkAmounts,
    measure_by_net_run,
    measure_by_python,
    measure_by_throughput,
    run_of_report,
)
from benchmarks.device_runs import LayerTime
from benchmarks.devices.python_board import BoardRuns
from benchmarks.devices.shell_line import DeviceLostError
from benchmarks.devices.snpe_board import NetRun
from benchmarks.devices.snpe_commands import RunSettings
from export.sdk.parsers.diagview import DiagReport, parse_diagview
from export.sdk.parsers.throughput import parse_throughput
from persondet.errors import PersondetError

TENSOR = np.zeros((1, 3, 48, 80), np.float32)
OLD = """\
Software library version: 1.68.0.3932
Dnn Runtime Load/Deserialize/Create/De-Init Statistics:
--------------------------------------------------
Load: 100 us
Init: 90000 us
Average SNPE Statistics:
------------------------------
Total Inference Time: 26458 us
Forward Propagate Time: 26000 us
RPC Execute Time: 25000 us
Snpe Accelerator Time: 0
Accelerator Time: 20000 us
Misc Accelerator Time: 0
Layer Times:
---------------
0: 1419 us : CPU
1: 162014 cycles : DSP
2: 0 : DSP
"""
NEW = """\
SNPE Create Statistics:
------------------------------
Init: 90000 us
SNPE Execute Statistics (Averaged):
------------------------------
Total Inference Time: 13545 us
Forward Propagate Time: 13000 us
Per-Layer Execution Times:
---------------
3: seq/dense/Relu:OpId_20 (cycles) : 1252 cycles : DSP
"""


class FakePythonBoard:
    name = "ssh:board"

    def __init__(self, emulated=False):
        self.emulated = emulated
        self.asked = []

    def run(self, tensors, *, warmup, rounds, keep_outputs):
        assert not keep_outputs
        assert len(tensors) == 1
        self.asked.append((warmup, rounds))
        durations_ns = np.full((rounds, 1), 2_000_000, np.int64)
        return BoardRuns({}, durations_ns, 7_000_000, "HTP", self.emulated, {"python": "3.12"})


class FakeToolBoard:
    """texts: of snpe-diagview, one a run; None where the tool left no log."""

    def __init__(self, texts):
        self.texts = list(texts)
        self.asked = []

    def net_run(self, settings):
        self.asked.append(settings.profiling_level)
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return NetRun({}, None if text is None else parse_diagview(text))

    def throughput(self, settings, duration_s):
        self.asked.append(duration_s)
        return parse_throughput(self.texts[0])


def test_frames_of_our_runtime_are_measured_one_by_one_in_several_starts():
    board, ticks = FakePythonBoard(), []
    measured, first, warmup = measure_by_python(board, TENSOR, 12, 4, lambda: ticks.append(1))
    assert board.asked == [(0, 1), *[(4, 3)] * 2, *[(4, 2)] * 3]
    assert (len(measured.runs), len(ticks), warmup) == (12, 5, 4)
    assert [run.start for run in measured.runs] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert {run.total_us for run in measured.runs} == {2000.0}
    assert [run.init_us for run in measured.runs if run.init_us] == [7000.0] * 5
    assert first.device == "HTP"


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeviceLostError])
@pytest.mark.parametrize("good", [0, 2])
def test_runs_before_what_stops_all_are_kept(error, good):
    python, tools = FakePythonBoard(), FakeToolBoard([OLD])
    for board, name in ((python, "run"), (tools, "net_run")):  # one more: the first, the warm-up
        setattr(board, name, after(1 + good, getattr(board, name), error))
    amounts, settings = SdkAmounts(9, 1, 10, 0), RunSettings("cpu")
    if not good:
        with pytest.raises(error):
            measure_by_python(python, TENSOR, 9, 0)
        with pytest.raises(error):
            measure_by_net_run(tools, settings, amounts)
        return
    measured = (
        measure_by_python(python, TENSOR, 9, 0)[0],
        measure_by_net_run(tools, settings, amounts),
    )
    assert [len(found.runs) for found in measured] == [2 * good, good]
    assert all(isinstance(found.stopped, error) for found in measured)


def after(count, method, error):
    """method, which raises an error once it has been called so many times."""
    left = iter(range(count))

    def called(*words, **options):
        if next(left, None) is None:
            raise error
        return method(*words, **options)

    return called


def test_an_emulated_chip_is_asked_for_less():
    board = FakePythonBoard(emulated=True)
    measured, _, warmup = measure_by_python(board, TENSOR, None, None)
    assert board.asked == [(0, 1), (1, EMULATED_RUNS)]
    assert (len(measured.runs), warmup) == (EMULATED_RUNS, 1)
    assert len(measure_by_python(FakePythonBoard(), TENSOR, None, None)[0].runs) == PYTHON_RUNS
    assert len(measure_by_python(FakePythonBoard(), TENSOR, 1, 0)[0].runs) == 1


def test_snpe_net_run_times_layers_apart_from_the_rest():
    board = FakeToolBoard([OLD])
    measured = measure_by_net_run(board, RunSettings("dsp"), SdkAmounts(4, 2, 10, 3))
    assert board.asked == ["basic"] * 6 + ["detailed"] * 3
    assert (len(measured.runs), len(measured.layer_runs), measured.without_time) == (4, 3, 0)
    assert measured.runs[0].frames == 10
    assert [run.start for run in measured.runs] == [0, 1, 2, 3]


def test_a_log_that_is_missing_now_and_then_is_counted():
    board = FakeToolBoard([OLD, None, OLD])
    measured = measure_by_net_run(board, RunSettings("dsp"), SdkAmounts(3, 0, 10, 0))
    assert (len(measured.runs), measured.without_time) == (2, 1)
    with pytest.raises(PersondetError, match=r"none of 3 runs .* --tool throughput"):
        measure_by_net_run(FakeToolBoard([None]), RunSettings("dsp"), SdkAmounts(3, 0, 10, 2))


def test_a_report_of_the_older_text():
    run = run_of_report(parse_diagview(OLD), 10)
    assert (run.total_us, run.init_us) == (26458.0, 90000.0)
    assert run.parts_us == {"forward_us": 26000, "rpc_us": 25000, "accelerator_us": 20000}
    assert run.layers == (
        LayerTime(0, "", 1419.0, "us", "CPU"),
        LayerTime(1, "", 162014.0, "cycles", "DSP"),
        LayerTime(2, "", 0.0, "cycles", "DSP"),
    )


def test_a_report_of_the_newer_text():
    run = run_of_report(parse_diagview(NEW), 10)
    assert run.parts_us == {"forward_us": 13000}
    assert run.layers == (LayerTime(3, "seq/dense/Relu", 1252.0, "cycles", "DSP"),)


def test_a_report_without_a_total_is_an_error():
    with pytest.raises(PersondetError, match="no total inference time"):
        run_of_report(DiagReport("1.68", {}, {}, notes=("cut off",)), 10)


def test_the_throughput_tool_gives_rates():
    line = (
        "[Instance 0 - dsp_fixed8_tf] 50.0 infs/sec - Number of images processed: 100 - Build "
        "time: 48593 microseconds\nTotal throughput: 50.0 infs/sec\n"
    )
    board = FakeToolBoard([line])
    measured = measure_by_throughput(board, RunSettings("dsp"), SdkAmounts(3, 1, 10, 5))
    assert len(board.asked) == 4
    assert [run.total_us for run in measured.runs] == [20000.0] * 3
    assert (measured.runs[0].frames, measured.runs[0].init_us) == (100, 48593.0)


def test_no_throughput_is_an_error():
    board = FakeToolBoard(["Total throughput: 0 infs/sec\n"])
    with pytest.raises(PersondetError, match="ran no frame"):
        measure_by_throughput(board, RunSettings("dsp"), SdkAmounts(1, 0))
