# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels built from Debian's source package: one source tree and one object tree for each
flavour, in which patches come and go, so that only what a patch touches is compiled again.

    CACHE/kernel/source-VERSION/     as Debian has it (./dev kernel-source)
    CACHE/kernel/work-VERSION/       the tree that is patched; .pristine holds what patches touched
    CACHE/kernel/objects-VERSION-FLAVOUR/
    CACHE/kernel/built/FLAVOUR-KEY/  what a run needs: linux or bzImage
"""

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from . import series

CACHE = pathlib.Path(
    os.environ.get("PLYFS_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "plyfs")
ROOT = CACHE / "kernel"
JOBS = os.environ.get("PLYFS_JOBS") or str(os.cpu_count())

# Flavour: make's ARCH, its target, where that is in the object tree.
FLAVOURS = {
    "uml": ("um", "linux", "linux"),
    "qemu": ("x86_64", "bzImage", "arch/x86/boot/bzImage"),
}


class BuildError(Exception):
    """A kernel could not be had; the message says why."""


def say(text):
    """Tells the user what is going on."""
    print(f"kernel/test: {text}", flush=True)


def lock():
    """Keeps other runs out of the trees while the result is referenced."""
    ROOT.mkdir(parents=True, exist_ok=True)
    handle = open(ROOT / "lock", "w", encoding="ascii")  # pylint: disable=consider-using-with
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def cached_source(version):
    """The newest source-VERSION.* in the cache, or None."""
    found = [path for path in ROOT.glob(f"source-{version}*")
             if re.match(r"([.~]|$)", path.name[7 + len(version):])]
    # A release candidate (7.3~rc7) comes before the release.
    return max(found, key=lambda path: [
        int(part) for part in path.name[7:].replace("~rc", ".-1.").split(".")], default=None)


def source(version):
    """The same, fetched if it is not there."""
    if not cached_source(version):
        done = subprocess.run([series.KERNEL.parent / "dev", "kernel-source", version], check=False,
                              stdout=subprocess.DEVNULL)
        if done.returncode or not cached_source(version):
            raise BuildError(f"no source of Linux {version}")
    return cached_source(version)


def fragment(flavour, extra=()):
    """The configuration of a flavour, with those of the names in extra added."""
    return "".join((series.KERNEL / "config" / name).read_text(encoding="utf-8")
                   for name in (flavour, *extra))


def built(version, flavour, patches, extra=()):
    """Where the kernel of these patches is or would be."""
    base = cached_source(version)
    compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True,
                              check=True).stdout.strip()
    key = hashlib.sha256("\0".join(
        [base.name if base else version, compiler, fragment(flavour, extra),
         *(patch.diff for patch in patches)]).encode()).hexdigest()[:16]
    return ROOT / "built" / f"{flavour}-{key}"


def set_patches(base, work, patches):
    """Makes `work` the source `base` with exactly these patches; files that stay the same keep
    their times."""
    pristine = work / ".pristine"
    if not pristine.exists():
        say("copying the source")
        staging = work.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base, staging], check=True)
        (staging / ".pristine").mkdir()
        staging.rename(work)
    touched = {name for patch in patches for name in patch.files}
    touched |= {path.relative_to(pristine).as_posix() for path in pristine.rglob("*")
                if path.is_file()}
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        staging = pathlib.Path(name)
        for path in touched:
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            if (base / path).exists():
                shutil.copyfile(base / path, staging / path)
        problem = series.apply(patches, staging)
        if problem:
            raise BuildError(problem)
        for path in touched:
            (pristine / path).parent.mkdir(parents=True, exist_ok=True)
            (pristine / path).touch()  # remembers that a patch touched it
            content = (staging / path).read_bytes() if (staging / path).exists() else None
            if content is None:
                (work / path).unlink(missing_ok=True)
            elif not (work / path).exists() or (work / path).read_bytes() != content:
                (work / path).write_bytes(content)


def run_make(work, objects, log, arguments):
    """Runs make out of tree; raises with the end of its log if it fails."""
    compiler = "ccache gcc" if shutil.which("ccache") else "gcc"
    environment = dict(os.environ, KBUILD_BUILD_TIMESTAMP="1970-01-01", KBUILD_BUILD_USER="plyfs",
                       KBUILD_BUILD_HOST="plyfs", CCACHE_NOHASHDIR="1")
    with open(log, "a", encoding="utf-8") as output:
        done = subprocess.run(
            ["make", "-C", work, f"O={objects}", f"-j{JOBS}", f"CC={compiler}", *arguments],
            stdout=output, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        tail = pathlib.Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        raise BuildError("building failed:\n" + "\n".join(tail))


def build(version, flavour, patches, extra=(), name=""):
    """The kernel of these patches, built if the cache does not have it."""
    base = source(version)
    target = built(version, flavour, patches, extra)
    if (target / "kernel").exists():
        return target / "kernel"
    started = time.monotonic()
    arch, goal, product = FLAVOURS[flavour]
    suffix = "-".join((flavour, *extra))
    work, objects = ROOT / f"work-{base.name[7:]}", ROOT / f"objects-{base.name[7:]}-{suffix}"
    log = ROOT / f"build-{suffix}.log"
    say(f"building {base.name[7:]} {name} for {suffix} (log: {log})")
    set_patches(base, work, patches)
    objects.mkdir(exist_ok=True)
    log.write_text("")
    wanted = fragment(flavour, extra)
    seen = objects / ".fragment"
    if not seen.exists() or seen.read_text(encoding="utf-8") != wanted:
        config = objects / "fragment.config"
        config.write_text(wanted, encoding="utf-8")
        run_make(work, objects, log, [f"ARCH={arch}", f"KCONFIG_ALLCONFIG={config}", "allnoconfig"])
        report_unset(wanted, objects / ".config")
        seen.write_text(wanted, encoding="utf-8")
    run_make(work, objects, log, [f"ARCH={arch}", goal])
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(objects / product, target / "kernel.new")
    if flavour == "uml":
        subprocess.run(["strip", "--strip-debug", target / "kernel.new"], check=True)
    (target / "kernel.new").rename(target / "kernel")
    say(f"built in {time.monotonic() - started:.0f} s")
    return target / "kernel"


def report_unset(wanted, config):
    """Says which options of a fragment this kernel did not take."""
    got = set(config.read_text(encoding="utf-8").splitlines())
    for line in wanted.splitlines():
        if line.startswith("CONFIG_") and line not in got:
            say(f"note: not taken: {line}")


def build_tests(version, patches):
    """The test programs, against the protocol header of the whole series; a directory with
    `guest`, `uml/` and `qemu/`."""
    base = source(version)
    sources = sorted((series.KERNEL / "tests").rglob("*.[ch]"))
    header = ROOT / f"header-{base.name[7:]}" / "linux" / "fuse.h"
    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        staging = pathlib.Path(name)
        for path in {file for patch in patches for file in patch.files}:
            (staging / path).parent.mkdir(parents=True, exist_ok=True)
            if (base / path).exists():
                shutil.copyfile(base / path, staging / path)
        problem = series.apply(patches, staging)
        if problem:
            raise BuildError(problem)
        content = (staging / "include/uapi/linux/fuse.h")
        if not content.exists():
            content = base / "include/uapi/linux/fuse.h"
        content = content.read_bytes()
    header.parent.mkdir(parents=True, exist_ok=True)
    if not header.exists() or header.read_bytes() != content:
        header.write_bytes(content)
    key = hashlib.sha256(content + b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    target = ROOT / "built" / f"tests-{key}"
    if target.exists():
        return target
    say("building the test programs")
    staging = target.with_suffix(".new")
    shutil.rmtree(staging, ignore_errors=True)
    shared = [path for path in sources if path.name in ("test.c", "server.c")]
    programs = {"guest": [series.KERNEL / "tests/guest.c"]}
    for path in sources:
        if path.suffix == ".c" and path not in shared and path.name != "guest.c":
            folder = "qemu" if path.parent.name == "smp" else "uml"
            programs[f"{folder}/{path.stem}"] = [path, *shared]
    for program, files in programs.items():
        (staging / program).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["gcc", "-std=gnu11", "-O2", "-g1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result",
             "-pthread", "-static", f"-I{header.parents[1]}", f"-I{series.KERNEL / 'tests'}",
             "-o", staging / program, *files], check=False, capture_output=True, text=True)
        if done.returncode:
            raise BuildError(f"{program} does not compile:\n{done.stderr}")
    staging.rename(target)
    return target
