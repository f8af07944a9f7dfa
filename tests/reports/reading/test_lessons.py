"""What an Actor is to imitate, and what is left out."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from learner.config import LearnerConfig
from learner.vlm_policy import VlmPolicy
from presets.errors import BadInput
from presets.keep import KeepConfig
from reports.reading.lessons import NO_BETTER, NOT_KEPT, of_episodes, of_file, of_trajectories, samples_of
from rollout.episode import play
from rollout.trajectory import write_parquet
from scenes.dialogues.general import General
from scenes.png import Picture
from serving.endpoint.teacher import Teacher
from tests.rollout.groups.test_sampler import GRAPHS
from tests.rollout.scripted_models import ScriptedModels
from tests.rollout.test_trajectory import example

GOOD = {
    "image": "a.png",
    "requirements": [["cat", "left of", "dog"], ["tree", "above", "dog"]],
    "unmet": [1],
    "answer": "Reflection: The tree is below.\nEdit: Move the tree above the dog.",
}


def test_turns_that_improved_the_picture_are_imitated(tmp_path):
    turns = [
        example(reward_before=0.2, reward=0.7, answer_text="good"),
        example(reward_before=0.2, reward=0.2),
        example(reward_before=0.2, reward=0.9, rejected="the image is black"),
        example(edit_prompt=None, reflection=None, unread="cut off"),
    ]
    write_parquet(turns, tmp_path / "0.parquet")
    found, left_out = of_trajectories(tmp_path)
    assert [one.answer for one in found] == ["good"]
    assert np.array_equal(found[0].image, turns[0].start)
    assert left_out == {NO_BETTER: 1, "the image is black": 1, "cut off": 1}
    (tmp_path / "1.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadInput, match=r"--answers: .*1\.parquet"):
        of_trajectories(tmp_path)


def test_turns_whose_images_were_not_kept_are_left_out_and_counted(tmp_path):
    turns = [example(stage=stage, reward_before=0.2, reward=0.7) for stage in ("actor", "editor", "editor")]
    write_parquet(turns, tmp_path / "0.parquet", KeepConfig(editor="none"))
    found, left_out = of_trajectories(tmp_path)
    assert len(found) == 1
    assert left_out == {NOT_KEPT: 2}


def test_a_damaged_image_is_bad_input(tmp_path):
    write_parquet([example(reward_before=0.2, image_before=Picture(png=b"no image"))], tmp_path / "0.parquet")
    with pytest.raises(BadInput, match="--answers: "):
        of_trajectories(tmp_path)


def test_a_file_is_read_leniently(tmp_path):
    Image.new("RGB", (8, 6), (0, 255, 0)).save(tmp_path / "a.png")
    records = [
        GOOD,
        {**GOOD, "reward_before": 0.5, "reward": 0.5},
        {**GOOD, "answer": "I see a tree."},
        {**GOOD, "unmet": [7]},
        {**GOOD, "image": "../a.png"},
        {**GOOD, "requirements": [["cat"]]},
        3,
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    (lesson,), left_out = of_file(file, General())
    assert lesson.image.shape == (6, 8, 3)
    assert "Not met yet: 2" in lesson.request
    assert sum(left_out.values()) == 6
    assert left_out[NO_BETTER] == left_out["no edit"] == left_out["not an object"] == 1
    with pytest.raises(BadInput, match="--answers: "):
        of_file(tmp_path / "gone.jsonl", General())


def teacher(say):
    def run(jobs):
        async def ask(text, image):
            return SimpleNamespace(text=say(text), cut_off=False)

        async def all_of_them():
            return [await job(ask) for job in jobs]

        import asyncio

        return asyncio.run(all_of_them())

    return Teacher(SimpleNamespace(run=run), General(), "You are a teacher.")


def test_a_teacher_plays_the_actor_and_what_helped_is_imitated():
    asked = []

    def say(text):
        asked.append(text)
        return "Reflection: a is right of b.\nEdit: move a to the left of b." if len(asked) % 2 else "I do not know."

    replacing, models = teacher(say), ScriptedModels(threshold=20)
    players = SimpleNamespace(diffuser=models.diffuser, editor=models.editor, checker=models.checker, actor=replacing)
    found, left_out = of_episodes(play(players, GRAPHS, 0, 2))
    assert all(text.startswith("You are a teacher.\n\nThe picture should meet") for text in asked)
    assert found
    assert {one.answer for one in found} == {"Reflection: a is right of b.\nEdit: move a to the left of b."}
    assert len(found) + sum(left_out.values()) >= len(asked) - len(GRAPHS)


def test_answers_become_samples_that_are_imitated_and_long_ones_do_not():
    tokenizer = SimpleNamespace(
        encode=lambda text, add_special_tokens: [ord(letter) for letter in text], eos_token_id=0
    )
    image = np.zeros((8, 8, 3), np.uint8)
    lessons = [SimpleNamespace(image=image, request="fix?", answer=text) for text in (" ab\n", "abcd")]
    samples, longer = samples_of(lessons, tokenizer, 3)
    assert longer == 1
    assert [(one.token_ids, one.log_probs, one.advantage) for one in samples] == [([97, 98, 0], [0.0] * 3, 1.0)]


def test_the_actors_loss_of_such_a_sample_has_the_gradient_of_its_negative_log_probability(vlm_folder):
    policy = VlmPolicy(vlm_folder, LearnerConfig(importance_cap=None))
    rng = np.random.default_rng(0)
    lessons = [
        SimpleNamespace(image=rng.integers(0, 256, (64, 64, 3), np.uint8), request="fix ?", answer=text)
        for text in (
            "reflection : red circle left of blue square . edit : move red circle left of blue square .",
            "red",
        )
    ]
    samples, _ = samples_of(lessons, policy.processor.tokenizer, 48)
    (batch,) = policy.batches(samples)
    now = policy.evaluate(policy.module, batch)
    loss, _ = policy.loss(batch, now, now.log_probs.detach(), batch.count)
    parameters = [p for p in policy.module.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    plain = -now.log_probs[batch.mask].mean()
    wanted = torch.autograd.grad(plain, parameters, allow_unused=True)
    norms = [gradient.norm().item() for gradient in wanted if gradient is not None]
    assert sum(norms) > 1
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert policy.mismatch(batch, now.log_probs).mean().item() == pytest.approx(plain.item())
