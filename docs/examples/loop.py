"""Reflection-GRPO in one process: draw, check, reflect, edit, compare, learn. It trains the Actor of the small models.

`rlrig train` does the same on Ray: it samples in parallel, trains the editor, too, and survives faults.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from learner.advantages import group_advantages, has_signal
from learner.samples import ActorSample
from learner.vlm_policy import VlmPolicy
from presets.places import TINY, preset_at
from presets.run_file import load_config
from rewards.satisfaction import reward_of
from rlrig.local.models import load_models
from rollout.episode import draw_states
from rollout.progress import Progress
from rollout.prompts import load_prompts
from serving.actor import Actor
from serving.local.vlm import LocalVlm

UPDATES, PROMPTS, GROUP = 2, 3, 6


def main() -> list[float]:
    """Two updates; returns the mean reward of each. `UPDATES, PROMPTS, GROUP = 32, 10, 8` is the run of the preset."""
    torch.manual_seed(0)
    config = load_config(preset_at(TINY))
    prompts = load_prompts(config.data, config.seed)
    models = load_models(config, Progress())
    policy = VlmPolicy(config.models.actor, config.learner.actor)  # the Actor again, with gradients
    optimizer = torch.optim.AdamW(policy.module.parameters(), config.learner.actor.learning_rate, weight_decay=0.0)
    means = []
    for update in range(UPDATES):
        positions = range(update * PROMPTS, (update + 1) * PROMPTS)
        drawn = draw_states(models, [prompts.at(position) for position in positions], list(positions))  # draw and check
        samples, rewards = [], []
        for seed, state in enumerate(state for state in drawn if not state.done):
            (answers,) = models.actor.reflect([state.image], [state.request], GROUP, temperature=1.0, seeds=[seed])
            read = [answer for answer in answers if answer.reflection is not None]
            told = [answer.reflection.edit_prompt for answer in read]
            edits = models.editor.edit([state.image] * len(read), told, [seed] * len(read))  # the same noise for all
            wanted = [state.graph.requirements] * len(read)
            holds = iter(models.checker.satisfaction([edit.image for edit in edits], wanted))
            unread = config.rollout.unparsable_reward
            group = [unread if one.reflection is None else reward_of(next(holds), "hard") for one in answers]
            rewards += group
            if has_signal(group):  # where all rewards are equal, there is nothing to learn
                for answer, advantage in zip(answers, group_advantages(group), strict=True):
                    sampled = (answer.token_ids, answer.log_probs, float(advantage))
                    samples.append(ActorSample(state.image, state.request, *sampled))
        means.append(sum(rewards) / max(len(rewards), 1))
        tokens = sum(len(sample.token_ids) for sample in samples)
        for batch in policy.batches(samples):
            now = policy.evaluate(policy.module, batch)
            loss, _ = policy.loss(batch, now, now.log_probs.detach(), tokens)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.module.parameters(), config.learner.actor.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        with TemporaryDirectory() as folder:  # the next answers are sampled with the new weights
            policy.export(Path(folder))
            settings = config.vlm.actor.model_copy(update={"model": folder})
            models = replace(models, actor=Actor(LocalVlm("actor", settings), config.dialogue))
        print(f"update {update + 1}: reward {means[-1]:.3f}, {len(samples)} answers with an advantage")
    return means


if __name__ == "__main__":
    main()
