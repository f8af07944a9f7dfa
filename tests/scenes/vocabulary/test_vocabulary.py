import pickle

import pytest

from scenes.requirements_reader import NotUnderstood
from scenes.shape_world import PREDICATES
from scenes.vocabulary.vocabulary import ANY_RELATION, FOUR_RELATIONS, vocabulary_of


@pytest.mark.parametrize(
    ("source", "dialogue", "expected"),
    [
        ("shape_world", "shapes", FOUR_RELATIONS),
        ("shape_world", "general", FOUR_RELATIONS),
        ("laion_sg", "shapes", FOUR_RELATIONS),
        ("laion_sg", "general", ANY_RELATION),
        ("mine:graphs", "general", ANY_RELATION),
        ("mine:graphs", "mine:Dialogue", ANY_RELATION),
    ],
)
def test_any_relation_is_taken_where_neither_data_nor_dialogue_is_the_shape_worlds(source, dialogue, expected) -> None:
    assert vocabulary_of(source, dialogue) is expected


def test_a_form_offers_only_what_is_read() -> None:
    for words in (FOUR_RELATIONS, ANY_RELATION):
        assert words.read(words.example).requirements
        for relation in words.suggested:
            for subject, object_ in zip(words.objects, words.objects[1:], strict=False):
                (found,) = words.read(f"{subject} {relation} {object_}").requirements
                assert found.triple == (subject, relation, object_)
                assert words.graph([found.triple]).requirements == (found,)
    assert FOUR_RELATIONS.predicates == FOUR_RELATIONS.suggested == PREDICATES
    assert ANY_RELATION.predicates == ()


def test_parts_of_the_shape_world_are_read_as_its_prompts_are() -> None:
    graph = FOUR_RELATIONS.graph(
        [("The red Circle", "to the left of", "a blue square"), ("star", "over", "red circle")]
    )
    assert graph == FOUR_RELATIONS.read("red circle left of blue square; star above red circle")
    with pytest.raises(NotUnderstood) as caught:
        FOUR_RELATIONS.graph([("cat", "above", "dog"), ("cat", "behind", "dog"), ("a; b", "above", "dog")])
    assert str(caught.value).startswith("requirements: understood: cat above dog. Not understood: 'cat behind dog' (")
    assert "they are left of, right of, above, below" in caught.value.not_understood[0][1]
    assert "is no name" in caught.value.not_understood[1][1]


def test_a_vocabulary_goes_to_another_process() -> None:
    for words in (FOUR_RELATIONS, ANY_RELATION):
        assert pickle.loads(pickle.dumps(words)).read(words.example) == words.read(words.example)
