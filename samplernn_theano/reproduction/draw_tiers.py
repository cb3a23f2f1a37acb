"""Figure 1 of the paper for recurrent models: the unrolled tiers, the slowest at the top."""

from typing import NamedTuple

from matplotlib.axes import Axes

from samplernn_theano.config.hyperparameters import HyperParameters
from samplernn_theano.reproduction import canvas, unrolling
from samplernn_theano.reproduction.canvas import LINE, MARGIN, SIZE, SMALL
from samplernn_theano.reproduction.unrolling import Row, Step

LEFT = 1.42  # inches for the description of each tier
BOX, ARROW, BETWEEN = 0.24, 0.13, 0.34  # heights of a box, of an arrow in a step, between tiers
INSET = 0.045  # from a column's edge to the box
DOTS = 0.2  # width of the dots in place of steps left out
VECTOR_ROOM = 0.09  # for the vector from the tier above, right of the samples that a step reads


class Band(NamedTuple):
    """Position of a tier in the figure, in inches."""

    row: Row
    top: float
    height: float
    scale: float
    """Inches per column."""
    stacked: bool
    """True if the names of the samples that a step reads are stacked, for lack of space."""
    tint: str
    above: float | None
    """The bottom of the tier above."""

    @property
    def bottom(self) -> float:
        """Bottom of the boxes."""
        return self.top - self.height

    @property
    def boxes(self) -> float:
        """Top of the boxes."""
        return self.bottom + _boxes_height(self.row)

    def x(self, column: float) -> float:
        """x coordinate of a column."""
        return LEFT + column * self.scale

    def edges(self, step: Step) -> tuple[float, float]:
        """Left and right edge of the box of a step."""
        return self.x(step.left) + INSET, self.x(step.right) - INSET


def draw(hp: HyperParameters) -> Axes:
    """Draw the model with these hyper-parameters."""
    rows = unrolling.rows(hp)
    scale = (canvas.WIDTH - LEFT - MARGIN) / unrolling.last_column(rows)
    stacked = [_is_stacked(row, scale) for row in rows]
    heights = [_height(row, tall) for row, tall in zip(rows, stacked, strict=True)]
    axes = canvas.new(
        1.1 + sum(heights) + BETWEEN * (len(rows) - 1) + _predicted_height(rows[-1], stacked[-1])
    )
    shown = rows[0].steps[-1].begin + rows[0].frame_size
    about = f"unrolled over {shown:,} of the {hp.seq_len:,} samples of a truncated-BPTT chunk"
    top, above = canvas.heading(axes, hp.family, about), None
    for k, (row, tall, height) in enumerate(zip(rows, stacked, heights, strict=True)):
        band = Band(row, top, height, scale, tall, canvas.TINTS[k % len(canvas.TINTS)], above)
        _draw_band(axes, band, f"tier {len(rows) - k}: " if len(rows) > 1 else "")
        above, top = band.bottom, band.bottom - BETWEEN
    _draw_predicted(axes, band)
    _draw_key(axes, hp)
    return axes


def _draw_band(axes: Axes, band: Band, number: str) -> None:
    row = band.row
    y = band.top - (band.height - (1 + len(row.about)) * LINE) / 2
    for i, line in enumerate([number + row.title, *row.about]):
        weight = "normal" if i else "bold"
        axes.text(MARGIN, y - (i + 0.5) * LINE, line, size=SMALL, weight=weight, va="center")
    for step in row.steps:
        _draw_step(axes, band, step)
    if row.recurrent:
        _draw_states(axes, band)
    for gap in row.gaps:
        canvas.text(axes, band.x((gap.left + gap.right) / 2), band.boxes - BOX / 2, "…", SIZE + 2, "gap")


def _draw_step(axes: Axes, band: Band, step: Step) -> None:
    """Draw the boxes of a step, the vector from the tier above, and the samples that the step reads."""
    left, right = band.edges(step)
    middle, vector = (left + right) / 2, (right - 0.03 if step.reads else (left + right) / 2)
    for i, name in enumerate(band.row.boxes):
        top = band.boxes - i * (BOX + ARROW)
        if i:
            canvas.arrow(axes, (middle, top + ARROW), (middle, top), canvas.VECTOR, "onward")
        canvas.box(axes, left, right, top, BOX, band.tint, "step" if i == 0 else "box")
        if canvas.width(name, SMALL) > right - left - 0.04:
            name = name.replace("×", "×\n").replace("softmax", "soft-\nmax")
        canvas.text(axes, middle, top - BOX / 2, name, SMALL - 1 if "\n" in name else SMALL)
    if band.above is not None:
        canvas.arrow(axes, (vector, band.above), (vector, band.boxes), canvas.VECTOR, "vector")
    if step.reads:
        lines = _names(step.reads, band.stacked)
        room = right if band.above is None else right - VECTOR_ROOM
        x = min((left + room) / 2, room - _chip_width(lines) / 2 + 0.02)
        _draw_chip(axes, x, band.boxes + ARROW, lines, canvas.READ, "read")
        canvas.arrow(axes, (x, band.boxes + ARROW), (x, band.boxes), canvas.VECTOR, "reads")


