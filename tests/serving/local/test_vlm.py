"""A VLM in this process, next to what plain transformers computes. tests/serving/test_vlm.py holds it against vLLM."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from scenes.dialogue import checker_question
from scenes.scene_graph import Requirement
from serving.actor import Actor
from serving.checker import SAMPLING, Checker
from serving.config import VlmConfig
from serving.generation import Question, Sampling, VlmError
from serving.local.vlm import LocalVlm
from tests.serving.conftest import Reference, write_like
from tests.serving.test_vlm_adapter import TEXT_LORA, Trained

REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"
REQUIREMENT = Requirement("red circle", "left of", "blue square")
SYSTEM = "is it above ?"


def local(folder: Path, **settings: Any) -> LocalVlm:
    return LocalVlm("actor", VlmConfig(model=str(folder), **{"max_tokens": 16, **settings}))


def test_log_probs_of_samples_are_those_of_transformers(folders, references, images) -> None:
    rows = Actor(local(folders["actor"])).reflect(images, [REQUEST] * 4, n=8, temperature=2.0, seeds=[1, 2, 3, 4])
    for image, row in zip(images, rows, strict=True):
        for answer in row:
            references["actor"].assert_log_probs(image, REQUEST, answer, temperature=2.0)
    end = references["actor"].processor.tokenizer.eos_token_id
    ended = [answer for row in rows for answer in row if answer.finished]
    assert all(len(answer.token_ids) == 16 for row in rows for answer in row if not answer.finished)
    assert ended
    assert all(answer.token_ids.index(end) == len(answer.token_ids) - 1 for answer in ended)
    assert all("end_of_utterance" not in answer.text for answer in ended)


def test_greedy_answers_are_those_of_transformers(folders, references, images) -> None:
    vlm = local(folders["actor"], max_num_seqs=3)  # more questions than one batch takes
    for image, (answer,) in zip(images, Actor(vlm).reflect(images, [REQUEST] * 4), strict=True):
        assert answer.token_ids == references["actor"].greedy(image, REQUEST, 16)
        references["actor"].assert_log_probs(image, REQUEST, answer)
    assert vlm.compute_seconds > 0


def test_a_seed_decides_the_answer_whatever_else_is_asked(folders, images) -> None:
    actor = Actor(local(folders["actor"]))
    asked = [REQUEST, "fix ?", REQUEST, REQUEST]  # of other lengths
    together = actor.reflect(images, asked, n=3, temperature=1.0, seeds=[5, 6, 7, 8])
    alone = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[7])
    assert [answer.token_ids for answer in alone[0]] == [answer.token_ids for answer in together[2]]
    assert len({tuple(answer.token_ids) for answer in alone[0]}) == 3
    neighbour = actor.reflect(images[2:3], [REQUEST], n=3, temperature=1.0, seeds=[8])
    assert not {tuple(a.token_ids) for a in neighbour[0]} & {tuple(a.token_ids) for a in alone[0]}


def test_satisfaction_is_the_yes_share_of_transformers(folders, references, images) -> None:
    checker = Checker(LocalVlm("checker", VlmConfig(model=str(folders["checker"]))), least_mass=0.0)
    reference = references["checker"]
    yes, no = reference.processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    wanted = [(REQUIREMENT,), (), (REQUIREMENT,) * 2, (REQUIREMENT,)]
    found = checker.satisfaction(images, wanted)
    assert [len(row) for row in found] == [1, 0, 2, 1]
    for image, row in zip(images, found, strict=True):
        log_probs = reference.log_probs(image, checker_question(REQUIREMENT), [yes])[0]
        assert row == pytest.approx([(log_probs[yes] - log_probs[no]).sigmoid().item()] * len(row), abs=1e-4)


def test_an_image_placeholder_is_never_an_answer(folders, images, tmp_path) -> None:
    tensors = load_file(folders["actor"] / "model.safetensors")
    image_token = json.loads((folders["actor"] / "config.json").read_text())["image_token_id"]
    head = tensors["lm_head.weight"].clone()
    head[image_token] = head.abs().max(0).values * head.sum(0).sign() * 4
    folder = write_like(folders["actor"], tmp_path / "biased", {**tensors, "lm_head.weight": head})
    for sampling in (Sampling(max_tokens=8), Sampling(n=8, temperature=1.0, max_tokens=8)):
        for row in local(folder).generate(images, [Question(REQUEST, i, i) for i in range(4)], sampling):
            assert all(image_token not in answer.token_ids for answer in row)


def test_the_folders_own_defaults_of_generation_change_nothing(folders, images, tmp_path) -> None:
    folder = tmp_path / "defaults"
    shutil.copytree(folders["actor"], folder)
    own = json.loads((folder / "generation_config.json").read_text())
    strange = {"repetition_penalty": 3.0, "do_sample": True, "top_k": 2, "temperature": 0.1, "max_new_tokens": 2}
    (folder / "generation_config.json").write_text(json.dumps({**own, **strange}))
    plain, changed = (Actor(local(each)).reflect(images, [REQUEST] * 4) for each in (folders["actor"], folder))
    assert plain == changed


def test_an_answer_ends_where_the_context_does(folders, images) -> None:
    whole = local(folders["actor"]).generate(images[:1], [Question(REQUEST, 0)], Sampling(max_tokens=16))[0][0]
    length = (
        local(folders["actor"])
        ._processor(  # of the prompt
            text="<user><image>" + REQUEST + "<end_of_utterance><assistant>", images=[images[0]], return_tensors="pt"
        )
        .input_ids.shape[1]
    )
    short = local(folders["actor"], max_model_len=length + 3)
    (answer,) = short.generate(images[:1], [Question(REQUEST, 0)], Sampling(max_tokens=16))[0]
    assert answer.token_ids == whole.token_ids[:3]
    assert not answer.finished
    with pytest.raises(ValueError, match=f"a question to the actor is {length} tokens, .* context of {length}"):
        local(folders["actor"], max_model_len=length).generate(images[:1], [Question(REQUEST, 0)], Sampling())
    with pytest.raises(ValueError, match="image 1 of 1 is not there"):
        short.generate(images[:1], [Question(REQUEST, 1)], Sampling())
    assert short.generate(images[:1], [], Sampling()) == []


def test_an_adapter_lies_beside_the_weights_and_the_checker_answers_without_it(folders, images, tmp_path) -> None:
    trained = Trained(folders["actor"], TEXT_LORA)
    update = trained.update(3)
    settings = VlmConfig(model=str(folders["actor"]), max_tokens=16, system_prompt=SYSTEM, adapter_rank=2)
    vlm = LocalVlm("actor", settings, update)
    with_adapter = trained.reference(tmp_path / "trained")
    for image, (answer,) in zip(images, Actor(vlm).reflect(images, [REQUEST] * 4), strict=True):
        assert answer.version == 3
        with_adapter.assert_log_probs(image, REQUEST, answer)
    base = Reference(folders["actor"])
    yes, no = base.processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    checker = vlm.shared("checker", VlmConfig(model=str(folders["actor"])))
    for image in images:
        ((answer,),) = checker.generate([image], [Question(checker_question(REQUIREMENT), 0)], SAMPLING)
        log_probs = base.log_probs(image, checker_question(REQUIREMENT), [yes])[0]
        assert answer.word_log_probs["yes"] == pytest.approx(log_probs[yes].item(), abs=1e-3)
        assert answer.word_log_probs["no"] == pytest.approx(log_probs[no].item(), abs=1e-3)
    assert Actor(vlm).reflect(images[:1], [REQUEST])[0][0].version == 3


def test_two_deployments_of_a_folder_have_prompts_of_their_own_and_one_model(folders, references, images) -> None:
    actor = local(folders["actor"])
    checker = actor.beside("checker", VlmConfig(model=str(folders["actor"]), system_prompt=SYSTEM))
    assert checker._model is actor._model
    asked, reference = checker_question(REQUIREMENT), Reference(folders["actor"], SYSTEM)
    ((answer,),) = checker.generate(images[:1], [Question(asked, 0)], Sampling(max_tokens=4))
    assert answer.token_ids == reference.greedy(images[0], asked, 4)
    ((answer,),) = actor.generate(images[:1], [Question(asked, 0)], Sampling(max_tokens=4))
    assert answer.token_ids == references["actor"].greedy(images[0], asked, 4)


def test_a_folder_that_lacks_a_tensor_is_refused_by_its_name(folders, tmp_path) -> None:
    tensors = load_file(folders["actor"] / "model.safetensors")
    name = next(name for name in sorted(tensors) if "q_proj" in name)
    del tensors[name]
    folder = write_like(folders["actor"], tmp_path / "damaged", tensors)
    with pytest.raises(VlmError, match=rf"the actor failed to start from .*damaged.*1 tensors .* {name!r}"):
        local(folder)
    (folder / "config.json").write_text('{"model_type": "idefics3", "text_config": {"hidden_size": 7}}')
    with pytest.raises(VlmError, match="the actor failed to start from"):
        local(folder)


def test_numbers_that_are_not_finite_are_an_error(folders, images, tmp_path) -> None:
    tensors = load_file(folders["actor"] / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] * np.nan
    folder = write_like(folders["actor"], tmp_path / "nan", tensors)
    with pytest.raises(FloatingPointError, match="its weights are damaged"):
        local(folder).generate(images[:1], [Question(REQUEST, 0)], Sampling(max_tokens=2))
