"""The Actor with all real engines."""

import numpy as np
import pytest

from serving.vlm_actor import Actor

pytestmark = pytest.mark.engines

REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"


def test_sampled_log_probs_equal_those_of_transformers(vlms, references, images):
    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=4, temperature=1.0, seeds=[1, 2, 3, 4])
    assert [len(row) for row in answers] == [4] * 4
    assert len({tuple(answer.token_ids) for row in answers for answer in row}) == 16
    for image, row in zip(images, answers, strict=True):
        for answer in row:
            assert answer.version in vlms["actor"].versions().values()
            references["actor"].assert_log_probs(image, REQUEST, answer)


def test_an_answer_keeps_its_end_token(vlms, references, images):
    answers = Actor(vlms["actor"]).reflect(images, [REQUEST] * 4, n=64, temperature=2.0, seeds=[1, 2, 3, 4])
    end = references["actor"].processor.tokenizer.eos_token_id
    ended = [answer for row in answers for answer in row if end in answer.token_ids]
    assert ended
    for answer in ended:
        assert answer.token_ids.index(end) == len(answer.token_ids) - 1
        assert "end_of_utterance" not in answer.text
    for image, row in zip(images, answers, strict=True):
        for answer in row[:2]:  # also at temperature 2, log-probabilities are those of temperature 1
            references["actor"].assert_log_probs(image, REQUEST, answer)


def test_greedy_answers_equal_those_of_transformers(vlms, references, images):
    for image, (answer,) in zip(images, Actor(vlms["actor"]).reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["actor"].greedy(image, REQUEST, 16)
        assert answer.text == references["actor"].processor.tokenizer.decode(answer.token_ids, skip_special_tokens=True)


def test_a_seed_decides_the_answer_whatever_else_is_asked(vlms, images):
    actor = Actor(vlms["actor"])
    together = actor.reflect(images, [REQUEST] * 4, n=3, temperature=1.0, seeds=[5, 6, 7, 8])
    alone = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[7])
    assert [answer.token_ids for answer in alone[0]] == [answer.token_ids for answer in together[2]]
    neighbour = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[8])
    assert not {tuple(a.token_ids) for a in neighbour[0]} & {tuple(a.token_ids) for a in alone[0]}


def test_an_unparsable_answer_has_no_reflection(vlms, images):
    assert all(row[0].reflection is None for row in Actor(vlms["actor"]).reflect(images, [REQUEST] * 4))


def test_impossible_requests_are_refused(vlms, images):
    with pytest.raises(ValueError, match="4 images, 1 requests, no seeds"):
        Actor(vlms["actor"]).reflect(images, [REQUEST])
    with pytest.raises(ValueError, match="n is 2 at temperature 0"):
        Actor(vlms["actor"]).reflect(images[:1], [REQUEST], n=2)


def test_an_image_of_another_size_is_answered(vlms):
    image = np.zeros((80, 96, 3), dtype=np.uint8)
    assert Actor(vlms["actor"]).reflect([image], [REQUEST])[0][0].token_ids
