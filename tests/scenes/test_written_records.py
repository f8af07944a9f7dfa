"""Scene graphs that are written as LAION-SG records, and read again."""

from itertools import islice
from pathlib import Path

import pytest

from scenes.laion_sg import load_records, write_records
from scenes.scene_graph import Item, Relation, SceneGraph
from scenes.shape_world import sample_graphs
from tests.places import ROOT

EXAMPLE = ROOT / "tests" / "data" / "laion_sg_example.json"


@pytest.mark.parametrize("name", ["scenes.json", "scenes.jsonl"])
def test_shape_world_graphs_survive_a_file_in_laion_sg_form(tmp_path, name):
    graphs = list(islice(sample_graphs("train", 1), 20))
    assert write_records(graphs, tmp_path / name) == 20
    read, report = load_records(tmp_path / name)
    assert list(read) == graphs
    assert report.notes == []
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_numbered_items_and_unusual_characters_survive_a_file(tmp_path):
    graphs = list(load_records(EXAMPLE)[0])
    odd = SceneGraph("é\u2028", (Item(0, "Käse"), Item(1, "Brot\u2028")), (Relation(0, "auf", 1),))
    write_records([*graphs, odd], tmp_path / "scenes.jsonl")
    read = list(load_records(tmp_path / "scenes.jsonl")[0])
    assert read[:2] == graphs
    assert read[2].img_id == "é\u2028"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "scenes.json"
    graphs, _ = load_records(EXAMPLE)
    write_records(graphs, path)

    def disk_full(self, text, **_):
        with open(self, "w", encoding="utf-8") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_records(graphs[:1], path)
    assert len(load_records(path)[0]) == 2
    assert list(tmp_path.iterdir()) == [path]
