"""What a Tune trial sets aside for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.tune import PlacementGroupFactory

from presets.sharing.colocated import own_learners

if TYPE_CHECKING:
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    from presets.run_config import RunConfig


def trial_bundles(settings: AlgorithmConfig, run: RunConfig) -> PlacementGroupFactory:
    """Driver, EnvRunners (RLlib counts them from bundle 1), image models, scorers, learner, senders of weights.

    Serve places its replicas itself, outside of the trial.
    """
    learners = list(own_learners(run).values())
    kept = learners
    if learners and not run.learner.keep:
        kept = [max(learners, key=lambda each: (each.ranks * each.gpus_per_rank, each.ranks * each.cpus_per_rank))]
    bundles = [
        {"CPU": settings.num_cpus_for_main_process},
        *[{"CPU": run.rollout.env_runner_cpus}] * run.rollout.env_runners,
        *[{"CPU": run.diffuser.cpus, "GPU": run.diffuser.gpus}] * (0 if run.diffuser.share else run.diffuser.workers),
        *[{"CPU": run.editor.cpus, "GPU": run.editor.gpus}] * run.editor.workers,
        *[
            {"CPU": fleet.cpus, "GPU": fleet.gpus}
            for fleet in (entry.fleet for entry in run.rewards)
            if fleet is not None
            for _ in range(fleet.workers)
        ],
        *[{"CPU": each.cpus_per_rank, "GPU": each.gpus_per_rank} for each in kept for _ in range(each.ranks)],
        *[{"GPU": run.sync.sender_gpus}] * [run.sync.actor, run.sync.editor].count("nccl"),
    ]
    return PlacementGroupFactory(bundles, strategy=settings.placement_strategy)
