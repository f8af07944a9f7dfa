import pytest

from presets.errors import BadInput
from presets.placement import PlacementConfig
from presets.run_file import load_config

LABELLED = {"label_selector": {"rlrig-role": "image"}}


@pytest.mark.parametrize(
    ("nodes", "options", "required", "preferred"),
    [
        ("any", {}, {}, {}),
        ("strict", LABELLED, {"rlrig-role": "image"}, {}),
        ("preferred", {**LABELLED, "fallback_strategy": [{"label_selector": {}}]}, {}, {"rlrig-role": "image"}),
    ],
)
def test_what_ray_is_asked_follows_from_the_kind_of_placement(nodes, options, required, preferred):
    placement = PlacementConfig(nodes=nodes)
    assert placement.actor_options("image") == options
    assert placement.required("image") == required
    assert placement.preferred("image") == preferred


def test_serve_knows_no_preference():
    assert PlacementConfig(nodes="preferred").preferred("vlm") == {}
    assert PlacementConfig(nodes="strict").required("vlm") == {"rlrig-role": "vlm"}


def test_a_run_file_says_it_and_a_mistake_is_named(run_file):
    assert load_config(run_file).placement.nodes == "any"
    assert load_config(run_file, ["placement.nodes=strict"]).placement.nodes == "strict"
    with pytest.raises(BadInput, match=r"placement\.nodes: 'strickt' is refused.*did you mean 'strict'"):
        load_config(run_file, ["placement.nodes=strickt"])