def _draw_chip(axes: Axes, x: float, bottom: float, lines: list[str], colour: str, gid: str) -> None:
    """Draw names of samples, in lines, on a coloured background."""
    half = _chip_width(lines) / 2
    height = len(lines) * LINE + 0.04
    canvas.box(axes, x - half, x + half, bottom + height, height, colour, gid)
    for i, line in enumerate(lines):
        canvas.text(axes, x, bottom + 0.02 + (len(lines) - i - 0.5) * LINE, line, SMALL)


def _draw_states(axes: Axes, band: Band) -> None:
    """Draw an arrow into each step and gap from the one before."""
    y = band.boxes - BOX / 2
    middles = [band.x((gap.left + gap.right) / 2) for gap in band.row.gaps]
    gaps = [(middle - DOTS / 2, middle + DOTS / 2) for middle in middles]
    drawn = [(LEFT - 0.1, LEFT - 0.1), *sorted([*gaps, *(band.edges(step) for step in band.row.steps)])]
    for (_, start), (end, _) in zip(drawn, drawn[1:], strict=False):
        canvas.arrow(axes, (start, y), (end, y), canvas.STATE, "state")


def _draw_predicted(axes: Axes, band: Band) -> None:
    """Draw the samples that each step predicts below the last tier."""
    for step in band.row.steps:
        middle = sum(band.edges(step)) / 2
        samples = range(step.begin, step.begin + band.row.frame_size)
        lines = _names(samples, band.stacked)
        bottom = band.bottom - ARROW - len(lines) * LINE - 0.04
        canvas.arrow(axes, (middle, band.bottom), (middle, band.bottom - ARROW), canvas.VECTOR, "predicts")
        _draw_chip(axes, middle, bottom, lines, canvas.PREDICTED, "predicted")


def _draw_key(axes: Axes, hp: HyperParameters) -> None:
    """Draw a legend of the colours at the bottom."""
    x, y = MARGIN, 0.15
    for colour, label in ((canvas.READ, "samples read"), (canvas.PREDICTED, "samples predicted")):
        canvas.box(axes, x, x + 0.22, y + 0.06, 0.12, colour, "key")
        x = _write(axes, x + 0.28, y, label)
    for colour, label in ((canvas.STATE, "recurrent state"), (canvas.VECTOR, "conditioning vector")):
        canvas.arrow(axes, (x, y), (x + 0.22, y), colour, "key")
        x = _write(axes, x + 0.28, y, label)
    if hp.independent_preds:
        _write(axes, x, y, "not drawn: IndependentPreds")


def _write(axes: Axes, x: float, y: float, label: str) -> float:
    """Write text from x on; return the x coordinate of the next one."""
    axes.text(x, y, label, size=SIZE, va="center")
    return x + canvas.width(label) + 0.25


# --- sizes --------------------------------------------------------------------------------------------------


def _chip_width(lines: list[str]) -> float:
    return max(canvas.width(line, SMALL) for line in lines) + 0.06


def _boxes_height(row: Row) -> float:
    return len(row.boxes) * (BOX + ARROW) - ARROW


def _predicted_height(row: Row, stacked: bool) -> float:
    lines = _names(range(row.frame_size), stacked)
    return ARROW + len(lines) * LINE + 0.04


def _height(row: Row, stacked: bool) -> float:
    """Height of a tier in inches: of its chips and boxes, or of its description."""
    lines = _names(row.steps[0].reads, stacked)
    chip = len(lines) * LINE + 0.04 + ARROW if lines else 0.0
    return max(chip + _boxes_height(row), (1 + len(row.about)) * LINE)


def _is_stacked(row: Row, scale: float) -> bool:
    """Return True if a step is too narrow for the names of the samples that it reads in one line."""
    room = min(step.right - step.left for step in row.steps) * scale - 2 * INSET - VECTOR_ROOM
    return any(s.reads and _chip_width(_names(s.reads, False)) > room for s in row.steps)


def _names(samples: range, stacked: bool) -> list[str]:
    """The names of samples in one line, or stacked; if there are many, the first and the last."""
    names = [canvas.sample(n) for n in samples]
    if len(names) > 2:
        names = [names[0], "⋮" if stacked else "…", names[-1]]
    return names if stacked or not names else [" ".join(names)]
