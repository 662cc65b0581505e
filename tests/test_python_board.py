"""Jobs on this machine as the device: what runs, what comes back, what is left."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tiny_detector import SPEC, outputs_with, save_onnx, with_format

from benchmarks.devices import python_board as module
from benchmarks.devices.python_board import open_python_board
from benchmarks.devices.runtime_zip import pack_runtime
from benchmarks.devices.transport import Transport, open_transport
from export.process import Finished
from persondet.errors import InputError, PersondetError
from persondet.spec import spec_to_dict
from runtime.device_job import Job, run_job
from runtime.onnx_backend import OnnxBackend

OUTPUTS = outputs_with({3: (0, 9, 0)})


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PERSONDET_DEVICE_FOLDER", str(tmp_path / "de vice;id"))
    monkeypatch.delenv("PERSONDET_DEVICE_PYTHON", raising=False)
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with open_transport("local") as transport:
        yield transport
        left = [path.name for path in Path(transport.folder).iterdir()]
        assert all(name.startswith("persondet-runtime-") for name in left), left
    assert list((tmp_path / "t").iterdir()) == []


def tensors(count: int, spec=SPEC) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 9, spec.input_shape).astype(spec.input_dtype) for _ in range(count)]


def test_the_device_computes_what_this_machine_does(device: Transport, tiny_onnx: Path) -> None:
    here = OnnxBackend(tiny_onnx)
    frames = tensors(3, here.spec)
    with open_python_board(device, tiny_onnx, here.spec, threads=1) as board:
        runs = board.run(frames, warmup=2, rounds=5)
        again = board.run(frames[:1], keep_outputs=False)
    expected = [here.infer(frame) for frame in frames]
    for name, rows in runs.outputs.items():
        np.testing.assert_allclose(
            rows, np.concatenate([outputs[name] for outputs in expected]), atol=1e-5
        )
    assert runs.durations_ns.shape == (5, 3) and runs.durations_ns.min() > 0
    assert (again.outputs, again.durations_ns.shape) == ({}, (1, 1))
    assert runs.machine["python"].startswith("3.") and not runs.emulated


def test_bytes_are_fed_as_bytes(device: Transport, tmp_path: Path) -> None:
    spec = with_format("uint8-nhwc")
    path = save_onnx(tmp_path / "m.onnx", OUTPUTS, spec)
    with open_python_board(device, path, spec) as board:
        np.testing.assert_array_equal(
            board.run(tensors(2, spec)).outputs["scores"][1:], OUTPUTS["scores"]
        )
        with pytest.raises(InputError, match=r"expected tensors of uint8 .*, got float32"):
            board.run(tensors(1))


def test_a_dlc_runs_without_its_sidecar_there(device: Transport, tiny_dlc: Path) -> None:
    from runtime.dlc_backend import spec_of_dlc

    spec = spec_of_dlc(tiny_dlc)
    with open_python_board(device, tiny_dlc, spec) as board:
        runs = board.run(tensors(1, spec))
    assert "Hexagon" in runs.device or "HTP" in runs.device
    assert np.isfinite(runs.outputs["boxes"]).all()


def test_the_runtime_is_pushed_once(device: Transport, tmp_path: Path) -> None:
    first = pack_runtime(tmp_path / "1.zip").read_bytes()
    os.utime(module.__file__)
    assert pack_runtime(tmp_path / "2.zip").read_bytes() == first
    path = save_onnx(tmp_path / "m.onnx", OUTPUTS)
    for _ in range(2):
        with open_python_board(device, path, SPEC):
            pass
    assert len(list(Path(device.folder).iterdir())) == 1


def test_the_zip_alone_is_enough(tmp_path: Path) -> None:
    """Without torch, onnx, click and this repository."""
    packed = pack_runtime(tmp_path / "r.zip")
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'click', 'rich'): sys.modules[name] = None\n"
        "import runtime.device_job, runtime.onnx_backend, runtime.dlc_backend, runtime.detector\n"
        "import persondet\n"
        "for module in (runtime.device_job, runtime.onnx_session, persondet):\n"
        "    assert '.zip' in module.__file__, module"
    )
    env = {**os.environ, "PYTHONPATH": str(packed)}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, env=env)


def test_models_that_do_not_run_there(device: Transport, tmp_path: Path) -> None:
    checkpoint = tmp_path / "m.pth"
    checkpoint.write_bytes(b"\x80\x02")
    match = r"m\.pth: a checkpoint does not run on a device; export it"
    with pytest.raises(InputError, match=match), open_python_board(device, checkpoint, SPEC):
        pass
    torn = tmp_path / "m.onnx"
    torn.write_bytes(save_onnx(torn, OUTPUTS).read_bytes()[:300])
    with (
        open_python_board(device, torn, SPEC) as board,
        pytest.raises(InputError, match=r"^local: cannot load .*model\.onnx: expected an ONNX"),
    ):
        board.run(tensors(1))


def test_outputs_of_another_size(device: Transport, tmp_path: Path, monkeypatch) -> None:
    path = save_onnx(tmp_path / "m.onnx", OUTPUTS)
    other = dataclasses.replace(SPEC, levels=SPEC.levels[:1])
    with open_python_board(device, path, other) as board:
        monkeypatch.setattr(module, "spec_to_dict", lambda spec: spec_to_dict(SPEC))
        match = r"local, output scores: expected float32 \(1, 30, 3\), got float32 \(1, 38, 3\)"
        with pytest.raises(PersondetError, match=match):
            board.run(tensors(1))


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("exit 127", r"local has no program .*python: boards without Python are reached with"),
        ("echo 3.8.10", r"python is Python 3\.8\.10, expected 3\.11 or newer; name another by"),
        ("echo hello", r"local has no program"),
    ],
)
def test_pythons_that_will_not_do(device, tmp_path, monkeypatch, script, match) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setenv("PERSONDET_DEVICE_PYTHON", str(python))
    path = save_onnx(tmp_path / "m.onnx", OUTPUTS)
    with pytest.raises(InputError, match=match), open_python_board(device, path, SPEC):
        pass


@pytest.mark.parametrize(
    ("finished", "error", "match"),
    [
        (Finished((), 1, "", "Traceback\nModuleNotFoundError: No module named 'cv2'\n"), InputError,
         r"^local lacks the Python package cv2: on the device, pip install opencv-python-headless"),
        (Finished((), 137, "", "Killed"), PersondetError, r"code 137 \(killed, perhaps for want"),
        (Finished((), -11, "chatter\n", ""), PersondetError, r"exit code -11 and no report:\n  it"),
        (Finished((), 1, "", "OSError: [Errno 28] No space left on device"), InputError,
         r"the storage of local is full"),
        (Finished((), 0, "\n[1, 2]\n", "odd"), PersondetError, r"no report:\n  odd"),
        (Finished((), 0, '{"error": "bad model", "exit_code": 2}', ""), InputError, r"^local: bad"),
        (Finished((), 0, '{"error": "broke", "exit_code": 1}', ""), PersondetError, r"^local: b"),
    ],
)  # fmt: skip
def test_jobs_that_end_badly(device, tmp_path, monkeypatch, finished, error, match) -> None:
    path = save_onnx(tmp_path / "m.onnx", OUTPUTS)
    with open_python_board(device, path, SPEC) as board:
        real = device._link.run

        def run(argv, **options):
            return finished if "runtime.device_job" in argv else real(argv, **options)

        monkeypatch.setattr(device._link, "run", run)
        with pytest.raises(error, match=match):
            board.run(tensors(1))


def test_a_job_by_hand(tmp_path: Path) -> None:
    save_onnx(tmp_path / "m.onnx", OUTPUTS)
    np.save(tmp_path / "t.npy", np.concatenate(tensors(2)))
    job = Job("m.onnx", spec_to_dict(SPEC), "t.npy", "o.npz", 1, 3, {"threads": 1})
    (tmp_path / "job.json").write_text(json.dumps(dataclasses.asdict(job)))
    report = run_job(tmp_path / "job.json")
    assert len(report["durations_ns"]) == 6
    with np.load(tmp_path / "o.npz") as outputs:
        assert outputs["scores"].shape == (2, 38, 3)
