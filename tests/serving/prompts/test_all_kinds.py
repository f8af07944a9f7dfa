"""Requirements of every kind before a VLM of the large presets' architecture, tiny and taught the general dialogue."""

import pytest

from benchmarks.tiny_families.player import player
from scenes.dialogues.general import General
from scenes.pictures.size import PictureSize
from scenes.vocabulary.free_reader import read_any
from scenes.vocabulary.vocabulary import ANY_RELATION
from serving.checker import Checker
from serving.config import VlmConfig
from serving.local.vlm import LocalVlm
from serving.prompts.plain_prompts import UnreadablePrompt, blank, read_plain_prompt

GRAPH = read_any("a fox on a table; a lamp; two apples; the table is wooden; ? Is the fox asleep?")


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> LocalVlm:
    folder = player("qwen2.5", tmp_path_factory.mktemp("qwen") / "vlm")
    return LocalVlm("actor", VlmConfig(model=str(folder), max_model_len=1800))


def test_the_checker_gives_each_kind_a_probability(vlm: LocalVlm) -> None:
    checker = Checker(vlm, General(), least_mass=0.0)
    (row,) = checker.satisfaction([blank(PictureSize(56, 56))], [GRAPH.requirements])
    assert len(row) == len(GRAPH.requirements) == 5
    assert all(0.0 < one < 1.0 for one in row)
    assert len(set(row)) == 5, "each is asked about in words of its own"
    (alone,) = checker.satisfaction([blank(PictureSize(56, 56))], [GRAPH.requirements[2:3]])
    assert alone[0] == pytest.approx(row[2], abs=1e-4)


def test_a_model_that_knows_the_loop_alone_reads_no_plain_prompt_and_says_so(vlm: LocalVlm) -> None:
    with pytest.raises(UnreadablePrompt, match=r"made no requirements of it in 2 tries|cannot be asked"):
        read_plain_prompt(vlm, "Two foxes", ANY_RELATION, PictureSize(56, 56))
