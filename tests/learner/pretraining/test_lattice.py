import numpy as np
import pytest

from learner.pretraining.lattice import PLACES, RADIUS, lattice_layout
from learner.pretraining.vlm_tasks import execute
from scenes.extractors import extract
from scenes.shape_world import PREDICATES, draw, holds, sample_scene


@pytest.mark.parametrize("seed", range(20))
def test_scenes_on_the_lattice_hold_what_their_graph_says_and_can_be_read(seed):
    scene = sample_scene(np.random.default_rng(seed), "train", (1, 3), layout=lattice_layout)
    assert {(o.x, o.y) for o in scene.objects} <= set(PLACES)
    assert {o.radius for o in scene.objects} == {RADIUS}
    found = extract(scene.image)
    by_name = {o.name: o for o in scene.objects}
    for requirement in scene.graph.requirements:
        assert holds(requirement.predicate, by_name[requirement.subject], by_name[requirement.object])
    for name, placed in by_name.items():
        assert np.hypot(found.find(name).x - placed.x, found.find(name).y - placed.y) < 1


def test_a_move_ends_on_the_lattice_where_it_holds_and_touches_nothing_else():
    rng = np.random.default_rng(0)
    moved = 0
    for _ in range(100):
        objects = sample_scene(rng, "train", (1, 3)).objects
        subject, object_ = (objects[k] for k in rng.permutation(len(objects))[:2])
        predicate = str(rng.choice(PREDICATES))
        after = execute((subject.name, predicate, object_.name), objects, rng, PLACES)
        if after is None:
            continue
        moved += 1
        changed = next(o for o in after if o.name == subject.name)
        assert (changed.x, changed.y) in PLACES
        assert changed.radius == subject.radius
        assert holds(predicate, changed, object_)
        assert [o for o in after if o is not changed] == [o for o in objects if o is not subject]
        assert len(extract(draw(after)).objects) == len(objects)
    assert moved > 60
