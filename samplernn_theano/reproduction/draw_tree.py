"""Figure 1 for WaveNet: the first dilated layers as the tree on which one prediction depends."""

from matplotlib.axes import Axes

from samplernn_theano.config.hyperparameters import WaveNet
from samplernn_theano.reproduction import canvas, unrolling
from samplernn_theano.reproduction.canvas import MARGIN, SIZE, SMALL
from samplernn_theano.utils.sample_rate import SAMPLE_RATE

LEFT, RIGHT = 1.0, 1.5  # inches left and right of the tree, for the names of the layers and the output
STEP = 0.5  # from layer to layer
BOX, ARROW = 0.22, 0.14
RADIUS = 0.065
NODE = (
    "A node is a gated convolution, tanh · sigmoid, of the two nodes below it.",
    "A linear map of it is added to the node directly below it (not in layer 1) and feeds the next layer;",
    "another linear map is its skip.",
)


def draw(hp: WaveNet) -> Axes:
    """Draw the model with these hyper-parameters; the samples that it reads are at the bottom."""
    tree = unrolling.tree(hp)
    top_layer = len(tree.dilations)
    axes = canvas.new(2.75 + STEP * top_layer + 0.2 * len(tree.left_out))
    top = canvas.heading(axes, hp.family, _about(hp))
    for i, line in enumerate(NODE):
        axes.text(MARGIN, top - i * canvas.LINE, line, size=SMALL, va="top")
    for layer in range(top_layer + 1):
        _draw_layer(axes, tree, layer)
    y = _coordinates(tree, -1, top_layer)[1] + 0.2
    for line in tree.left_out:
        y += 0.2
        axes.text(LEFT, y, f"⋮   {line}", size=SIZE, va="center")
    _draw_output(axes, tree, hp, y + 0.2)
    return axes


def _about(hp: WaveNet) -> str:
    milliseconds = 1000 * hp.overlap / SAMPLE_RATE
    K, L = hp.wavenet_blocks, hp.dilation_layers_per_block
    return (
        f"{K} block{'s' * (K > 1)} of {L} dilated layer{'s' * (L > 1)}, {hp.dim} channels; "
        f"$x_i$ depends on the {hp.overlap:,} samples before it ({milliseconds:.3g} ms)"
    )


def _coordinates(tree: unrolling.Tree, node: int, layer: int) -> tuple[float, float]:
    """Coordinates of the output of a layer at a sample; layer 0 is the sample itself."""
    column = (canvas.WIDTH - LEFT - RIGHT) / tree.n_samples
    return LEFT + (node + tree.n_samples + 0.5) * column, 0.48 + layer * STEP


def _draw_layer(axes: Axes, tree: unrolling.Tree, layer: int) -> None:
    """Draw the outputs of a layer, filled if x_i depends on them, and their inputs."""
    y = _coordinates(tree, -1, layer)[1]
    name = f"layer {layer}, dilation {tree.dilations[layer - 1]}" if layer else "samples"
    axes.text(MARGIN, y, name, size=SMALL, va="center")
    known = -tree.n_samples + sum(tree.dilations[:layer])  # earlier ones depend on samples outside the figure
    for node in range(known, 0):
        x, needed = _coordinates(tree, node, layer)[0], node in tree.nodes[layer]
        colour = (canvas.TINTS[0] if layer else canvas.READ) if needed else canvas.UNUSED
        gid = "needed" if needed else "other"
        axes.plot(x, y, "o", ms=2 * RADIUS * 72, mfc=colour, mec="0.35", mew=0.7, gid=gid, zorder=3)
        if layer == 0:
            canvas.text(axes, x, y - 0.2, canvas.sample(node), SMALL)
        for back in (0, tree.dilations[layer - 1]) if layer else ():
            ends = zip(_coordinates(tree, node - back, layer - 1), (x, y), strict=True)
            axes.plot(
                *ends,
                color=canvas.VECTOR if needed else "0.85",
                lw=1.1 if needed else 0.6,
                gid="edge" if needed else "other edge",
                zorder=2 if needed else 1,
            )


def _draw_output(axes: Axes, tree: unrolling.Tree, hp: WaveNet, y: float) -> None:
    """Draw the skips of all layers, their sum, and the output layers, from y upwards."""
    bus = canvas.WIDTH - RIGHT + 0.75
    for layer in range(1, len(tree.nodes)):
        x, height = _coordinates(tree, -1, layer)
        axes.plot([x, bus], [height, height], color=canvas.VECTOR, lw=0.8, zorder=1, gid="skip")
    canvas.text(axes, bus - 0.36, _coordinates(tree, -1, 1)[1] + 0.08, "skip", SMALL)
    canvas.arrow(axes, (bus, _coordinates(tree, -1, 1)[1]), (bus, y), canvas.VECTOR, "skips")
    for label in ("sum of all skips", f"3 linear layers: {hp.dim}", f"softmax: {hp.q_levels} levels"):
        canvas.box(axes, bus - 0.58, bus + 0.58, y + BOX, BOX, canvas.TINTS[1], "box")
        canvas.text(axes, bus, y + BOX / 2, label, SMALL)
        canvas.arrow(axes, (bus, y + BOX), (bus, y + BOX + ARROW), canvas.VECTOR, "onward")
        y += BOX + ARROW
    canvas.box(axes, bus - 0.13, bus + 0.13, y + BOX, BOX, canvas.PREDICTED, "predicted")
    canvas.text(axes, bus, y + BOX / 2, canvas.sample(0), SIZE)
