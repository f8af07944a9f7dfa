"""Batches as one update of a run sees them: groups whose members share an image and a prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from actors.edit import Edit
from actors.flow_path import FlowSde
from learner.samples import ActorSample, EditorSample
from presets.run_config import RunConfig
from scenes.dialogue import Reflection, actor_request, edit_prompt
from scenes.scene_graph import Requirement
from scenes.shape_world import DrawnScene, sample_scene


def group_scenes(count: int, size: int, seed: int, relations: tuple[int, int]) -> list[DrawnScene]:
    """The scene that each of `count` samples starts from, `size` samples after each other sharing one."""
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng, "train", relations) for _ in range(-(-count // size))]
    return [scenes[index // size] for index in range(count)]


def actor_batch(config: RunConfig, count: int, seed: int = 0) -> list[ActorSample]:
    """Answers about drawn scenes, each about a random requirement, with the log-probabilities of the Actor itself."""
    from learner.vlm_policy import VlmPolicy  # transformers

    policy = VlmPolicy(config.models.actor, config.learner.actor)
    tokenizer = policy.processor.tokenizer
    rng = np.random.default_rng([seed, 1])
    samples = []
    for index, scene in enumerate(group_scenes(count, config.rollout.group_size, seed, config.data.relations)):
        requirements = scene.graph.related
        text = _answer(requirements[rng.integers(len(requirements))])
        ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
        request = actor_request(requirements, requirements[:1])
        samples.append(ActorSample(scene.image, request, ids, [0.0] * len(ids), _advantage(index)))
    with torch.no_grad():
        rows = [row for batch in policy.batches(samples) for row in policy.evaluate(policy.module, batch).log_probs]
    return [
        replace(sample, log_probs=row[: len(sample.token_ids)].tolist())
        for sample, row in zip(samples, rows, strict=True)
    ]


def editor_batch(config: RunConfig, count: int, seed: int = 0) -> list[EditorSample]:
    """Edits of drawn scenes with the paths that the editor's own SDE took."""
    from actors.model_families import load_editor  # diffusers

    model = load_editor(config.models.edits_with, image_size=config.diffuser.size.plain)
    scenes = group_scenes(count, config.rollout.group_size, seed, config.data.relations)
    images = [scene.image for scene in scenes]
    prompts = [_move(scene.graph.related[0]) for scene in scenes]
    sde = FlowSde(config.editor.eta, config.editor.steps, config.editor.sde_window)
    edits = model.edit(images, prompts, list(range(count)), sde)
    return [
        editor_sample(image, prompt, edit, _advantage(index))
        for index, (image, prompt, edit) in enumerate(zip(images, prompts, edits, strict=True))
    ]


def _advantage(index: int) -> float:
    return 1.0 if index % 2 else -1.0


def _move(requirement: Requirement) -> str:
    return edit_prompt(requirement.subject, requirement.predicate, requirement.object)


def _answer(requirement: Requirement) -> str:
    return Reflection(requirement.text, _move(requirement)).text


def editor_sample(image: np.ndarray, prompt: str, edit: Edit, advantage: float) -> EditorSample:
    """What the learner trains on, of an edit that was sampled with the SDE."""
    assert edit.path is not None, "an edit by the ODE has no path"
    return EditorSample(image, prompt, edit.path, advantage)
