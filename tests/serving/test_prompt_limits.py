from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from scenes.requirements_reader import read_requirements
from scenes.scene_graph import SceneGraph
from scenes.shape_world import COLOURS, PREDICATES, SHAPES
from scenes.vocabulary.vocabulary import ANY_RELATION
from serving.model_folder import BrokenModelFolder
from serving.prompt_limits import PromptLimits, single_tokens
from tests.places import ROOT

MODELS = ROOT / "presets" / "tiny" / "models"
TINY = PromptLimits(str(MODELS / "flux"), str(MODELS / "actor"))
NAMES = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]


def row(count: int) -> SceneGraph:
    """As many requirements, all of which can hold."""
    return asked("; ".join(f"{NAMES[k]} left of {NAMES[k + 1]}" for k in range(count)))


def asked(prompt: str) -> SceneGraph:
    return read_requirements(prompt, PREDICATES)


def test_what_fits_into_the_actors_context_is_taken_and_what_does_not_is_told_with_the_limit() -> None:
    assert [TINY.refusal(row(count)) for count in range(1, 17)] == [None] * 16
    for count in range(17, 24):
        told = TINY.refusal(row(count))
        assert told
        assert told.startswith(f"it has {count} requirements, which are ")
        assert "whose context holds 160; ask for at most 16 of such a length" in told
    short = PromptLimits(TINY.drawer, TINY.actor, context=100)
    assert "at most 8" in (short.refusal(row(12)) or "")


def test_objects_that_the_models_do_not_know_are_named() -> None:
    assert TINY.refusal(asked("red circel left of blue square")) == (
        "the models do not know 'red circel'; did you mean 'red circle'?"
    )
    told = TINY.refusal(asked("cat above blue square; cat left of hippopotamus"))
    assert told
    assert "do not know 'cat', 'hippopotamus'" in told


def test_relations_that_the_models_do_not_know_are_named() -> None:
    graph = ANY_RELATION.read("a red circle behind a blue square; green star left of blue square")
    assert (TINY.refusal(graph) or "").startswith("the models do not know 'behind'; ")
    assert TINY.refusal(ANY_RELATION.read("a red circle left of a blue square")) is None


def test_nothing_is_known_of_a_model_on_the_hub_nor_of_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    for folder in ("owner/name", str(tmp_path)):
        assert PromptLimits(folder, folder).refusal(asked("cat above dog")) is None
        assert single_tokens(folder, ("yes",)) is None


def test_words_that_are_one_token_are_found(tmp_path: Path) -> None:
    assert single_tokens(str(MODELS / "checker"), ("yes", "Yes", "no", "perhaps")) == ["yes", "no"]
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BrokenModelFolder, match=r"tokenizer\.json cannot be read"):
        single_tokens(str(tmp_path), ("yes",))


def test_a_tokenizer_of_parts_of_words_knows_every_word(tmp_path: Path) -> None:
    parts = Tokenizer(models.BPE({letter: k for k, letter in enumerate("abcdegostv ")}, []))
    (tmp_path / "tokenizer_2").mkdir()
    parts.save(str(tmp_path / "tokenizer_2" / "tokenizer.json"))
    limits = PromptLimits(str(tmp_path), TINY.actor, prompt_tokens=13)
    assert limits.refusal(asked("cat above dog")) is None  # 13 letters and blanks
    assert "is 14 tokens to the Diffuser" in (limits.refusal(asked("cats above dog")) or "")


def test_a_prompt_that_the_diffuser_would_not_read_to_its_end_is_told() -> None:
    limits = replace(TINY, prompt_tokens=32)
    assert [limits.refusal(row(count)) for count in range(1, 9)] == [None] * 8
    assert limits.refusal(row(9)) == (
        "it is 36 tokens to the Diffuser, which reads the first 32 (diffuser.max_prompt_tokens); ask for less"
    )
