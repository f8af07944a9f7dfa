"""The places and the one size of the objects that the small pipeline learns to draw: a lattice of the cells of its
latents.

Where objects may lie anywhere, the flow averages over all places for most of its way, and what is left comes out
blended. A lattice of cells leaves it a choice among few places, at each of which an object looks the same.
"""

from __future__ import annotations

from functools import partial
from itertools import product

from scenes.shape_world import SIZE, sample_layout

RADIUS = 7.0
STEP = 8  # pixels; one packed latent
_CENTRES = range(12, SIZE - 11, STEP)  # of cells at which every shape lies inside
PLACES = tuple(product(_CENTRES, _CENTRES))


lattice_layout = partial(sample_layout, radii=(RADIUS, RADIUS), places=PLACES)
