import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from presets.run_file import load_config
from presets.scoring.scorers import ScorerConfig
from rewards.build import new_scorer
from rewards.detection.reader import DetectorReader
from rewards.fleet.worker import ScorerWorker
from rewards.scorers.detector import DetectorScorer
from scenes.detected.boxes import Detection
from scenes.scene_graph import Relation, SceneGraph
from tests.places import PRESET
from tests.rewards.detection.tiny_detectors import tiny_owlv2
from tests.rewards.turns import SCENE, picture, turn
from tests.scenes.detected.seen import find_shapes

ROLLOUT = load_config(PRESET).rollout
TURNED = SCENE.image[:, ::-1].copy()


def scorer(find=find_shapes, rule="visor") -> DetectorScorer:
    return DetectorScorer(DetectorReader("shapes", rule=rule, find=find))


def test_it_gives_the_fraction_of_requirements_that_hold_in_the_edited_image() -> None:
    sides = [one.predicate in ("left of", "right of") for one in SCENE.graph.requirements]
    assert scorer()([turn(), turn(image=TURNED), turn(image=picture(245))]) == [1.0, 1 - sum(sides) / len(sides), 0.0]


def test_requirements_that_boxes_cannot_decide_do_not_count() -> None:
    one = SCENE.graph.relations[0]
    holding = Relation(one.object, "holding", one.subject)
    mixed = SceneGraph("mixed", SCENE.graph.items, (one, holding))
    alone = SceneGraph("alone", SCENE.graph.items, (holding,))
    first, second = scorer()([turn(graph=mixed), turn(graph=alone)])
    assert first == 1.0
    assert math.isnan(second)


def test_all_images_of_a_batch_are_asked_for_at_once() -> None:
    calls = []

    def find(images: Sequence[np.ndarray], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        calls.append((len(images), [list(ones) for ones in phrases]))
        return find_shapes(images, phrases)

    scorer(find)([turn()] * 3)
    shapes = list(dict.fromkeys(item.label for item in SCENE.graph.items))
    assert calls == [(3, [shapes] * 3)]


def test_the_entry_of_a_run_file_makes_it_and_a_worker_of_a_fleet_loads_it(tmp_path: Path) -> None:
    folder = tiny_owlv2(tmp_path / "owl")
    entry = ScorerConfig(scorer="detector", options={"model": folder, "threshold": 0.0, "device": "cpu"})
    assert entry.waits
    values = list(new_scorer(entry, ROLLOUT)([turn(), turn(image=picture(9))]))
    assert all(0 <= value <= 1 for value in values)
    in_fleet = ScorerConfig(scorer="detector", options=entry.options, fleet={"workers": 1, "batch": 1})
    worker = ScorerWorker(in_fleet, ROLLOUT)
    (Path(folder) / "model.safetensors").unlink()  # it has been read
    assert worker.score([[turn()], [turn(image=picture(9))]]) == [[values[0]], [values[1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "/nowhere"}, "rewards, entry 'detector': .*model: '/nowhere' is refused: there is no folder"),
        ({}, "rewards, entry 'detector': .*model"),
        ({"model": "/nowhere", "rule": "guess"}, "rule: 'guess' is refused: must be geneval or visor"),
        ({"model": "/nowhere", "device": "gpu"}, "device: 'gpu' is refused: write cpu, cuda"),
        ({"model": "/nowhere", "size": 3}, "size"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_entry_and_key(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_scorer(ScorerConfig(scorer="detector", options=options), ROLLOUT)
