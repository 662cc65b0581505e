"""runtime.qairt.generation: who wrote a DLC, and what loads it."""

import json

import pytest
from dlc_files import entries_of, write_entries, zero_crcs

from runtime.qairt.container import check_container
from runtime.qairt.generation import Origin, origin_of

V4 = b"\xd5\x0a\x04\x00\x00\x00\x00\x00"


def origin(path, entries, **known) -> Origin:
    return origin_of(check_container(write_entries(path / "x.dlc", entries)), **known)


def verdicts(loaders) -> dict[str, bool]:
    return {loader.name: loader.loads for loader in loaders}


def test_snpe_1(shared_dlc):
    found = origin_of(check_container(shared_dlc / "test_abs_q.dlc"))
    assert found.title == "SNPE 1.x (1.56.2.3050), model format 3.0"
    assert [step.tool for step in found.steps] == ["snpe-onnx-to-dlc", "snpe-dlc-quantize"]
    assert str(found.steps[0]) == "snpe-onnx-to-dlc 1.56.2.3050"
    assert found.is_quantized
    assert list(verdicts(found.runtimes).values()) == [True, False, False, False]
    assert found.runtimes[0].why == "of 1.56.2.3050 or newer"
    assert verdicts(found.processors)["DSP, HTP"]
    short = found.steps[1].short_command
    assert short.startswith("snpe-dlc-quantize verbose=true input_dlc=[")
    assert short.endswith("(31 options off or empty)")


def test_a_float_file_of_snpe_1_runs_on_its_dsp(shared_dlc):
    found = origin_of(check_container(shared_dlc / "test_abs.dlc"))
    assert not found.is_quantized and len(found.steps) == 1
    dsp = next(loader for loader in found.processors if loader.name == "DSP, HTP")
    assert dsp.loads and "worse ranges" in dsp.why
    assert not verdicts(found.processors)["AIP"]


def test_snpe_2(tmp_path):
    text = (
        b"converter-command=snpe-onnx-to-dlc a=1 b=False\nconverter-version=2.5.0.4052\n"
        b"quantizer-command=N/A\n"
    )
    found = origin(tmp_path, {"model": V4, "dlc.metadata": text})
    assert found.title == "SNPE 2.x (2.5.0.4052), model format 4.0"
    assert list(verdicts(found.runtimes).values()) == [False, True, True, True]
    assert not verdicts(found.processors)["DSP, HTP"]
    assert verdicts(found.processors)["CPU"]
    assert found.steps[0].short_command == "snpe-onnx-to-dlc a=1 (1 options off or empty)"


HISTORIES = {
    "dlc.metadata2.0.1": {
        "dlc-generation-info": [
            {
                "converter-command": {
                    "command": "snpe-onnx-to-dlc a=1",
                    "converter-version": "2.33.0.250101",
                },
                "quantizer-command": {"command": "snpe-dlc-quant b=2"},
            }
        ]
    },
    "dlc.metadata2.1.0": {
        "dlcGenerationInfo": [
            {
                "converterCommand": {
                    "tool": "snpe-onnx-to-dlc",
                    "args": {"a": 1},
                    "converterVersion": "2.33.0.250101",
                },
                "quantizerCommand": {"tool": "snpe-dlc-quant", "args": {"b": 2}},
            }
        ]
    },
}


@pytest.mark.parametrize("entry", HISTORIES)
def test_qairt_in_both_spellings(tmp_path, entry):
    entries = {"model": V4, entry: json.dumps(HISTORIES[entry]).encode()}
    found = origin(tmp_path, entries)
    assert found.title == "QAIRT (2.33.0.250101), model format 4.0"
    assert [step.command for step in found.steps] == ["snpe-onnx-to-dlc a=1", "snpe-dlc-quant b=2"]
    assert found.is_quantized
    assert list(verdicts(found.runtimes).values()) == [False, False, True, True]
    assert not origin(tmp_path, entries, is_quantized=False).is_quantized  # the graph knows better


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"dlcGenerationInfo": None},
        {"dlcGenerationInfo": "x"},
        {"dlcGenerationInfo": ["x", {}, {"converterCommand": 3}]},
        {"dlcGenerationInfo": [{"quantizerCommand": {"tool": "N/A", "args": {}}}]},
        {"dlcGenerationInfo": [{" ": {"tool": " "}}]},
        [],
    ],
)
def test_a_history_that_says_nothing(tmp_path, record):
    found = origin(tmp_path, {"model": V4, "dlc.metadata2.1.0": json.dumps(record).encode()})
    assert (found.steps, found.version, found.is_quantized) == ((), None, None)
    assert found.processors == ()  # where it runs depends on that
    assert "does not say whether it is quantized" in found.notes[0]
    assert found.title == "QAIRT, model format 4.0"
    assert "as new as the file" in next(loader.why for loader in found.runtimes if loader.loads)


def test_odd_values_in_a_history(tmp_path):
    step = {"timestamp": 3, "version": {"major": 2}, "args": []}
    record = {"dlcGenerationInfo": {"converterCommand": step}}
    found = origin(tmp_path, {"model": V4, "dlc.metadata2.1.0": json.dumps(record).encode()})
    assert [str(step) for step in found.steps] == ["converter"]


def test_what_we_write_and_the_same_without_crcs(tiny_dlc, tmp_path):
    found = origin_of(check_container(tiny_dlc), is_quantized=False)
    assert found.generation == "QAIRT" and found.version and found.notes == ()
    assert origin_of(check_container(tiny_dlc)).is_quantized is None  # its record does not say
    copy = zero_crcs(tiny_dlc, tmp_path / "x.dlc")
    without = origin_of(check_container(copy), is_quantized=False)
    assert "its entries have no CRCs" in without.notes[0]
    assert without.steps == found.steps


def test_an_empty_entry_needs_no_crc(tiny_dlc, tmp_path):
    path = write_entries(tmp_path / "x.dlc", {**entries_of(tiny_dlc), "empty": b""})
    assert not check_container(path).without_crc
