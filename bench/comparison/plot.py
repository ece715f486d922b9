# SPDX-License-Identifier: GPL-2.0-or-later
"""The ratios as an SVG: a bar for each subject, in groups of workloads, on a logarithmic scale."""

import math
from xml.sax.saxutils import escape

PLOTTED = (
    "sequential read, cached", "sequential write, cached", "random read, cached",
    "random write, cached", "read small files, cold", "read small files, warm", "stat, warm",
    "stat of missing names, warm", "list and stat, warm", "create and write 4 KiB", "rename",
    "untar", "build in parallel",
)
# Distinct on white and on black, and for the colour-blind.
COLOURS = {
    "overlayfs": "#7f8c9b", "plyfs pool": "#0072b2", "plyfs overlay": "#38a3dd",
    "mergerfs": "#d55e00", "fuse-overlayfs": "#c9930a", "unionfs-fuse": "#b5649a",
    "floor": "#009e73",
}
STYLE = """
text { font: 12px sans-serif; fill: #24292f; }
.small { font-size: 10px; }
.grid { stroke: #8c959f; stroke-opacity: .35; }
.one { stroke: #24292f; stroke-opacity: .8; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .one { stroke: #e6edf3; }
}
"""
LEFT, RIGHT, BAR, GAP, TOP = 190, 60, 9, 12, 62
PLOT = 560


def write(results, path):
    subjects = [subject for subject in results.subjects[1:]
                if subject.plotted and not subject.trouble]
    workloads = [name for name in PLOTTED if name in results.units] or list(results.units)[:15]
    ratios = [ratio for name in workloads for subject in subjects
              if (ratio := results.ratio(name, subject)) is not None]
    if not ratios:
        return False
    low = math.floor(min(0.0, *(math.log10(ratio) for ratio in ratios)) * 2) / 2
    high = math.ceil(max(0.5, *(math.log10(ratio) for ratio in ratios)) * 2) / 2

    def place(ratio):
        return LEFT + PLOT * (math.log10(ratio) - low) / (high - low)

    group = BAR * len(subjects) + GAP
    width, height = LEFT + PLOT + RIGHT, TOP + group * len(workloads) + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" role="img">',
           "<title>Time taken, as a multiple of the bare branch's</title>",
           f"<style>{STYLE}</style>",
           f'<text x="{LEFT}" y="16">Time taken, as a multiple of the bare branch\'s '
           "(logarithmic; shorter is better)</text>"]
    out += legend(subjects)
    out += scale(low, high, place, height)
    for number, name in enumerate(workloads):
        top = TOP + GAP / 2 + group * number
        middle = top + BAR * len(subjects) / 2 + 4
        out.append(f'<text x="{LEFT - 8}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>')
        for index, subject in enumerate(subjects):
            out += bar(results, name, subject, top + BAR * index, place)
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
    return True


def legend(subjects):
    out, x = [], LEFT
    for subject in subjects:
        out.append(f'<rect x="{x}" y="27" width="10" height="10" fill="{colour(subject)}"/>')
        out.append(f'<text class="small" x="{x + 14}" y="36">{escape(subject.name)}</text>')
        x += 26 + 6 * len(subject.name)
    return out


def scale(low, high, place, height):
    out = []
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 3):
            ratio = factor * 10.0 ** exponent
            if not 10 ** low * 0.999 <= ratio <= 10 ** high * 1.001:
                continue
            kind, x = ("one" if ratio == 1 else "grid"), f"{place(ratio):.1f}"
            out.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 20}"/>')
            for y in (TOP - 6, height - 6):
                out.append(f'<text class="small" x="{x}" y="{y}" text-anchor="middle">'
                           f"{ratio:g}</text>")
    return out


def bar(results, name, subject, y, place):
    ratio = results.ratio(name, subject)
    if ratio is None:
        said = "failed" if results.failed(name, subject) else "does not apply"
        return [f'<text class="small" x="{place(1) + 3:.1f}" y="{y + BAR - 1:.1f}">'
                f"{escape(subject.name)}: {said}</text>"]
    start, stop = sorted((place(1), place(ratio)))
    return [f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(stop - start, 1):.1f}" '
            f'height="{BAR - 1}" fill="{colour(subject)}">'
            f"<title>{escape(name)}: {escape(subject.name)} {ratio:.2f}</title></rect>",
            f'<text class="small" x="{stop + 3:.1f}" y="{y + BAR - 1:.1f}">{ratio:.2g}</text>'
            if ratio < 100 else
            f'<text class="small" x="{stop + 3:.1f}" y="{y + BAR - 1:.1f}">{ratio:.0f}</text>']


def colour(subject):
    return COLOURS.get(subject.name, "#8c959f")
