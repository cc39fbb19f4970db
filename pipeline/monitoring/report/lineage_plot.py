"""The lineage as a small graph: a version a mark, an arrow to each that was trained from it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.monitoring.report.model_lineage import FATES, Fate, Version
from pipeline.monitoring.report.svg import BLUE, GREEN, ORANGE, Plot, drawing, finish, legend
from pipeline.spans import Naming

_LOOKS: dict[Fate, tuple[str, str, bool]] = {
    "served": ("*", BLUE, True),
    "kept": ("o", BLUE, True),
    "retired": ("o", BLUE, False),
    "refused": ("x", "black", False),
    "revoked": ("X", ORANGE, False),
}
_BELOW = {"refused": -1, "revoked": -1}  # the row of what is not in the line of service
_INCHES, _LEAST, _MOST = 0.75, 4.6, 12.0  # a version's width, and the picture's


def draw_lineage(versions: Sequence[Version], naming: Naming) -> Plot | None:
    """Versions from left to right in the order of their spans; what was refused or revoked stands below the line."""
    if not versions:
        return None
    order = sorted(versions, key=lambda version: (version.span, version.version))
    place = {version.version: (at, _BELOW.get(version.fate, 0)) for at, version in enumerate(order)}
    width = min(max(_LEAST, 1.0 + _INCHES * len(order)), _MOST)
    with drawing(2.5, width, left=0.2) as (figure, axes):
        for version in order:
            for base in version.bases:
                if base in place:
                    line = "--" if version.fate in _BELOW else "-"
                    axes.annotate(
                        "",
                        xy=place[version.version],
                        xytext=place[base],
                        arrowprops={
                            "arrowstyle": "->",
                            "linestyle": line,
                            "color": "#555555",
                            "shrinkA": 7,
                            "shrinkB": 8,
                            # Bent, where a straight one would run through the versions between.
                            "connectionstyle": "arc3,rad=-0.25" if _passes(place, version.version, base) else "arc3",
                        },
                    )
        for fate, (marker, colour, filled) in _LOOKS.items():
            spots = [place[version.version] for version in order if version.fate == fate]
            if spots:
                face = colour if filled else "white"
                size = 15 if fate == "served" else 9
                edge = colour if fate != "refused" else "black"
                (marks,) = axes.plot(*zip(*spots, strict=True), marker, label=FATES[fate], linestyle="")
                marks.set(markersize=size, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1.6)
        fresh = [place[version.version] for version in order if not version.bases]
        if fresh:
            (ring,) = axes.plot(*zip(*fresh, strict=True), "o", color=GREEN, linestyle="", label="fresh weights")
            ring.set(markersize=17, markerfacecolor="none", markeredgewidth=1.2)
        step = max(1, round(len(order) / ((width - 1) / _INCHES)))
        for at, version in enumerate(order):
            if at % step and version.fate not in ("served", "revoked", "refused"):
                continue
            name = naming.format(version.span)[5:] if naming.dated else str(version.span)
            revision = f" r{version.version % 100}" if version.version % 100 > 1 else ""
            spans = "" if version.learned is None else f"\n{version.learned} span{'s' * (version.learned != 1)}"
            axes.annotate(
                f"{name}{revision}{spans}",
                place[version.version],
                (0, -13),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
            )
        axes.set_axis_off()
        axes.set_xlim(-0.7, len(order) - 0.3)
        axes.set_ylim(-1.75 if any(version.fate in _BELOW for version in order) else -0.9, 0.55)
        legend(figure, axes, columns=3)
        return finish(figure, "Which version was trained from which", _words(order))


def _passes(place: dict[int, tuple[int, int]], version: int, base: int) -> bool:
    """Whether another version stands between the two in the same row."""
    (to, row), (start, other) = place[version], place[base]
    return row == other and any(line == row and start < at < to for at, line in place.values())


def _words(order: Sequence[Version]) -> str:
    def one_of(version: Version) -> str:
        start = f"from {' and '.join(map(str, version.bases))}" if version.bases else "from fresh weights"
        return f"{version.version} {start}, {FATES[version.fate]}"

    return "; ".join(map(one_of, order))
