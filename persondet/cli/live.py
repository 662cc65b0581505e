"""`persondet live`."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

from persondet.cli.options import detection_options
from persondet.terminal import without_passwords
from persondet.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from runtime.detections import Detections
    from runtime.detector import Detector
    from runtime.video import Video

SECONDS_BETWEEN_LINES = 2.0


@click.command()
@click.argument("arguments", nargs=-1, metavar="MODEL SOURCE")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="CLIP",
    help="Write the video with its boxes: a .mp4, .mov or .avi file.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame on standard output.")
@click.option("--max-frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@click.option("--no-window", is_flag=True, help="Open no window, even where there is a display.")
@detection_options
@click.option("--model_path", metavar="MODEL", help="MODEL, as the original project spells it.")
def command(
    arguments: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    max_frames: int | None,
    no_window: bool,
    score_threshold: float | None,
    nms_iou: float | None,
    top_k: int | None,
    classes: tuple[str, ...] | None,
    spec_path: Path | None,
    threads: int | None,
    model_path: str | None,
) -> None:
    """Find persons or heads in a video or a camera, frame by frame.

    SOURCE is a video file, a camera's number (0), or an address: of a stream (rtsp://...), or of
    a file (http://, file://). With --model_path it may be left away and is then camera 0. In the
    window q or Esc stops; Ctrl-C stops everywhere, and the clip written so far is kept. Every frame
    of a file is looked at, of a live source always the newest one. time_s of --json is a file's own
    time stamp, or when a live frame came, in seconds after the first.
    """
    from persondet.cli.opening import open_model
    from persondet.models import resolve_model
    from runtime.detector import Detector
    from runtime.video import Video, check_clip, writing_clip
    from runtime.window import can_open_window, close_window

    model, source = _model_and_source(arguments, model_path)
    if out is not None:
        check_clip(out, _inputs(resolve_model(model), source, spec_path))
    windowed = not no_window and can_open_window()
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(contextlib.closing(Video(source)))
        backend = stack.enter_context(contextlib.closing(open_model(model, spec_path, threads)))
        detector = Detector(backend, score_threshold, nms_iou, top_k, classes)
        append = None
        if out is not None:
            append = stack.enter_context(writing_clip(out, video.frames_per_second))
        if windowed:
            stack.callback(close_window)
        summary, lost = _run(video, detector, max_frames, append, windowed, as_json)
    click.echo(summary + ("" if out is None else f" -> {out}"), err=as_json)
    if lost is not None:
        raise lost


def _model_and_source(arguments: tuple[str, ...], model_path: str | None) -> tuple[str, str]:
    given = arguments if model_path is None else (model_path, *(arguments or ("0",)))
    if len(given) != 2:
        raise click.UsageError(
            f"expected MODEL SOURCE, got {without_passwords(' '.join(given)) or 'nothing'}; "
            "SOURCE is a video file, a camera's number or a stream's address"
        )
    return given[0], given[1]


def _inputs(model: Path, source: str, spec_path: Path | None) -> list[Path]:
    """What the clip must not replace; a camera's number is no file, whatever is called so."""
    from runtime.video import local_path

    path = local_path(source)
    return [model, *(given for given in (spec_path, path) if given is not None)]


def _run(
    video: "Video",
    detector: "Detector",
    max_frames: int | None,
    append: "Callable[[np.ndarray], None] | None",
    windowed: bool,
    as_json: bool,
) -> tuple[str, OSError | None]:
    """Go through the frames until they or the user's patience end; returns a line of summary,
    and the error where the lines about them could not be written.

    Raises what ended it where that was before anything was shown or written.
    """
    from runtime.output import found_record, json_line
    from runtime.video import copies_due
    from runtime.window import show

    names = detector.spec.class_names
    start = said = perf_counter()
    frames = written = 0
    lost = None
    try:
        for time_s, frame_rgb, detections, rate in _detected(video, detector, max_frames):
            frames += 1
            now = perf_counter()
            if append or windowed:
                drawn = _drawn(frame_rgb, detections, names, rate)
            if append:
                copies = (
                    copies_due(now - start, video.frames_per_second, written)
                    if video.is_live
                    else 1
                )
                for _ in range(copies):
                    append(drawn)
                written += copies
            if as_json:  # after the frame is in the clip, as the reader may be gone
                found = found_record(frame_rgb.shape[:2], detections, names)
                click.echo(json_line({"frame": frames, "time_s": round(time_s, 6), **found}))
            if windowed and not show(drawn):
                break
            if not windowed and now - said >= SECONDS_BETWEEN_LINES:
                said = now
                click.echo(_progress_line(frames, video.frame_count, rate), err=True)
    except (KeyboardInterrupt, OSError) as error:  # stopped, or its lines cannot be written
        if not (written if append else frames):
            raise
        lost = error if isinstance(error, OSError) else None
    speed = _rate_text(frames / (perf_counter() - start))
    summary = f"{counted(frames, 'frame')}, {speed} a second, on {detector.backend.device}"
    return summary, lost


def _detected(
    video: "Video", detector: "Detector", max_frames: int | None
) -> "Iterator[tuple[float, np.ndarray, Detections, float]]":
    """Each frame's time in seconds, the frame, what was found in it, the frames a second so far."""
    from runtime.video import FrameClock

    clock = FrameClock()
    for time_s, frame_rgb in itertools.islice(video.timed_frames_rgb(), max_frames):
        detections = detector(frame_rgb)
        yield time_s, frame_rgb, detections, clock.tick(perf_counter())


def _drawn(
    frame_rgb: "np.ndarray", detections: "Detections", names: Sequence[str], rate: float
) -> "np.ndarray":
    from runtime.drawing import draw_caption, draw_detections

    drawn = draw_detections(frame_rgb, detections, names)
    if rate:
        draw_caption(drawn, f"{_rate_text(rate)} frames/s")
    return drawn


def _progress_line(frames: int, frame_count: int | None, rate: float) -> str:
    of = "" if frame_count is None else f" of {frame_count}"
    return f"frame {frames}{of}: {_rate_text(rate)} a second"


def _rate_text(rate: float) -> str:
    """A model may need many seconds a frame: 0.04, not 0.0."""
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"
