# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading and writing the data of open files, by fio. One run of fio does all of a subject's."""

import dataclasses
import json
import os
import tempfile

from . import commands
from .commands import Failed

ENGINES = {
    "direct": ["ioengine=psync", "direct=1"],
    # Read once before: what is measured is the cache, not how it was filled.
    "cached": ["ioengine=psync", "invalidate=0", "pre_read=1"],
    "mmap": ["ioengine=mmap", "invalidate=0", "pre_read=1"],
}
PATTERNS = {
    "read": ("sequential read", 1 << 20),
    "write": ("sequential write", 1 << 20),
    "randread": ("random read", 4096),
    "randwrite": ("random write", 4096),
}


@dataclasses.dataclass(frozen=True)
class Job:
    engine: str
    pattern: str
    jobs: int = 1
    files: int = 1

    @property
    def name(self):
        where = f", {self.jobs} on {'one' if self.files == 1 else 'many'}" if self.jobs > 1 else ""
        return f"{PATTERNS[self.pattern][0]}, {self.engine}{where}"

    @property
    def unit(self):
        return "us" if self.pattern.startswith("rand") else "MiB/s"


def jobs(quick):
    """First those that are in no cache, which what is dirty in one would delay."""
    if quick:
        singles = [("direct", "randread"), ("direct", "randwrite")]
        singles += [("cached", pattern) for pattern in PATTERNS]
        return [Job(*what) for what in [*singles, ("mmap", "randread"), ("mmap", "randwrite")]]
    chosen = []
    for engine in ENGINES:
        chosen += [Job(engine, pattern) for pattern in PATTERNS]
        for pattern in ("randread", "randwrite") if engine != "mmap" else ():
            few = (4,) if engine == "cached" else ()
            chosen += [Job(engine, pattern, number) for number in (*few, 8)]
            chosen.append(Job(engine, pattern, 8, 8))
    return chosen


def job_head(milliseconds):
    """What fio is told about all jobs of a file."""
    return ["[global]", "thread", "group_reporting", "time_based", f"runtime={milliseconds}ms",
            "allow_file_create=0", "fallocate=none", "overwrite=1", "norandommap"]


def job_file(chosen, directory, milliseconds):
    lines = job_head(milliseconds)
    for job in chosen:
        lines += [f"[{job.name}]", "stonewall", "new_group", f"rw={job.pattern}",
                  f"bs={PATTERNS[job.pattern][1]}", f"numjobs={job.jobs}", *ENGINES[job.engine]]
        if job.files == 1:
            lines += [f"filename={directory}/j0", "size=64m"]
        else:
            lines += [f"directory={directory}", "filename_format=j$jobnum", "size=8m"]
    return "\n".join(lines) + "\n"


def measure(subject, chosen, milliseconds):
    """Seconds for an operation (a MiB, if sequential) or the Failed of each job, by name."""
    with tempfile.NamedTemporaryFile("w", suffix=".fio") as file:
        file.write(job_file(chosen, subject.root / "data", milliseconds))
        file.flush()
        words = ["fio", "--output-format=json", file.name]
        limit = commands.TIMEOUT + len(chosen) * milliseconds / 1000
        try:
            # Its status is how many jobs failed; the report says which.
            output, _ = commands.run(words, timeout=limit, good=range(len(chosen) + 1))
        except Failed as failed:
            return {job.name: failed for job in chosen}
    try:
        report = {job["jobname"]: job for job in json.loads(output[output.index("{"):])["jobs"]}
    except (ValueError, KeyError) as error:
        return {job.name: Failed(f"fio's report: {error}") for job in chosen}
    return {job.name: figure(job, report.get(job.name)) for job in chosen}


def figure(job, report):
    if report is None:
        return Failed("fio reports nothing")
    side, other = ("write", "read") if "write" in job.pattern else ("read", "write")
    did, size = report[side], PATTERNS[job.pattern][1]
    if report["error"] != 0:
        return Failed(f"fio: {os.strerror(report['error'])}")
    if did["total_ios"] == 0 or did["io_bytes"] != did["total_ios"] * size:
        return Failed(f"fio: {did['io_bytes']} bytes in {did['total_ios']} blocks of {size}")
    if report[other]["total_ios"] != 0 or did["bw_bytes"] == 0 or did["iops"] == 0:
        return Failed("fio: did something else")
    return 1 / did["iops"] if job.unit == "us" else (1 << 20) / did["bw_bytes"]
