"""All that `persondet doctor` looks at, and which jobs can run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.doctor.devices import adb_findings, device_findings
from benchmarks.doctor.embedded import embedded_findings
from benchmarks.doctor.findings import DEVICE_JOB, JOBS, Finding
from benchmarks.doctor.packages import package_findings
from benchmarks.doctor.sdk import sdk_findings
from benchmarks.doctor.space import space_findings
from export.sdk.versions import SdkVersion
from persondet.errors import InputError


@dataclass(frozen=True)
class Examination:
    """toolchain: the one that convert and quantize use. jobs: those that were asked for; all of
    this machine's where none was."""

    toolchain: str
    findings: tuple[Finding, ...]
    jobs: tuple[str, ...]

    def stopped_by(self, job: str) -> list[Finding]:
        """The problems that stop a job."""
        return [found for found in self.findings if job in found.stops]

    @property
    def can_run(self) -> bool:
        """Whether every job that was asked for can."""
        return not any(self.stopped_by(job) for job in self.jobs)


def examine(
    jobs: Sequence[str],
    environ: Mapping[str, str],
    toolchain: str | None = None,
    sdk_folder: Path | None = None,
    *,
    sdk_version: SdkVersion | None = None,
    sdk_python: Path | None = None,
) -> Examination:
    """jobs: of JOBS, or `device:WHERE`; empty for all of JOBS.

    toolchain: `embedded` or `snpe`; None for what the commands would take: `snpe` where the
    environment, or sdk_folder, names an SDK. sdk_version, sdk_python: instead of what is found.
    Raises InputError for an unknown job.
    """
    for job in jobs:
        names_device = job.startswith(DEVICE_JOB) and job != DEVICE_JOB
        if job not in JOBS and not names_device:
            raise InputError(f"unknown job {job!r}; known: {', '.join(JOBS)}, {DEVICE_JOB}WHERE")
    of_sdk, sdk = sdk_findings(environ, sdk_folder, sdk_version, sdk_python)
    named = sdk is not None or any(finding.level == "problem" for finding in of_sdk)
    toolchain = toolchain or ("snpe" if named else "embedded")
    if toolchain == "snpe" and not named:
        raise InputError(
            "no SDK to examine: the environment names none; set SNPE_ROOT to its folder, or "
            "give --sdk DIR"
        )
    findings = [*package_findings(toolchain)]
    findings += _unless_used(embedded_findings(), used=toolchain == "embedded")
    findings += _unless_used(of_sdk, used=toolchain == "snpe")
    findings += space_findings()
    devices = [job.removeprefix(DEVICE_JOB) for job in jobs if job.startswith(DEVICE_JOB)]
    findings += adb_findings() if not devices else []
    for device in devices:
        findings += device_findings(device, sdk)
    return Examination(toolchain, tuple(findings), tuple(jobs) or tuple(JOBS))


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
            job: {
                "can_run": not examination.stopped_by(job),
                "stopped_by": [found.text for found in examination.stopped_by(job)],
            }
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


def examination_lines(examination: Examination) -> list[tuple[str, str]]:
    """(topic, text): what was found, then each job's verdict."""
    lines = [(found.topic, _text(found)) for found in examination.findings]
    for job in examination.jobs:
        stopped = examination.stopped_by(job)
        verdict = "can run" if not stopped else f"cannot run: {stopped[0].text}"
        if job in ("convert", "quantize") and not stopped:
            verdict += f" (toolchain {examination.toolchain})"
        lines.append((job, verdict))
    return lines


def _text(found: Finding) -> str:
    if found.level == "problem":
        return f"PROBLEM: {found.text}\n  remedy: {found.remedy}"
    return f"{found.text}\n  {found.remedy}" if found.remedy else found.text
