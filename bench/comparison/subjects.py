# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: how each subject is mounted, and that it is what is mounted.

Each has directories of its own on the same file system. What is created, and the files that fio
reads and writes (data/), lie on the first writable branch; the small files that are only looked at
(set/) on the last branch, which in a stack of layers is the read-only one.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import time

from . import commands
from .commands import Failed

BIG = 64 << 20  # bytes of data/j0, as bench/floor.cpp has it
SMALL = 8 << 20  # of data/j1 ... data/j8
NATIVE = "branch"
IO_URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")


@dataclasses.dataclass
class Subject:
    name: str
    shape: str  # bare, pool, layers or floor
    kind: str  # the type that its mount has; "" for the bare branch
    program: str  # "" for what the kernel does
    options: str = ""
    package: str = ""  # names the environment variable for another binary
    passthrough: bool | None = None  # what plyfs's own counts must say; None: not asked
    plotted: bool = True
    quick: bool = True  # measured with --quick too
    variant: bool = False  # measured only if asked for
    area: pathlib.Path | None = None
    process: subprocess.Popen | None = None
    command: list | None = None
    trouble: str = ""  # why it is not measured (any more)

    @property
    def root(self):
        return self.area if self.shape == "bare" else self.area / "mnt"

    @property
    def branch(self):
        """The first branch: what is created, and what fio works on, lies there."""
        return self.area / {"bare": "", "pool": "a", "layers": "upper", "floor": "backing"}[
            self.shape]

    @property
    def hands_data_on(self):
        """It is one of those, measured by default, whose data goes to the branch in the kernel."""
        return self.kind == "overlay" or bool(self.passthrough and not self.variant)


def subjects(plyfs, floor):
    layers = "lowerdir={area}/lower,upperdir={area}/upper,workdir={area}/index"
    pool = "category.create=epff,minfreespace=0"
    off = ",passthrough.io=off"
    ring = ",io_uring"
    return [
        Subject(NATIVE, "bare", "", ""),
        Subject("overlayfs", "layers", "overlay", "", layers),
        Subject("plyfs pool", "pool", "fuse.plyfs", plyfs, pool, passthrough=True),
        Subject("plyfs pool, no passthrough", "pool", "fuse.plyfs", plyfs, pool + off,
                passthrough=False, plotted=False),
        Subject("plyfs pool, exclusive", "pool", "fuse.plyfs", plyfs,
                pool + ",cache.exclusive=true", passthrough=True, plotted=False, variant=True),
        Subject("plyfs pool, io_uring", "pool", "fuse.plyfs", plyfs, pool + ring,
                passthrough=True, plotted=False, variant=True),
        Subject("plyfs overlay", "layers", "fuse.plyfs", plyfs, layers, passthrough=True),
        Subject("plyfs overlay, io_uring", "layers", "fuse.plyfs", plyfs, layers + ring,
                passthrough=True, plotted=False, variant=True),
        Subject("plyfs overlay, no passthrough", "layers", "fuse.plyfs", plyfs, layers + off,
                passthrough=False, plotted=False, variant=True),
        Subject("mergerfs", "pool", "fuse.mergerfs", "mergerfs",
                "category.create=epff,cache.files=auto-full,minfreespace=0", package="mergerfs"),
        Subject("fuse-overlayfs", "layers", "fuse.fuse-overlayfs", "fuse-overlayfs", layers,
                package="fuse-overlayfs"),
        Subject("unionfs-fuse", "pool", "fuse.unionfs", "unionfs", "cow,allow_other",
                package="unionfs-fuse"),
        Subject("floor", "floor", "fuse.plyfs_floor", floor),
        Subject("floor, passthrough", "floor", "fuse.plyfs_floor", floor, "-b", plotted=False,
                quick=False),
    ]


def write_files(directory, prefix, sizes):
    directory.mkdir(parents=True)
    block = b"p" * (1 << 20)
    for number, size in enumerate(sizes):
        with open(directory / f"{prefix}{number}", "wb") as file:
            for offset in range(0, size, len(block)):
                file.write(block[:size - offset])


def prepare(subject, area, files):
    """Makes its branches below area; `files` is the number of small files."""
    subject.area = area
    last = {"bare": "", "pool": "b", "layers": "lower", "floor": "backing"}[subject.shape]
    backing_only = subject.shape == "floor"
    write_files(area / last / "set", "f", [4096] * (1 if backing_only else files))
    write_files(subject.branch / "data", "j", [BIG] + [SMALL] * 8)
    (subject.branch / "work").mkdir()
    if subject.shape == "layers":
        (area / "index").mkdir()
    if subject.shape != "bare":
        (area / "mnt").mkdir()
    if not backing_only:
        (area / last / "marker").write_text(subject.name)


