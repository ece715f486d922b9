# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of all rounds, and what is printed and written of them."""

import json
import statistics
import textwrap

from .commands import Stuck

NOISY = 0.2  # a spread above this is marked
WIDTH = 13


class Results:
    def __init__(self, subjects, rounds):
        self.subjects = subjects
        self.rounds = rounds
        self.units = {}  # of workloads, in the order of their measurement
        self.seconds = {}  # (workload, subject): of an operation, one for each round
        self.failures = {}  # (workload, subject): why
        self.about = {}
        self.hurried = False

    def add(self, workload, unit, subject, seconds):
        self.units.setdefault(workload, unit)
        self.seconds.setdefault((workload, subject.name), []).append(seconds)

    def fail(self, workload, unit, subject, reason):
        self.units.setdefault(workload, unit)
        said = str(reason).replace(f"{subject.root}/", "")
        self.failures.setdefault((workload, subject.name), said)
        if isinstance(reason, Stuck) and not subject.trouble:
            subject.trouble = f"given up: {reason}"

    def failed(self, workload, subject):
        return (workload, subject.name) in self.failures

    def median(self, workload, subject):
        """None: failed, or does not apply."""
        values = self.seconds.get((workload, subject.name))
        if self.failed(workload, subject) or not values:
            return None
        return statistics.median(values)

    def spread(self, workload, subject):
        """Half of what lies between the extremes, as a part of the median."""
        values = self.seconds[(workload, subject.name)]
        return (max(values) - min(values)) / 2 / statistics.median(values)

    def ratio(self, workload, subject):
        """To the bare branch; above 1: slower."""
        native = self.median(workload, self.subjects[0])
        mine = self.median(workload, subject)
        return None if native is None or mine is None else mine / native

    def cell(self, workload, subject):
        if self.failed(workload, subject):
            return "failed "
        ratio = self.ratio(workload, subject)
        if ratio is None:
            return "- "
        digits = 2 if ratio < 10 else 1 if ratio < 100 else 0
        mark = "~" if self.spread(workload, subject) > NOISY else " "
        return f"{ratio:.{digits}f}{mark}"

    def heading(self):
        titles = [textwrap.wrap(subject.name, WIDTH - 2) for subject in self.subjects]
        height = max(map(len, titles))
        titles = [[""] * (height - len(title)) + title for title in titles]
        return "\n".join(
            (f"{'':<34}" + f"{titles[0][line]:>15} " +
             "".join(f"{title[line]:>{WIDTH - 1}} " for title in titles[1:])).rstrip()
            for line in range(height))

    def line(self, workload):
        native = self.median(workload, self.subjects[0])
        figure = "failed" if native is None else (
            f"{1 / native:.0f} MiB/s" if self.units[workload] == "MiB/s" else
            f"{native * 1e6:.1f} us" if self.units[workload] == "us" else f"{native * 1e3:.1f} ms")
        if native is not None and self.spread(workload, self.subjects[0]) > NOISY:
            figure += "~"
        else:
            figure += " "
        return (f"{workload:<34}{figure:>16}" + "".join(
            f"{self.cell(workload, subject):>{WIDTH}}" for subject in self.subjects[1:])).rstrip()

    def notes(self):
        lines = [
            f"The first column is the bare branch; the others take so many times as long "
            f"(medians of {self.rounds} rounds).",
            f"~: the rounds lie more than {NOISY:.0%} from the median.  -: does not apply."]
        if self.hurried:
            lines.append("It was late: what came last has fewer rounds.")
        return "\n".join([*lines, *self.troubles()])

    def troubles(self):
        """A line for each reason why something was not measured."""
        reasons = {}
        for (workload, subject), reason in self.failures.items():
            reasons.setdefault((subject, reason), []).append(workload)
        lines = [f"failed: {subject}: {reason} ({'; '.join(workloads)})"
                 for (subject, reason), workloads in reasons.items()]
        lines += [f"not measured: {subject.name}: {subject.trouble}"
                  for subject in self.subjects if subject.trouble]
        return lines

    def write_json(self, path):
        workloads = []
        for workload, unit in self.units.items():
            of_subjects = {}
            for subject in self.subjects:
                key = (workload, subject.name)
                if key in self.failures:
                    of_subjects[subject.name] = {"failed": self.failures[key]}
                elif self.median(workload, subject) is not None:
                    of_subjects[subject.name] = {
                        "seconds": self.seconds[key],
                        "median": self.median(workload, subject),
                        "spread": self.spread(workload, subject),
                        "ratio": self.ratio(workload, subject)}
            workloads.append({"name": workload, "unit": unit, "subjects": of_subjects})
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**self.about, "workloads": workloads}, file, indent=1)
            file.write("\n")
