"""All that `persondet doctor` looks at, and which jobs can run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.doctor.devices import adb_findings, device_findings
from benchmarks.doctor.embedded import embedded_findings
from benchmarks.doctor.findings import DEVICE_JOB, JOBS, RUN_JOBS, Finding
from benchmarks.doctor.opencv import opencv_findings
from benchmarks.doctor.packages import package_findings
from benchmarks.doctor.sdk import sdk_findings
from benchmarks.doctor.space import space_findings
from export.sdk.versions import SdkVersion
from persondet.errors import InputError


@dataclass(frozen=True)
class Examination:
    """toolchain: the one that convert and quantize use. jobs: those that were asked for; all of
    this machine's when none was, and then asked is False."""

    toolchain: str
    findings: tuple[Finding, ...]
    jobs: tuple[str, ...]
    asked: bool = True

    def stopped_by(self, job: str) -> list[Finding]:
        """The findings that stop a job. `run` is stopped when no kind of model can run."""
        if job == "run":
            each = [self.stopped_by(kind) for kind in RUN_JOBS]
            unique = dict.fromkeys(found for stopped in each for found in stopped)
            return list(unique) if all(each) else []
        names = (job, "run") if job in RUN_JOBS else (job,)
        return [found for found in self.findings if any(name in found.stops for name in names)]

    @property
    def stopped_jobs(self) -> list[str]:
        """The jobs that cannot run and should: those that were asked for, or else those that
        something wrong stops, rather than a package that was left out; all when none can run."""
        stopped = {job: self.stopped_by(job) for job in self.jobs}
        if self.asked or all(stopped.values()):
            return [job for job, findings in stopped.items() if findings]
        return [
            job
            for job, findings in stopped.items()
            if any(found.level == "problem" for found in findings)
        ]

    @property
    def can_run(self) -> bool:
        return not self.stopped_jobs


def examine(
    jobs: Sequence[str],
    environ: Mapping[str, str],
    toolchain: str | None = None,
    sdk_folder: Path | None = None,
    *,
    sdk_version: SdkVersion | None = None,
    sdk_python: Path | None = None,
) -> Examination:
    """jobs: of JOBS or RUN_JOBS, or `device:WHERE`; empty for all of JOBS.

    toolchain: `embedded` or `snpe`; None for what the commands would take: `snpe` where the
    environment, or sdk_folder, names an SDK. sdk_version, sdk_python: instead of what is found.
    Raises InputError for an unknown job.
    """
    for job in jobs:
        names_device = job.startswith(DEVICE_JOB) and job != DEVICE_JOB
        if job not in (*JOBS, *RUN_JOBS) and not names_device:
            known = ", ".join((*JOBS, *RUN_JOBS, f"{DEVICE_JOB}WHERE"))
            raise InputError(f"unknown job {job!r}; known: {known}")
    of_sdk, sdk = sdk_findings(environ, sdk_folder, sdk_version, sdk_python)
    named = sdk is not None or any(finding.level == "problem" for finding in of_sdk)
    toolchain = toolchain or ("snpe" if named else "embedded")
    if toolchain == "snpe" and not named:
        raise InputError(
            "no SDK to examine: the environment names none; set SNPE_ROOT to its folder, or "
            "give --sdk DIR"
        )
    findings = [*package_findings(toolchain), *opencv_findings()]
    findings += _unless_used(embedded_findings(), used=toolchain == "embedded")
    findings += _unless_used(of_sdk, used=toolchain == "snpe")
    findings += space_findings()
    devices = [job.removeprefix(DEVICE_JOB) for job in jobs if job.startswith(DEVICE_JOB)]
    findings += adb_findings() if not devices else []
    for device in devices:
        findings += device_findings(device, sdk)
    return Examination(toolchain, tuple(findings), tuple(jobs) or tuple(JOBS), asked=bool(jobs))


def _unless_used(findings: Sequence[Finding], used: bool) -> list[Finding]:
    """A toolchain that is not used stops neither conversion nor quantization."""
    if used:
        return list(findings)
    kept = [
        [job for job in found.stops if job not in ("convert", "quantize")] for found in findings
    ]
    return [
        Finding(found.topic, found.level, found.text, found.remedy, tuple(stops))
        for found, stops in zip(findings, kept, strict=True)
    ]


def examination_json(examination: Examination) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "toolchain": examination.toolchain,
        "can_run": examination.can_run,
        "jobs": {
            job: _verdict(examination, job)
            | ({"kinds": _kinds(examination)} if job == "run" else {})
            for job in examination.jobs
        },
        "findings": [
            {
                "topic": found.topic,
                "level": found.level,
                "text": found.text,
                "remedy": found.remedy,
                "stops": list(found.stops),
            }
            for found in examination.findings
        ],
    }


def _verdict(examination: Examination, job: str) -> dict[str, Any]:
    stopped = examination.stopped_by(job)
    return {"can_run": not stopped, "stopped_by": [found.text for found in stopped]}


def _kinds(examination: Examination) -> dict[str, Any]:
    """The verdict on each kind of model."""
    return {kind.removeprefix("run:"): _verdict(examination, kind) for kind in RUN_JOBS}


def examination_lines(examination: Examination) -> list[tuple[str, str]]:
    """(topic, text): what was found, then each job's verdict."""
    lines = [(found.topic, _text(found)) for found in examination.findings]
    for job in _jobs_by_kind(examination.jobs):
        stopped = examination.stopped_by(job)
        verdict = "can run" if not stopped else f"cannot run: {stopped[0].text}"
        if job in ("convert", "quantize") and not stopped:
            verdict += f" (toolchain {examination.toolchain})"
        lines.append((f"run {RUN_JOBS[job]}" if job in RUN_JOBS else job, verdict))
    return lines


def _jobs_by_kind(jobs: Sequence[str]) -> list[str]:
    """`run` becomes one job per kind of model."""
    by_kind = [tuple(RUN_JOBS) if job == "run" else (job,) for job in jobs]
    return list(dict.fromkeys(job for kinds in by_kind for job in kinds))


def _text(found: Finding) -> str:
    if found.level == "problem":
        return f"PROBLEM: {found.text}\n  remedy: {found.remedy}"
    return f"{found.text}\n  {found.remedy}" if found.remedy else found.text