def mount_command(subject, files):
    area, root = subject.area, str(subject.root)
    program = subject.program
    if subject.package:
        variable = "PLYFS_BENCH_" + subject.package.upper().replace("-", "_")
        program = os.environ.get(variable) or program
    if program and not shutil.which(program):
        raise Failed(f"{program} is not there")
    options = subject.options.format(area=area)
    if subject.shape == "floor":
        return [program, *(["-b", str(area / "backing")] if options else []), str(files), root]
    if subject.kind == "overlay":
        return ["mount", "-t", "overlay", "overlay", "-o", options, root]
    if subject.shape == "layers":
        return [program, "-o", options, root]
    last = "RO" if subject.kind == "fuse.unionfs" else "RW"
    return [program, "-o", options, f"{area}/a=RW:{area}/b={last}", root]


def mounted_kind(root):
    """The type of what is mounted last right there, or ""."""
    kind = ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[4] == str(root):
                kind = words[words.index("-") + 1]
    return kind


@contextlib.contextmanager
def io_uring_offered():
    """The kernel offers io_uring to what is mounted meanwhile, if it has it."""
    before = IO_URING.read_text() if IO_URING.exists() else "Y"
    if before.startswith("N"):
        IO_URING.write_text("Y")
    try:
        yield
    finally:
        if before.startswith("N"):
            IO_URING.write_text("N")


def mount(subject, files):
    subject.command = [] if subject.shape == "bare" else mount_command(subject, files)
    if subject.shape == "floor":
        # pylint: disable=consider-using-with
        subject.process = subprocess.Popen(
            subject.command, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while mounted_kind(subject.root) != subject.kind and time.monotonic() < deadline:
            if subject.process.poll() is not None:
                break
            time.sleep(0.02)
    elif subject.command:
        # A daemon keeps its output open, so it gets none of ours.
        with io_uring_offered():
            status = subprocess.run(
                subject.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, timeout=30,
                check=False).returncode
        if status != 0:
            raise Failed(f"{os.path.basename(subject.command[0])}: status {status}")
    verify(subject)
    verify_passthrough(subject)
    verify_io_uring(subject)


def verify(subject):
    """Failed: what is at its place is not the subject."""
    if subject.trouble:
        raise Failed(subject.trouble)
    kind = mounted_kind(subject.root)
    if kind != subject.kind:
        raise Failed(f"{kind or 'nothing'} is mounted there, not {subject.kind}")
    if subject.shape == "floor":
        return
    try:
        marker = (subject.root / "marker").read_text()
    except OSError as error:
        raise Failed(f"its mount does not answer: {error.strerror}") from error
    if marker != subject.name:
        raise Failed("its mount shows another one's branches")


def verify_passthrough(subject):
    """Failed: plyfs does not pass through what it should, or does what it should not."""
    if subject.passthrough is None:
        return
    (subject.root / "data" / "j0").open("rb").close()
    if (opens(subject)["passthrough"] > 0) != subject.passthrough:
        raise Failed("passes nothing through here" if subject.passthrough else "passes through")


def verify_io_uring(subject):
    """Failed: requests do not come through io_uring though they should."""
    if "io_uring" in subject.options:
        if not statistics(subject)["kernel"]["features"].get("over-io-uring"):
            raise Failed("io_uring is not to be had here")


def opens(subject):
    """plyfs's own counts of opens by mode."""
    return statistics(subject)["opens"]


def statistics(subject):
    """What plyfs says of itself."""
    output, _ = commands.run([subject.program, "stats", "--json", str(subject.root)])
    return json.loads(output)


def unmount(subject):
    if subject.area is None or subject.shape == "bare":
        return
    for options in ([], ["-f"], ["-l"]):
        if not mounted_kind(subject.root):
            break
        subprocess.run(["umount", *options, str(subject.root)], stderr=subprocess.DEVNULL,
                       timeout=30, check=False)
    if subject.process is not None:
        try:
            subject.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            commands.end(subject.process)


def version(subject):
    """The line in which the program says its version, or ""."""
    if not subject.package or not subject.command:
        return ""
    try:
        done = subprocess.run([subject.command[0], "--version"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    for line in (done.stdout + done.stderr).splitlines():
        if any(name in line for name in (subject.name, os.path.basename(subject.program))):
            return line.strip()
    return ""
