"""Draws plots: `python draw.py FOLDER`, with a Python that has matplotlib; a JSON list of plots comes on stdin."""

# mypy: disable-error-code="import-not-found"
# Its imports are those of another environment.

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot


def main(folder: Path) -> None:
    """Draw each of them."""
    for plot in json.load(sys.stdin):
        figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.38 * len(plot["series"]) if plot["kind"] == "bars" else 4))
        {"bars": bars, "lines": lines, "points": points}[plot["kind"]](axes, plot)
        axes.set_title(plot["title"])
        axes.set_xlabel(plot["x"])
        axes.grid(alpha=0.3)
        figure.savefig(folder / f"{plot['name']}.png", dpi=110, bbox_inches="tight")
        pyplot.close(figure)


def bars(axes: Any, plot: dict[str, Any]) -> None:
    """One bar for each series, the shortest on top, its value beside it."""
    values = sorted(((samples[0][1], name) for name, samples in plot["series"].items()), reverse=True)
    colors = ["tab:orange" if name == "oa-dev" else "tab:gray" for _, name in values]
    drawn = axes.barh([name for _, name in values], [value for value, _ in values], color=colors)
    axes.bar_label(drawn, [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value, _ in values], padding=3)
    if plot["log"]:
        axes.set_xscale("log")
        axes.set_xlim(right=values[0][0] * 3)


def lines(axes: Any, plot: dict[str, Any]) -> None:
    """One line for each series."""
    for name, samples in plot["series"].items():
        axes.plot(*zip(*samples, strict=True), marker="o", label=name)
    if plot["log"]:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    values = [y for samples in plot["series"].values() for _, y in samples]
    if plot["log"] and max(values) > 10 * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0, top=max(values) * 1.2)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel(plot["y"])
    axes.legend()


def points(axes: Any, plot: dict[str, Any]) -> None:
    """A dot for each sample, a line at each mark."""
    for mark in plot["marks"]:
        axes.axvline(mark, color="tab:red", linewidth=0.8, alpha=0.6)
    for name, samples in plot["series"].items():
        axes.plot(*zip(*samples, strict=True), linestyle="", marker=".", markersize=3, label=name)
    if plot["log"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set_ylabel(plot["y"])
    axes.legend()


main(Path(sys.argv[1]))
