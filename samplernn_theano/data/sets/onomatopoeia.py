"""The Onomatopoeia set of the paper: short vocal sounds, each a clip of its own length.

The authors' 6,738 recordings belong to Ubisoft and were never public. datasets/README.md says what is known
of them.
"""

from samplernn_theano.data.recipes import Recipe, by_fractions

RECIPE = Recipe(
    set="onomatopoeia",
    name="onom",
    sizes=by_fractions(0.04, 0.04),
    variable_length=True,
    shortest=1.0,
    longest=11.0,
    order="shuffled train",
)
