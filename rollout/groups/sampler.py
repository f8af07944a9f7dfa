"""Samples groups: G members that start alike, whose rewards are compared with each other (DESIGN §4)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actors.repeats import without_repeats
from presets.images import EditorConfig
from presets.settings import RolloutConfig
from rewards.judge import Judge, Result
from rewards.part import Worth
from rewards.reward import Reward
from rollout.groups.comparison import compared
from rollout.groups.editing import Editing
from rollout.groups.first_images import first_images
from rollout.groups.job import Drawn, Job
from rollout.groups.rejection import rejection
from rollout.seeds import derive_seed
from rollout.state import State
from rollout.trajectory import Turn, TurnSeconds
from scenes.png import Picture
from serving.actor import ActorAnswer

if TYPE_CHECKING:
    from rollout.models import Models


class GroupSampler:
    """Runs the Generate-Reflect-Edit loop in groups.

    While the Actor trains, members differ in the Actor's answer alone: the editor is deterministic and starts from the
    same noise for all of them (`rollout.edit_noise`), so that no luck of the editor counts as merit of an answer, and
    equal edits are made once. While the editor trains by `algorithm`, members of a `turn` group share one answer and
    differ in the editor's noise.
    """

    def __init__(
        self,
        models: Models,
        rollout: RolloutConfig,
        editor: EditorConfig,
        reward: Reward | None = None,
        algorithm: str = "flow_grpo",
    ) -> None:
        self.models, self.settings, self.reward = models, rollout, reward or Reward(rollout)
        self._comparison = (rollout.least_spread, rollout.advantage_scale)
        self.editing = Editing(editor, algorithm, rollout.prompts_per_update)

    def sample(self, job: Job) -> list[Turn]:
        """All turns of all groups of a job, with advantages."""
        started, before = time.monotonic(), self._computed()
        self.judge = Judge(self.reward, job.stage, job.scales, self.settings.reward_of)
        states = [state for state in first_images(self.models, job, self.settings.drawings) if not state.done]
        drawn, computed = time.monotonic() - started, self._computed() - before
        turns = self._by_turn(job, states) if self.settings.group == "turn" else self._by_trajectory(job, states)
        versions = {one.prompt: one.version for one in job.prompts}
        return [
            replace(
                turn,
                started=versions[turn.prompt],
                seconds=replace(turn.seconds, draw=drawn),
                compute_seconds=replace(turn.compute_seconds, draw=computed.draw + computed.check),
            )
            for turn in turns
        ]

    def draw(self, job: Job) -> Drawn:
        """The first images of a job, which is `ahead`."""
        before = self._computed()
        states = first_images(self.models, job, self.settings.drawings)
        computed = self._computed() - before
        return Drawn(states, computed.draw + computed.check)

    def _by_turn(self, job: Job, states: list[State]) -> list[Turn]:
        rows: list[Turn] = []
        size = self.settings.group_size
        for turn in range(self.settings.turns):
            if not states:
                break
            everyone, going_on = [(k, i) for k in range(len(states)) for i in range(size)], []
            made = self._turn(job, turn, states, everyone, shared_answer=job.stage == "editor")
            for k, state in enumerate(states):
                members = made[k * size : (k + 1) * size]
                group = state.prompt * self.settings.turns + turn
                if job.stage == "editor" and members[0].reflection is None:  # nothing was edited or can be compared
                    rows += [replace(member, group=group, member=i, dropped=True) for i, member in enumerate(members)]
                    continue
                parsed = [i for i, m in enumerate(members) if m.image_after is not None and m.rejected is None]
                chosen = parsed[derive_seed(job.seed, "carry", state.prompt, turn) % len(parsed)] if parsed else -1
                after = _next(state, members[chosen]) if parsed else state
                judged = compared(members, [member.reward for member in members], *self._comparison)
                rows += [
                    replace(
                        member,
                        group=group,
                        member=i,
                        carried_on=i == chosen and after is not state,
                        advantage=advantage,
                        dropped=dropped,
                    )
                    for i, (member, advantage, dropped) in enumerate(judged)
                ]
                if parsed:
                    going_on.append(after)
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
            made = self._turn(job, turn, states, [(k, k % size) for k in open_ones], shared_answer=False)
            for k, row in zip(open_ones, made, strict=True):
                after = _next(states[k], row)
                carried_on = after is not states[k]
                rows[k].append(replace(row, group=states[k].prompt, member=k % size, carried_on=carried_on))
                states[k] = after
            open_ones = [
                k
                for k in open_ones
                if rows[k][-1].image_after is not None and rows[k][-1].rejected is None and not states[k].done
            ]
        firsts = [state for state in starts for _ in range(size)]
        sound = [k for k, row in enumerate(rows) if row[-1].image_after is not None and row[-1].rejected is None]
        worths = self.judge.episodes(sound, firsts, states, rows)
        for k, worth in worths.items():
            rows[k][-1] = replace(rows[k][-1], rejected=worth.rejected)
        finished = []
        for first in range(0, len(states), size):
            members = range(first, first + size)
            lasts = [rows[k][-1] for k in members]  # an answer that broke its episode off keeps its own reward
            rewards = [
                worths[k].reward - self._penalty(not last.truncated) if k in worths else last.reward
                for k, last in zip(members, lasts, strict=True)
            ]
            judged = compared(lasts, rewards, *self._comparison)
            for k, (_, advantage, dropped) in zip(members, judged, strict=True):
                finished += [replace(row, advantage=advantage, dropped=dropped) for row in rows[k]]
        return finished

    def _penalty(self, finished: bool) -> float:
        return 0.0 if finished else self.settings.truncated_penalty

    def _turn(
        self, job: Job, turn: int, states: list[State], members: list[tuple[int, int]], shared_answer: bool
    ) -> list[Turn]:
        """One turn of `members`: the index of each one's state in `states`, and its position in its group.
        Seeds depend on the prompt, the turn and the position, but not on the position where members share what the seed
        is for: with `shared_answer` the answer, while the Actor trains the noise of the edit."""
        began, before = time.monotonic(), self._computed()
        common_noise = job.stage == "actor" and self.settings.edit_noise == "shared"
        shared = {"answer": shared_answer, "edit": common_noise}
        seeds = {
            purpose: [
                derive_seed(job.seed, purpose, states[k].prompt, turn, 0 if shared[purpose] else i) for k, i in members
            ]
            for purpose in shared
        }
        starts = [k for k, _ in members]
        answers = self._answers(states, starts, seeds["answer"], shared_answer)
        reflected = time.monotonic()
        told = {m: answer.reflection.edit_prompt for m, answer in enumerate(answers) if answer.reflection is not None}
        parsed = list(told)
        edited_alike = [(id(states[starts[m]].image), told[m], seeds["edit"][m]) for m in parsed]
        firsts, places = without_repeats(edited_alike)
        asked = [parsed[first] for first in firsts]
        from_states, edit_seeds = [states[starts[m]] for m in asked], [seeds["edit"][m] for m in asked]
        edits = self.editing.edits(self.models, job.stage, from_states, [told[m] for m in asked], edit_seeds)
        edited = time.monotonic()
        checked = self.models.checker.satisfaction(
            [edit.image for edit in edits], [states[starts[m]].graph.requirements for m in asked]
        )
        seconds = TurnSeconds(reflect=reflected - began, edit=edited - reflected, check=time.monotonic() - edited)
        computed = self._computed() - before
        results = {m: (edits[place], checked[place]) for m, place in zip(parsed, places, strict=True)}
        stills, worths = self.judge.turns(states, starts, answers, results)
        images = (*(states[k].image for k in set(starts)), *(edit.image for edit in edits))
        pictures = {id(image): Picture(image) for image in images}  # one for all members that have the image
        given = [(states[k], stills[k], answers[m], results.get(m), worths.get(m)) for m, k in enumerate(starts)]
        rows = [
            self._row(job, turn, *one, pictures, actor_seed=seeds["answer"][m], edit_seed=seeds["edit"][m])
            for m, one in enumerate(given)
        ]
        rows = [replace(row, rejected=rejection(row, worths.get(m))) for m, row in enumerate(rows)]
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
        before: Worth,
        answer: ActorAnswer,
        result: Result | None,
        worth: Worth | None,
        pictures: Mapping[int, Picture],
        *,
        actor_seed: int,
        edit_seed: int,
    ) -> Turn:
        edit, after = result or (None, state.satisfaction)
        worth = worth or Worth(self.settings.unparsable_reward)
        record: dict[str, Any] = state.graph.record()
        return Turn(
            run=job.run,
            prompt=state.prompt,
            prompt_id=state.graph.img_id,
            scene_graph=record,
            stage=job.stage,
            started=-1,
            update=-1,
            group=-1,
            member=-1,
            turn=turn,
            carried_on=False,
            actor_version=answer.version,
            editor_version=-1 if edit is None else edit.version,
            image_before=pictures[id(state.image)],
            image_after=None if edit is None else pictures[id(edit.image)],
            request=state.request,
            reflection=None if answer.reflection is None else answer.reflection.reflection,
            edit_prompt=None if answer.reflection is None else answer.reflection.edit_prompt,
            answer_text=answer.text,
            token_ids=answer.token_ids,
            token_log_probs=answer.log_probs,
            requirements=[requirement.text for requirement in state.graph.requirements],
            satisfaction_before=state.satisfaction,
            satisfaction_after=after,
            reward_before=before.reward,
            reward=worth.reward - self._penalty(answer.finished),
            reward_parts=list(worth.parts) or None,
            unread=answer.reason,
            truncated=not answer.finished,
            flow=None if edit is None else edit.path,
            draw_seed=state.draw_seed,
            actor_seed=actor_seed,
            edit_seed=edit_seed,
        )


def _next(state: State, turn: Turn) -> State:
    """The state after a member's turn; the same one where that made nothing better, or nothing that can be used."""
    if turn.image_after is None or turn.rejected is not None:
        return state
    return state.after(turn.image_after.pixels, turn.satisfaction_after)
