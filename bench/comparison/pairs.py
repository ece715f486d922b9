# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading and writing one and the same file through a mount and on its branch, in turns: what the
way through the mount costs, without what two files, or two moments, have apart."""

import json
import statistics
import tempfile

from . import commands, data
from .commands import Failed

# One thread each: what several do to each other is no matter of a few percent.
JOBS = [data.Job(engine, pattern) for engine in data.ENGINES for pattern in data.PATTERNS]


def job_file(job, paths, rounds, milliseconds):
    """Both paths in each round, the other one first in every second."""
    lines = [*data.job_head(milliseconds), "size=64m", f"rw={job.pattern}",
             f"bs={data.PATTERNS[job.pattern][1]}", *data.ENGINES[job.engine]]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            lines += [f"[{turn}.{which}]", "stonewall", "new_group", f"filename={paths[which]}"]
    return "\n".join(lines) + "\n"


def measure(subject, job, rounds, milliseconds):
    """How many times as long it takes through the mount, of each round, in ascending order."""
    paths = [directory / "data" / "j0" for directory in (subject.branch, subject.root)]
    with tempfile.NamedTemporaryFile("w", suffix=".fio") as file:
        file.write(job_file(job, paths, rounds, milliseconds))
        file.flush()
        limit = commands.TIMEOUT + 2 * rounds * milliseconds / 1000
        output, _ = commands.run(["fio", "--output-format=json", file.name], timeout=limit)
    reports = {report["jobname"]: report for report in json.loads(output)["jobs"]}
    ratios = []
    for turn in range(rounds):
        branch, mount = (data.figure(job, reports.get(f"{turn}.{which}")) for which in (0, 1))
        for figure in (branch, mount):
            if isinstance(figure, Failed):
                raise figure
        ratios.append(mount / branch)
    return sorted(ratios)


def cell(ratios):
    """The median and the quartiles."""
    first, _, third = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return f"{statistics.median(ratios):.2f} ({first:.2f} to {third:.2f})"
