"""The arms that are compared: which policies each one uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """`what` says what it is; `policies` names the trained policies that it uses: those of the training job `job`, for
    every seed."""

    name: str
    what: str
    kind: str = "loop"  # diffuser | best_of_n | random | loop
    job: str | None = None
    policies: tuple[str, ...] = ()


RAW = Arm("RL-RIG raw", "the loop before reinforcement learning")
ARMS = (
    Arm("Diffuser", "the first image, no edit", "diffuser"),
    Arm(
        "Best-of-N",
        "the Checker's choice of several first images, for at least the model seconds of RL-RIG raw",
        "best_of_n",
    ),
    Arm("Random edits", "the loop with valid edit prompts drawn at random in place of the Actor's", "random"),
    RAW,
    Arm(
        "Actor trained",
        "the loop with the trained Actor and the Inverse Diffuser as it was",
        job="stages",
        policies=("actor",),
    ),
    Arm(
        "Editor trained",
        "the loop with the trained Inverse Diffuser and the Actor as it was",
        job="editor",
        policies=("editor",),
    ),
    Arm("RL-RIG", "the loop with both trained, the Actor first", job="stages", policies=("actor", "editor")),
    Arm("RL-RIG, alternating", "the loop with both trained in turns", job="alternating", policies=("actor", "editor")),
)
