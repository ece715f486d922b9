# SPDX-License-Identifier: GPL-2.0-or-later
"""The patches of one kernel version, and what can be said of them without that kernel's source."""

import pathlib
import re
import subprocess

KERNEL = pathlib.Path(__file__).resolve().parents[1]

# What the patches may touch.
ALLOWED = re.compile(
    r"fs/fuse/[\w.-]+$|include/uapi/linux/fuse\.h$|Documentation/filesystems/fuse/[\w.-]+$"
    r"|fs/backing-file\.c$|include/linux/backing-file\.h$")

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class Patch:
    """One file of a series; its number is that of its name (0003-….patch is patch 3)."""

    def __init__(self, path):
        self.path = path
        self.name = path.name
        self.text = path.read_text(encoding="utf-8")
        self.diff = self.text.partition("\n---\n")[2]
        number = re.match(r"(\d{4})-.*\.patch$", path.name)
        self.number = int(number.group(1)) if number else 0

    @property
    def files(self):
        """The paths it changes, creates or removes."""
        names = re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)$", self.text, re.MULTILINE)
        return sorted(set(names))

    def faults(self):
        """What is wrong with its form, a sentence each."""
        if not self.number:
            yield "its name is not 0001-SUBJECT.patch"
        head, separator, _ = self.text.partition("\n---\n")
        if not separator:
            yield "no line --- between message and diff"
            return
        header, _, message = head.partition("\n\n")
        subject = re.search(r"^Subject: \[PATCH[^\]]*\] (.*(?:\n .*)*)", header, re.MULTILINE)
        if not subject:
            yield "no Subject: [PATCH …] line"
        elif not subject.group(1).startswith("fuse: "):
            yield "its subject does not begin with fuse:"
        if not re.search(r"^From: .+ <.+@.+>$", header, re.MULTILINE):
            yield "no From: line"
        sign_offs = re.findall(r"^Signed-off-by: .+ <.+@.+>$", message, re.MULTILINE)
        if not sign_offs:
            yield "no Signed-off-by: line"
        words = [line for line in message.splitlines()
                 if line and not re.match(r"[A-Z][\w-]+-by: ", line)]
        if len(words) < 3:
            yield "its message does not say why"
        for line in words:
            if len(line) > 75 and " " in line.strip():
                yield f"a line of its message is longer than 75 characters: {line}"
        if not self.files:
            yield "it changes nothing"
        for name in self.files:
            if not ALLOWED.match(name):
                yield f"it changes {name}"
        yield from self.hunk_faults(self.diff)

    @staticmethod
    def hunk_faults(diff):
        """Hunks whose line counts are not those of their headers, and lines outside of hunks."""
        left = right = 0
        hunks = 0
        for number, line in enumerate(diff.splitlines(), 1):
            if left > 0 or right > 0:
                kind = line[:1] or " "
                if kind not in " +-\\":
                    yield f"line {number} of the diff is in a hunk and is none of its lines"
                    return
                left -= kind in " -"
                right -= kind in " +"
                if left < 0 or right < 0:
                    yield f"the hunk that ends in line {number} of the diff has too many lines"
                    return
                if kind == "+" and line.rstrip() != line:
                    yield f"line {number} of the diff adds blanks at the end of a line"
                continue
            header = HUNK.match(line)
            if header:
                hunks += 1
                left = int(header.group(2) or 1)
                right = int(header.group(4) or 1)
            elif line.startswith(("+", "-")) and not line.startswith(("--- ", "+++ ", "-- ")):
                yield f"line {number} of the diff is in no hunk"
                return
        if left or right:
            yield "the last hunk is cut short"
        if not hunks:
            yield "it has no hunk"


def versions():
    """The kernel versions there are patches for: ["6.18", …], oldest first."""
    found = [path.name[1:] for path in (KERNEL / "patches").glob("v*") if path.is_dir()]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def load(version):
    """The patches of a version, in the order of its file `series`."""
    directory = KERNEL / "patches" / f"v{version}"
    names = (directory / "series").read_text(encoding="utf-8").split()
    return [Patch(directory / name) for name in names]


def faults(version):
    """What is wrong with the form of a series."""
    directory = KERNEL / "patches" / f"v{version}"
    patches = load(version)
    listed = [patch.name for patch in patches]
    for path in sorted(directory.iterdir()):
        if path.name != "series" and path.name not in listed:
            yield f"{path.name} is not in the series"
    if [patch.number for patch in patches] != sorted({patch.number for patch in patches}):
        yield "the series is not in the order of its numbers"
    for patch in patches:
        for fault in patch.faults():
            yield f"{patch.name}: {fault}"


def apply(patches, directory, dry_run=False):
    """Applies them with patch(1), exactly (no fuzz); returns what it said if one does not apply."""
    for patch in patches:
        command = ["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch",
                   "--silent", "-d", str(directory)]
        if dry_run:
            command.append("--dry-run")
        done = subprocess.run(command, input=patch.text, text=True, capture_output=True, check=False)
        if done.returncode:
            return f"{patch.name} does not apply: {done.stdout}{done.stderr}"
    return ""
