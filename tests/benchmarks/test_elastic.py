import json
import xml.etree.ElementTree as ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.elastic import Course, _marks, _replaced_after, page
from benchmarks.elastic_plot import plot
from benchmarks.elastic_run import MOST_NODES, UPDATES, Account, Sight, account

SIGHTS = [
    Sight(float(second), 1 + min(4, second // 20), {"diffuser": 1, "editor": 1 + min(4, second // 25), "env_runner": 1})
    for second in range(200)
]
IMAGES = [(10.0, 40.0, 1.2), (40.0, 80.0, 2.0), (80.0, 190.0, 1.0)]
COURSE = Course(2, 10.0, 100.0, 120.0, 30.0, None, 180.0, SIGHTS, IMAGES, Account(UPDATES, 0, 0))


def test_the_page_has_the_numbers_and_says_what_they_do_not_show():
    text = page(COURSE)
    assert f"| updates | {UPDATES} of {UPDATES} |" in text
    assert "| groups lost | 0 |" in text
    assert f"| from the first rollout to {MOST_NODES} nodes with an Inverse Diffuser each | 90 s |" in text
    assert "| from the loss of a node to the next complete update | 30 s |" in text
    assert "| from the loss of a node until another took its place | not before demand fell |" in text
    assert "| most images per second that an update learned from | 2.00 |" in text
    assert "Throughput does not rise with the nodes here" in text


def test_another_node_counts_only_after_the_loss_was_seen():
    nodes = [5, 5, 4, 4, 5, 5, 1]
    seen = [Sight(10.0 * position, count, {}) for position, count in enumerate(nodes)]
    assert _replaced_after(seen, killed_at=5.0) == 35.0
    assert _replaced_after(seen[:4], killed_at=5.0) is None


def test_the_plot_has_a_line_for_each_number_and_stands_alone():
    tree = ElementTree.fromstring(plot(SIGHTS, IMAGES, _marks(COURSE)))
    lines = [path for path in tree.iter("{http://www.w3.org/2000/svg}path") if "V" in path.get("d")]
    assert len(lines) == 4
    texts = [text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"nodes", "Inverse Diffusers", "EnvRunners", "images per second", "a node is killed"} <= set(texts)
    right = max(float(number) for number in lines[0].get("d").replace("V", "H").split("H")[1::2])
    assert right <= 720


def test_the_account_finds_prompts_that_are_lost_or_trained_on_twice(tmp_path):
    (tmp_path / "trajectories").mkdir()
    for update, prompts in enumerate(([0, 0, 1], [2, 3], [3, 4])):
        pq.write_table(pa.table({"prompt": prompts}), tmp_path / "trajectories" / f"{update:05}.parquet")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        account(tmp_path)
    (tmp_path / "checkpoints" / "00003").mkdir(parents=True)
    schedule = {"unfinished": [[5, 1, False]], "buffered": [[7, 2, 6, 0, False]]}
    (tmp_path / "checkpoints" / "00003" / "schedule.json").write_text(json.dumps(schedule))
    assert account(tmp_path) == Account(updates=3, lost=2, twice=1)
