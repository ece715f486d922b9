# SPDX-License-Identifier: GPL-2.0-or-later
"""What is done with a source tree: unpacked, searched, built, removed.

The tree is this project's own, several times over, in a git repository, with a program of many
small C files to build.
"""

import os
import pathlib
import shutil

from . import commands
from .commands import Failed

PARTS = ("src", "tests", "bench", "cmake", "config", "docs", "man")
STEPS = ("untar", "find", "find, cold", "grep -r", "git status", "build in parallel", "rm -rf")
LONG_AGO = 1_500_000_000  # before git's index was written, or git would read every file again
GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0",
       "GIT_AUTHOR_NAME": "bench", "GIT_AUTHOR_EMAIL": "bench", "GIT_COMMITTER_NAME": "bench",
       "GIT_COMMITTER_EMAIL": "bench", "LC_ALL": "C"}


class SourceTree:
    """Lies below a directory as archive; steps are measured in any other directory."""

    def __init__(self, project, area, disk, copies, units):
        self.disk = disk
        self.units = units
        self.archive = area / "source.tar"
        self.env = {**os.environ, **GIT}
        tree = area / "tree"
        tree.mkdir()
        for copy in range(copies):
            for part in filter(lambda part: (project / part).exists(), PARTS):
                shutil.copytree(project / part, tree / f"copy{copy}" / part,
                                ignore=shutil.ignore_patterns("__pycache__"))
        self.write_program(tree / "program")
        for path in tree.rglob("*"):
            os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)
        # A copy has other inode numbers and change times; git must not take it for changed.
        for words in (["init", "-q"], ["config", "core.checkStat", "minimal"],
                      ["config", "core.trustctime", "false"], ["add", "-A", "-f"],
                      ["commit", "-q", "-m", "all"], ["gc", "-q"]):
            commands.run(["git", *words], cwd=tree, env=self.env)
        self.names = sum(1 for _ in tree.rglob("*")) + 1
        self.matches = self.count_matches(tree)[0]
        commands.run(["tar", "-cf", str(self.archive), "-C", str(area), "--format=posix", "tree"])
        shutil.rmtree(tree)

    def write_program(self, directory):
        directory.mkdir()
        (directory / "all.h").write_text(
            "#include <stdio.h>\n#include <stdlib.h>\n" +
            "".join(f'#include "unit{unit}.h"\n' for unit in range(self.units)))
        calls = " + ".join(f"unit{unit}()" for unit in range(self.units))
        rules = ["rule cc", "  command = gcc -O0 -c $in -o $out", "rule link",
                 "  command = gcc $in -o $out"]
        objects = []
        sources = {"main": f'int main(void) {{ printf("%d\\n", {calls}); return 0; }}'}
        for unit in range(self.units):
            (directory / f"unit{unit}.h").write_text(f"int unit{unit}(void);\n")
            sources[f"unit{unit}"] = f"int unit{unit}(void) {{ return 1; }}"
        for name, text in sources.items():
            (directory / f"{name}.c").write_text(f'#include "all.h"\n{text}\n')
            rules.append(f"build {name}.o: cc {name}.c")
            objects.append(f"{name}.o")
        rules.append(f"build program: link {' '.join(objects)}")
        (directory / "build.ninja").write_text("\n".join(rules) + "\n")

    def count_matches(self, tree):
        output, seconds = commands.run(["grep", "-r", "-c", "include", str(tree)], env=self.env)
        return sum(int(line.rsplit(":", 1)[1]) for line in output.splitlines()), seconds

    def measure(self, directory, step):
        """Seconds. Failed: the step failed or did something else."""
        tree = directory / "tree"
        return {
            "untar": self.untar,
            "find": self.find,
            "find, cold": self.find_cold,
            "grep -r": self.grep,
            "git status": self.git_status,
            "build in parallel": self.build,
            "rm -rf": self.remove,
        }[step](tree)

    def untar(self, tree):
        return commands.run(["tar", "-xf", str(self.archive), "-C", str(tree.parent)])[1]

    def find(self, tree):
        output, seconds = commands.run(["find", str(tree), "-printf", "%s\\n"])
        names = len(output.splitlines())
        if names != self.names:
            raise Failed(f"find: {names} names instead of {self.names}")
        return seconds

    def find_cold(self, tree):
        commands.drop_caches(self.disk)
        return self.find(tree)

    def grep(self, tree):
        matches, seconds = self.count_matches(tree)
        if matches != self.matches:
            raise Failed(f"grep: {matches} matches instead of {self.matches}")
        return seconds

    def git_status(self, tree):
        output, seconds = commands.run(["git", "status", "--porcelain"], cwd=tree, env=self.env)
        if output:
            raise Failed(f"git status: {output.splitlines()[0]}")
        return seconds

    def build(self, tree):
        program = tree / "program"
        _, seconds = commands.run(["ninja", "-j", str(os.cpu_count())], cwd=program, env=self.env)
        output, _ = commands.run([str(program / "program")])
        if output.strip() != str(self.units):
            raise Failed(f"the program that was built says {output.strip()}")
        return seconds

    @staticmethod
    def remove(tree: pathlib.Path):
        _, seconds = commands.run(["rm", "-r", str(tree)])
        if tree.exists():
            raise Failed("rm: still there")
        return seconds
