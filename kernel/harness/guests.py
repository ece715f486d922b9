# SPDX-License-Identifier: GPL-2.0-or-later
"""Booting a kernel with the test programs: User-Mode Linux on the host's files, read-only, and QEMU
(without KVM, several CPUs) with the programs in an initramfs."""

import os
import re
import stat
import subprocess
import tempfile

TIME_LIMIT = 600  # seconds, for all tests of a guest

RESULT = re.compile(r"test (\S+) (\d+) (passed|failed) ([\d.]+) (.+)")
# What the kernel says when it has found a fault of its own.
REPORT = re.compile(
    r"WARNING:|BUG:|INFO: (?:task .* blocked|rcu|possible|trying to register)|Kernel panic|"
    r"KASAN:|KCSAN:|UBSAN:|Oops|general protection fault|stack segment")
# What the lock checker's report is about comes between its title and this.
LOCKS_END = "other info that might help us debug this"
LOCK = re.compile(r"\(([^\s#/()]+)(?:#\d+)?(?:/\d+)?\)\{")
NUMBER = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b")


def reports(lines):
    """The kernel's reports, a sentence each that is the same in every run: numbers are replaced,
    and the lock checker's report is the set of its locks, wherever a circle was closed."""
    for at, line in enumerate(lines):
        found = REPORT.search(line)
        if not found:
            continue
        title = NUMBER.sub("N", line[found.start():])
        if "locking" in line:
            end = next((later for later in range(at, len(lines)) if LOCKS_END in lines[later]), at)
            title += ": " + ", ".join(sorted(set(LOCK.findall("\n".join(lines[at:end])))))
        yield title


class Outcome:
    """What a guest said: `results` {(program, name): (needs, passed, what it said)}, `reports` of
    the kernel, `figures`, `ended` (it came to the end), `output`."""

    def __init__(self, output):
        self.output = output
        self.results, self.figures = {}, []
        self.ended = False
        lines = [line.rstrip() for line in output.splitlines()]
        self.reports = set(reports(lines))
        said = []
        for line in lines:
            result = RESULT.search(line)
            if result:
                program, needs, verdict, _, name = result.groups()
                self.results[program, name] = (int(needs), verdict == "passed", "\n".join(said))
                said = []
            elif line.startswith("figure "):
                self.figures.append(line[7:])
            elif line == "guest ends":
                self.ended = True
            else:
                said.append(line)


def run(command, time_limit=TIME_LIMIT):
    """Runs a guest to its end; its console."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=time_limit, check=False)
        return done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as expired:
        return (expired.stdout or b"").decode(errors="replace") + "\nguest: no end\n"


def environment_of_tests(only, times):
    """The words of a kernel's command line that kernel/tests/guest.c and test.c read."""
    return [f"guest_only={','.join(only)}", f"guest_times={times}"]


def boot_uml(kernel, tests, only=(), times=1, programs=None, memory="768M", time_limit=TIME_LIMIT):
    """User-Mode Linux: its root is the host's, its /tmp is its own. Runs `programs`, a directory,
    instead of those built for it."""
    with tempfile.TemporaryDirectory() as private:
        # Where it keeps its memory; a /tmp that forbids mapping for execution would not do.
        environment = dict(os.environ, TMPDIR=private, HOME=private)
        command = [kernel, f"mem={memory}", "rootfstype=hostfs", "rootflags=/", "root=/dev/root", "ro",
                   f"init={tests}/guest", f"guest_tests={programs or tests / 'uml'}",
                   *environment_of_tests(only, times),
                   # Faster system calls, where the host lets it.
                   "seccomp=auto", "con=null", "con0=fd:0,fd:1", "loglevel=5"]
        return Outcome(run(["env", *(f"{key}={environment[key]}" for key in ("TMPDIR", "HOME")),
                            *map(str, command)], time_limit * times))


def archive(files):
    """A cpio archive (newc) of {path: (mode, content)}, as an initramfs is."""
    out = bytearray()

    def put(name, mode, content, device=(0, 0)):
        name = name.encode() + b"\0"
        fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0]
        out.extend(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(content)
        out.extend(b"\0" * (-len(out) % 4))

    for name, (mode, content, *device) in files.items():
        put(name, mode, content, *device)
    put("TRAILER!!!", 0, b"")
    return bytes(out)


def empty_disk():
    """The image of an empty ext4."""
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(8 << 20)
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^has_journal",
                        image.name], check=True)
        return image.read()


def clock_of_host():
    """Kernel parameters that give a guest in QEMU its clock: its time stamp counter is the host's.
    Where that is measured by the guest, against an emulated timer, a busy host makes it fail; the
    guest then counts interrupts of that timer, and loses most, or does not find the timer at all
    and panics."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        frequency = re.search(r"^cpu MHz\s*: ([\d.]+)", file.read(), re.MULTILINE)
    known = [f"tsc_early_khz={float(frequency.group(1)) * 1000:.0f}"] if frequency else []
    return ["no_timer_check", "tsc=reliable", *known]


def boot_qemu(kernel, tests, only=(), times=1, processors=2):
    """QEMU with an initramfs of the programs."""
    directory, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    files = {name: (directory, b"") for name in ("dev", "proc", "sys", "tmp", "tests")}
    files["dev/console"] = (stat.S_IFCHR | 0o600, b"", (5, 1))
    files["disk"] = (stat.S_IFREG | 0o644, empty_disk())
    files["init"] = (program, (tests / "guest").read_bytes())
    for path in sorted((tests / "qemu").iterdir()):
        files[f"tests/{path.name}"] = (program, path.read_bytes())
    with tempfile.NamedTemporaryFile() as initramfs:
        initramfs.write(archive(files))
        initramfs.flush()
        return Outcome(run([
            "qemu-system-x86_64", "-M", "microvm", "-accel", "tcg,thread=multi",
            "-cpu", "max", "-smp", str(processors), "-m", "768M", "-nodefaults", "-no-user-config",
            "-nographic", "-no-reboot", "-serial", "stdio",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel", str(kernel),
            "-initrd", initramfs.name, "-append",
            "console=ttyS0 panic=-1 reboot=t loglevel=5 null_blk.nr_devices=1 null_blk.gb=1 "
            "null_blk.bs=4096 null_blk.memory_backed=1 null_blk.irqmode=2 "
            "null_blk.completion_nsec=1000000 guest_qemu=1 " +
            " ".join([*clock_of_host(), *environment_of_tests(only, times)])], TIME_LIMIT * times))


BOOT = {"uml": boot_uml, "qemu": boot_qemu}
