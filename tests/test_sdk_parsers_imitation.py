"""The parsers on what the imitation SDK prints: two readings of one description."""

import json

import pytest
from imitation_sdk import diagview

from export.sdk.parsers.diagview import parse_diagview
from export.sdk.parsers.statistics import Amount

LAYERS = ["/conv/Conv", "/relu/Relu", "scores", "boxes", "last"]


@pytest.fixture(params=["cpu_float32", "dsp_fixed8_tf"])
def record(request, tmp_path):
    target = tmp_path / "SNPEDiag_0.log"
    diagview.write_log(target, "2.9.0.4462", request.param, 48_856, 26_458, LAYERS, "")
    return json.loads(target.read_bytes().removeprefix(diagview._MAGIC))


@pytest.mark.parametrize("family", [diagview._old_text, diagview._new_text])
def test_both_families_of_text(record, family):
    report = parse_diagview("\n".join([*diagview._header(record), *family(record)]))
    check(report, record)
    assert report.library_version == "2.9.0.4462"
    assert report.notes == ()
    if family is diagview._new_text:
        assert [layer.name for layer in report.layers] == LAYERS
        assert len(report.subnets) == 1 and report.yields == 0


def check(report, record):
    assert (report.init_us, report.total_inference_us) == (48_856, 26_458)
    assert report.create["create_networks"] == Amount(us=record["create"]["Create Network(s)"])
    assert report.execute["rpc_execute"] == Amount(us=record["execute"]["RPC Execute Time"])
    unit = record["unit"]
    values = [getattr(layer.time, unit) for layer in report.layers]
    assert values == [value for _, value in record["layers"]]
    assert {layer.runtime for layer in report.layers} == {record["runtime"]}
