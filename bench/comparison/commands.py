# SPDX-License-Identifier: GPL-2.0-or-later
"""Running programs: each in a session of its own, ended as a whole when it takes too long."""

import ctypes
import os
import signal
import subprocess
import time

TIMEOUT = 120  # seconds
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A workload failed for a subject; the text says why."""


class Stuck(Failed):
    """It did not end: nothing else is asked of the subject."""


def run(words, cwd=None, env=None, timeout=TIMEOUT, good=(0,)):
    """What the program printed and the seconds it took. Failed: its status is none of `good`."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        words, cwd=cwd, env=env, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        raise Stuck(f"{words[0]}: no end after {timeout} s") from None
    except BaseException:
        end(process)
        raise
    seconds = time.perf_counter() - begin
    if process.returncode not in good:
        lines = (errors.strip() or output.strip() or f"status {process.returncode}").splitlines()
        raise Failed(f"{os.path.basename(words[0])}: {lines[-1]}")
    return output, seconds


def end(process):
    """Ends the program and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def settle(disk):
    """Writes what earlier work left dirty on the file system, so that it disturbs nobody else."""
    descriptor = os.open(disk, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if LIBC.syncfs(descriptor) != 0:
            raise Failed("syncfs failed")
    finally:
        os.close(descriptor)


def drop_caches(disk):
    settle(disk)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
