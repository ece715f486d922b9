# SPDX-License-Identifier: GPL-2.0-or-later
"""plyfs's own tests in User-Mode Linux, on the stock kernel and on one with the series: what fails
or is reported on both is the stock kernel's own."""

import concurrent.futures
import pathlib
import re
import shlex
import tempfile

from . import guests, series, tree

TIME_LIMIT = 3600  # seconds

# core_tests use no FUSE, and all of them take too long here: those that compare with overlayfs, and
# some whose system calls depend on the kernel.
# After its first report the lock checker says nothing more, so what is known to make one, on a stock
# kernel, too, runs apart: one FUSE mount on top of another, which it takes for one lock twice, and
# splicing into a mount (kernel/README.md).
PROGRAMS = ["core_tests [overlayfs],[links],[unlink],[xattr]", "mount_tests ~[nested]~[splice]",
            "mount_tests [nested]", "mount_tests [splice]"]

SCRIPT = """#!/bin/bash
mount -t tmpfs none /run && mount -t tmpfs none /var/tmp && cd /tmp || exit 1
mkdir -p /dev/shm && mount -t tmpfs none /dev/shm || exit 1
export HOME=/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
set -o pipefail
start=$SECONDS
if {command} -r console -r automake::out=cases | cat; then verdict=passed; else verdict=failed; fi
cat cases # not while it runs: the kernel would speak in the middle of a line
echo "test suite 0 $verdict $((SECONDS - start)) {name}"
"""

CASE = re.compile(r":test-result: (PASS|FAIL|SKIP|XFAIL) (.+)")


class Run:
    """What a program did on a kernel: `cases` {name: PASS, FAIL or SKIP}, `reports` of the kernel,
    `ended` (by itself, and with a verdict that its cases explain)."""

    def __init__(self, outcome):
        self.cases = {name: verdict for verdict, name in CASE.findall(outcome.output)}
        self.reports = outcome.reports
        passed = any(passed for _, passed, _ in outcome.results.values())
        self.ended = outcome.ended and passed != ("FAIL" in self.cases.values())

    def summary(self):
        """How many cases did what."""
        verdicts = list(self.cases.values())
        return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in sorted(set(verdicts)))


def boot(kernel, tests, program, log):
    """Runs a program of build/plain with its arguments; the console is kept in `log`."""
    words = program.split()
    words[0] = str(series.KERNEL.parent / "build/plain" / words[0])
    # Not in /tmp, which is another one in the guest.
    with tempfile.TemporaryDirectory(dir=tree.ROOT) as directory:
        script = pathlib.Path(directory) / "suite"
        script.write_text(SCRIPT.format(command=shlex.join(words), name=program), encoding="utf-8")
        script.chmod(0o755)
        outcome = guests.boot_uml(kernel, tests, programs=directory, memory="4G",
                                  time_limit=TIME_LIMIT)
    log.write_text(outcome.output, encoding="utf-8")
    return Run(outcome)


def compare(stock, patched):
    """What the series does otherwise than passing: (whether it is a fault, a sentence) each."""
    for name, verdict in patched.cases.items():
        if verdict == "FAIL" or verdict == "SKIP":
            before = stock.cases.get(name, "did not run")
            yield verdict != before, f"{name}: {verdict} (stock: {before})"
    for name in stock.cases.keys() - patched.cases.keys():
        yield True, f"{name}: did not run"
    for report in patched.reports:
        own = report in stock.reports
        yield not own, f"the kernel reports: {report} (stock: {'the same' if own else 'not'})"
    for report in stock.reports - patched.reports:
        yield False, f"only the stock kernel reports: {report}"
    for name, run in (("stock", stock), ("series", patched)):
        if not run.ended:
            yield True, f"{name}: did not come to its end"


def run(version, programs, extra):
    """Builds both kernels and runs the programs (default: all tests); how much went wrong."""
    patches = series.load(version)
    columns = {"stock": [], "series": patches}
    with tree.lock():
        tests = tree.build_tests(version, patches)
        kernels = {column: tree.build(version, "uml", applied, ["suite", *extra], column)
                   for column, applied in columns.items()}
    failed = 0
    for number, program in enumerate(programs or PROGRAMS):
        logs = {column: tree.ROOT / f"suite-{version}-{column}-{number}.log" for column in columns}
        with concurrent.futures.ThreadPoolExecutor(len(columns)) as running:
            runs = dict(zip(columns, running.map(
                lambda column: boot(kernels[column], tests, program, logs[column]), columns)))
        for column in columns:
            print(f"Linux {version}, {column}: {program}: {runs[column].summary()}"
                  f" (console: {logs[column]})")
        for fault, sentence in compare(*runs.values()):
            print("NOT AS IT HAS TO BE:" if fault else "stock's own:", sentence)
            failed += fault
    return failed
