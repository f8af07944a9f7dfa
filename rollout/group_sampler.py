"""Samples groups: G members that start alike, whose rewards are compared with each other (DESIGN §4)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actors.edit import Edit
from actors.flow_path import FlowSde
from learner.advantages import group_advantages, has_signal
from rollout.config import EditorConfig, RolloutConfig
from rollout.episode import State, draw_states, reward_of
from rollout.models import Models
from rollout.seeds import derive_seed
from rollout.trajectory import Turn, TurnSeconds
from scenes.scene_graph import SceneGraph
from serving.vlm_actor import ActorAnswer


@dataclass(frozen=True)
class Job:
    """What one EnvRunner is asked to sample: these prompts, for the policy that trains. Groups are numbered from
    `first_group`, so that numbers of different jobs must not overlap: a job uses `capacity` of them."""

    run: str
    stage: str
    update: int
    graphs: tuple[SceneGraph, ...]
    seed: int
    first_group: int


class GroupSampler:
    """Runs the Generate-Reflect-Edit loop in groups.

    While the Actor trains, members differ in the Actor's answer and the editor is deterministic; while the editor
    trains, members of a `turn` group share one answer and differ in the noise of the editor's SDE.
    """

    def __init__(self, models: Models, rollout: RolloutConfig, editor: EditorConfig) -> None:
        self.models, self.settings = models, rollout
        self.sde = FlowSde(editor.eta, editor.steps, editor.sde_window)

    def sample(self, job: Job) -> list[Turn]:
        """All turns of all groups of a job, with advantages."""
        started, before = time.monotonic(), self._computed()
        seeds = [derive_seed(job.seed, "draw", graph.img_id) for graph in job.graphs]
        states = [s for s in draw_states(self.models, job.graphs, seeds) if not s.done]
        drawn, computed = time.monotonic() - started, self._computed() - before
        turns = self._by_turn(job, states) if self.settings.group == "turn" else self._by_trajectory(job, states)
        return [
            replace(
                turn,
                seconds=replace(turn.seconds, draw=drawn),
                compute_seconds=replace(turn.compute_seconds, draw=computed.draw + computed.check),
            )
            for turn in turns
        ]

    def _by_turn(self, job: Job, states: list[State]) -> list[Turn]:
        rows: list[Turn] = []
        size = self.settings.group_size
        group = job.first_group
        for turn in range(self.settings.turns):
            if not states:
                break
            starts = [k for k in range(len(states)) for _ in range(size)]
            made = self._turn(job, turn, states, starts, shared=job.stage == "editor")
            going_on = []
            for k, state in enumerate(states):
                members = made[k * size : (k + 1) * size]
                if job.stage == "editor" and members[0].reflection is None:
                    continue  # nothing was edited, so nothing can be compared
                rewards = np.array([member.reward for member in members])
                advantages = group_advantages(rewards)
                parsed = [i for i, member in enumerate(members) if member.image_after is not None]
                chosen = (
                    parsed[derive_seed(job.seed, "carry", state.graph.img_id, turn) % len(parsed)] if parsed else -1
                )
                rows += [
                    replace(
                        member,
                        group=group,
                        member=i,
                        carried_on=i == chosen,
                        advantage=float(advantages[i]),
                        dropped=not has_signal(rewards),
                    )
                    for i, member in enumerate(members)
                ]
                group += 1
                if parsed:
                    after = members[chosen]
                    going_on.append(State(state.graph, after.image_after, after.satisfaction_after, state.draw_seed))
            states = [state for state in going_on if not state.done]
        return rows

    def _by_trajectory(self, job: Job, starts: list[State]) -> list[Turn]:
        size = self.settings.group_size
        states = [state for state in starts for _ in range(size)]
        rows: list[list[Turn]] = [[] for _ in states]
        open_ones = list(range(len(states)))
        for turn in range(self.settings.turns):
            if not open_ones:
                break
            made = self._turn(job, turn, states, open_ones, shared=False)
            for k, row in zip(open_ones, made, strict=True):
                group, member = divmod(k, size)
                rows[k].append(replace(row, group=job.first_group + group, member=member, carried_on=True))
                if row.image_after is not None:
                    states[k] = replace(states[k], image=row.image_after, satisfaction=row.satisfaction_after)
            open_ones = [k for k in open_ones if rows[k][-1].image_after is not None and not states[k].done]
        finished = []
        for group in range(len(starts)):
            members = range(group * size, (group + 1) * size)
            rewards = np.array([rows[k][-1].reward for k in members])
            for k, advantage in zip(members, group_advantages(rewards), strict=True):
                dropped = not has_signal(rewards)
                finished += [replace(row, advantage=float(advantage), dropped=dropped) for row in rows[k]]
        return finished

    def _turn(self, job: Job, turn: int, states: list[State], starts: list[int], shared: bool) -> list[Turn]:
        """One turn of the members `starts`, which are indices of `states`; with `shared`, members of one state get
        one answer. Seeds depend on the prompt, the turn and the member's position among those of its state."""
        began, before = time.monotonic(), self._computed()
        position = _positions(starts)
        seeds = {
            purpose: [
                derive_seed(
                    job.seed, purpose, states[k].graph.img_id, turn, i if not shared or purpose == "edit" else 0
                )
                for k, i in zip(starts, position, strict=True)
            ]
            for purpose in ("answer", "edit")
        }
        answers = self._answers(states, starts, seeds["answer"], shared)
        reflected = time.monotonic()
        parsed = [m for m, answer in enumerate(answers) if answer.reflection is not None]
        edits = self.models.editor.edit(
            [states[starts[m]].image for m in parsed],
            [answers[m].reflection.edit_prompt for m in parsed],
            [seeds["edit"][m] for m in parsed],
            sde=self.sde if job.stage == "editor" else None,
        )
        edited = time.monotonic()
        checked = self.models.checker.satisfaction(
            [edit.image for edit in edits], [states[starts[m]].graph.requirements for m in parsed]
        )
        seconds = TurnSeconds(reflect=reflected - began, edit=edited - reflected, check=time.monotonic() - edited)
        computed = self._computed() - before
        results = dict(zip(parsed, zip(edits, checked, strict=True), strict=True))
        rows = [
            self._row(job, turn, states[k], answers[m], results.get(m), seeds["answer"][m], seeds["edit"][m])
            for m, k in enumerate(starts)
        ]
        return [replace(row, seconds=seconds, compute_seconds=computed) for row in rows]

    def _computed(self) -> TurnSeconds:
        """Seconds that each model has computed so far."""
        models = self.models
        return TurnSeconds(
            models.diffuser.compute_seconds,
            models.actor.compute_seconds,
            models.editor.compute_seconds,
            models.checker.compute_seconds,
        )

    def _answers(self, states: list[State], starts: list[int], seeds: Sequence[int], shared: bool) -> list[ActorAnswer]:
        asked = sorted(set(starts)) if shared else starts
        first = {k: m for m, k in reversed(list(enumerate(starts)))}
        answers = self.models.actor.reflect(
            [states[k].image for k in asked],
            [states[k].request for k in asked],
            temperature=self.settings.sampling_temperature,
            seeds=[seeds[first[k]] for k in asked] if shared else seeds,
        )
        if not shared:
            return [answer[0] for answer in answers]
        by_state = dict(zip(asked, answers, strict=True))
        return [by_state[k][0] for k in starts]

    def _row(
        self,
        job: Job,
        turn: int,
        state: State,
        answer: ActorAnswer,
        result: tuple[Edit, list[float]] | None,
        actor_seed: int,
        edit_seed: int,
    ) -> Turn:
        edit, after = result or (None, state.satisfaction)
        kind = self.settings.reward
        record: dict[str, Any] = state.graph.record()
        return Turn(
            run=job.run,
            prompt_id=state.graph.img_id,
            scene_graph=record,
            stage=job.stage,
            update=job.update,
            group=-1,
            member=-1,
            turn=turn,
            carried_on=False,
            actor_version=answer.version,
            editor_version=-1 if edit is None else edit.version,
            image_before=state.image,
            image_after=None if edit is None else edit.image,
            request=state.request,
            reflection=None if answer.reflection is None else answer.reflection.reflection,
            edit_prompt=None if answer.reflection is None else answer.reflection.edit_prompt,
            answer_text=answer.text,
            token_ids=answer.token_ids,
            token_log_probs=answer.log_probs,
            requirements=[requirement.text for requirement in state.graph.requirements],
            satisfaction_before=state.satisfaction,
            satisfaction_after=after,
            reward_before=reward_of(state.satisfaction, kind),
            reward=0.0 if edit is None else reward_of(after, kind),  # an unparsable answer costs its member the reward
            flow=None if edit is None else edit.path,
            draw_seed=state.draw_seed,
            actor_seed=actor_seed,
            edit_seed=edit_seed,
        )


def _positions(starts: Sequence[int]) -> list[int]:
    """Each entry's position among the equal ones before it: [4, 4, 7, 4] → [0, 1, 0, 2]."""
    seen: dict[int, int] = {}
    positions = []
    for k in starts:
        positions.append(seen.get(k, 0))
        seen[k] = positions[-1] + 1
    return positions
