"""Drawing of diagrams with coordinates in inches, so that text and boxes keep their sizes."""

from functools import cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text
from matplotlib.textpath import TextPath

WIDTH, MARGIN = 8.2, 0.12  # inches
LINE = 0.135  # height of a line of text, inches
SIZE, SMALL, TITLE = 7.0, 6.3, 10.0  # font sizes, points

READ, PREDICTED, UNUSED = "#fff3c4", "#d6efd6", "white"
TINTS = ("#c7dbef", "#d9d2ec", "#f5d9c8", "#cfe8e8")
STATE, VECTOR = "tab:red", "0.3"  # arrows


def new(height: float) -> Axes:
    """An empty figure, `height` inches high, with the origin in its lower left corner."""
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.set_axis_off()
    return axes


def heading(axes: Axes, title: str, about: str) -> float:
    """Write a title and a subtitle at the top; return the y coordinate below them."""
    top = axes.get_ylim()[1]
    axes.text(MARGIN, top - 0.12, title, size=TITLE, weight="bold", va="top")
    axes.text(MARGIN, top - 0.33, about, size=SIZE + 0.5, va="top")
    return top - 0.62


def box(axes: Axes, left: float, right: float, top: float, height: float, colour: str, gid: str) -> None:
    """Draw a box with round corners; `gid` is its kind."""
    corners = "round,pad=0,rounding_size=0.04"
    axes.add_patch(
        FancyBboxPatch(
            (left, top - height),
            right - left,
            height,
            boxstyle=corners,
            fc=colour,
            ec="0.35",
            lw=0.7,
            gid=gid,
            zorder=2,
        )
    )


def text(axes: Axes, x: float, y: float, label: str, size: float = SIZE, gid: str | None = None) -> Text:
    """Write text centred at a point."""
    return axes.text(x, y, label, size=size, ha="center", va="center", linespacing=0.95, gid=gid)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, gid: str) -> None:
    """Draw an arrow; `gid` is its kind."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=5,
            shrinkA=0,
            shrinkB=0,
            color=colour,
            lw=0.8,
            gid=gid,
        )
    )


@cache
def width(label: str, size: float = SIZE) -> float:
    """Width of a line of text in inches."""
    return TextPath((0, 0), label, size=size).get_extents().width / 72


def sample(n: int) -> str:
    """The name of sample i + n as mathematical text."""
    return "$x_i$" if n == 0 else f"$x_{{i{n:+d}}}$"
