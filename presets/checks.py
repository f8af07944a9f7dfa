"""Settings that are fine one by one and cannot hold together."""

from __future__ import annotations

from collections.abc import Mapping

from presets.errors import BadInput
from presets.scoring.checks import impossible_rewards, own_scorers, scorer_cpus
from presets.settings import HUB_PREFIX, RunSettings
from presets.sharing.colocated import own_learners, uncolocatable
from presets.sharing.gpus import turns_that_cannot_be, unshareable_gpus
from presets.sharing.pipeline import unshareable_pipeline
from presets.truth.source import impossible_truth
from scenes.entry_point import is_entry_point
from scenes.vocabulary.vocabulary import FOUR_RELATIONS, vocabulary_of
from serving.config import VlmConfig

# What a checkpoint's prompts, group numbers and schedule follow from.
SETTLED = (
    "seed",
    "data",
    "rollout.turns",
    "rollout.prompts_per_update",
    "rollout.concurrency",
    "rollout.max_staleness",
    "rollout.dialogue",
    "rollout.dialogue_texts",
    "rollout.tell_unmet",
    "rollout.answer_form",
    "editor.sampler",
)
_TAKES_PATH = {"laion_sg": True, "shape_world": False}  # code of the user's own may take one


_OF_ENGINE = (
    "dtype", "max_model_len", "max_num_seqs", "kv_cache_gib", "image_cache_gib", "replicas", "max_replicas", "cpus",
    "gpus", "threads", "engine",
)  # fmt: skip


_GIVEN = {  # by a run, to the Actor's deployment
    "adapter_rank": "learner.actor.lora.rank",
    "answer_form": "rollout.answer_form",
    "base_system_prompt": "vlm.checker.system_prompt",
}


def refuse_adapters(config: RunSettings) -> None:
    """Refuse to train a policy whose replicas would start with another one's adapter.

    Raises:
        BadInput: `models.adapters` names one.
    """
    if config.models.adapters:
        raise BadInput(
            f"models.adapters: {dict(config.models.adapters)} is refused in training, which starts from whole models; "
            "leave it out, or name a folder in models.actor or models.editor that the adapter was added to"
        )


def shares_vlm(config: RunSettings) -> bool:
    """Whether the Actor's replicas are the Checker, too; see `vlm.share`."""
    vlm = config.vlm
    if vlm.share is not None:
        return vlm.share
    given = [name for name in _OF_ENGINE if name in vlm.checker.model_fields_set]
    return not _unshareable(config) and all(getattr(vlm.checker, name) == getattr(vlm.actor, name) for name in given)


def _unshareable(config: RunSettings) -> str | None:
    """Why the Actor's replicas cannot be the Checker, too."""
    vlm = config.vlm
    if vlm.actor.model != vlm.checker.model:
        return f"models.actor {vlm.actor.model!r} is not models.checker {vlm.checker.model!r}. Name one model"
    if config.learner.actor.lora is None or vlm.actor.adapter != "beside":
        return "the Actor has no adapter beside its weights. Set learner.actor.lora, and vlm.actor.adapter=beside"
    return None


def deployed_vlms(config: RunSettings) -> dict[str, VlmConfig]:
    """Settings of the VLMs that are deployed, by role, as the run file has them."""
    vlms = {"actor": config.vlm.actor}
    return vlms if shares_vlm(config) else {**vlms, "checker": config.vlm.checker}


def cpu_demand(config: RunSettings) -> dict[str, float]:
    """Logical CPUs by role. A learner exists only while its policy trains, so the largest one counts, unless all are
    kept."""
    learners = [learner.ranks * learner.cpus_per_rank for learner in own_learners(config).values()]
    together = sum if config.learner.keep else max
    return {
        "diffuser": 0.0 if config.diffuser.share else config.diffuser.workers * config.diffuser.cpus,
        "editor": config.editor.workers * config.editor.cpus,
        "env_runners": config.rollout.env_runners * config.rollout.env_runner_cpus,
        **scorer_cpus(config.rewards),
        **{
            f"vlm.{role}": vlm.replicas * sum(bundle["CPU"] for bundle in vlm.bundles)
            for role, vlm in deployed_vlms(config).items()
        },
        "learner": together(learners or [0.0]),
    }


def own_code(config: RunSettings) -> dict[str, str]:
    """The keys of a run file that name code of the user's own, with what they name."""
    given = {
        "data.source": config.data.source,
        "rollout.reward": config.rollout.reward,
        "rollout.checker": config.rollout.checker,
        "rollout.dialogue": config.rollout.dialogue,
        "diffuser.family": config.diffuser.family or "",
        "editor.family": config.editor.family or "",
        **own_scorers(config.rewards),
    }
    return {key: value for key, value in given.items() if is_entry_point(value)}


def _knows_relations_alone(config: RunSettings) -> bool:
    return vocabulary_of(config.data.source, config.rollout.dialogue) is FOUR_RELATIONS


def impossible_combinations(config: RunSettings) -> list[str]:
    """What cannot work in this configuration: each line names the key, its value and a way out."""
    problems = []
    low, high = config.data.relations
    if not 1 <= low <= high <= 5:
        problems.append(f"data.relations: {[low, high]} is refused: needs 1 <= least <= greatest <= 5")
    if config.data.source in _TAKES_PATH and _TAKES_PATH[config.data.source] != (config.data.path is not None):
        problems.append(
            f"data.path: {config.data.path!r} is refused with data.source {config.data.source}: laion_sg needs a path, "
            "shape_world takes none"
        )
    if set(config.data.requirements) != {"relations"} and _knows_relations_alone(config):
        problems.append(
            f"data.requirements: {list(config.data.requirements)} is refused with data.source {config.data.source} and "
            f"rollout.dialogue {config.rollout.dialogue!r}: models of the shape world know relations alone. Leave it "
            "out, or set rollout.dialogue=general and another data.source"
        )
    if (texts := config.rollout.dialogue_texts) is not None and config.rollout.dialogue != "general":
        problems.append(
            f"rollout.dialogue_texts: {sorted(texts.model_fields_set)} is refused with rollout.dialogue "
            f"{config.rollout.dialogue!r}: they are the words of the general dialogue. Leave them out, or set "
            "rollout.dialogue=general"
        )
    if not config.rollout.tell_unmet and is_entry_point(config.rollout.dialogue):
        problems.append(
            f"rollout.tell_unmet: False is refused with rollout.dialogue {config.rollout.dialogue!r}: code of your own "
            "says what it tells. Leave it out"
        )
    if config.evaluation.prompts > config.data.held_out_size:
        problems.append(
            f"evaluation.prompts: {config.evaluation.prompts} is refused: data.held_out_size holds only "
            f"{config.data.held_out_size} prompts"
        )
    last = config.editor.steps - 1
    start, stop = config.editor.sde_window or (0, last)
    if not 0 <= start < stop <= last:
        problems.append(
            f"editor.sde_window: {[start, stop]} is refused with editor.steps {config.editor.steps}: needs "
            f"0 <= start < stop <= {last}, as the last step is never stochastic"
        )
    if config.editor.sampler == "cps" and config.editor.eta > 1:
        problems.append(
            f"editor.eta: {config.editor.eta:g} is refused with editor.sampler cps: at 1 all noise is new. Lower it"
        )
    if config.editor.sde_window_every is not None and config.editor.sde_window is None:
        problems.append(
            f"editor.sde_window_every: {config.editor.sde_window_every} is refused without editor.sde_window: all "
            "steps but the last are stochastic, and no window can move. Set editor.sde_window, for example to [0, 1]"
        )
    if config.editor.shared_noise and config.learner.editor.algorithm == "nft":
        problems.append(
            "editor.shared_noise: True is refused with learner.editor.algorithm nft: the ODE would make all edits of a "
            "group alike. Leave it out, or set learner.editor.algorithm=flow_grpo"
        )
    if len(set(config.loggers)) < len(config.loggers):
        problems.append(f"loggers: {config.loggers} is refused: name each logger once")
    for role in ("diffuser", "editor"):
        call_s = getattr(config, role).call_deadline_s
        if call_s >= config.rollout.deadline_s:
            problems.append(
                f"{role}.call_deadline_s: {call_s:g} is refused with rollout.deadline_s {config.rollout.deadline_s:g}: "
                "an EnvRunner would be ended before it finds that a worker hangs. Lower it, or raise the other"
            )
    beside = config.learner.actor.lora is not None and config.vlm.actor.adapter == "beside"
    if beside and config.vlm.actor.gpus and config.vlm.actor.dtype == "float32":
        problems.append(
            "vlm.actor.dtype: 'float32' is refused with learner.actor.lora on GPUs: there vLLM holds adapters beside "
            "bfloat16 or float16 alone. Set vlm.actor.dtype=bfloat16, or vlm.actor.adapter=merged"
        )
    for role in ("actor", "checker"):
        for name, source in _GIVEN.items():
            if (value := getattr(getattr(config.vlm, role), name)) is not None:
                problems.append(f"vlm.{role}.{name}: {value!r} is refused: it follows from {source}. Set that instead")
    if config.vlm.share and (why := _unshareable(config)):
        problems.append(f"vlm.share: True is refused: {why}, or leave vlm.share out")
    problems += _unreachable(config) + _fixed_only(config) + turns_that_cannot_be(config)
    problems += unshareable_pipeline(config) + uncolocatable(config)
    problems += impossible_rewards(config.rewards, config.trained, config.rollout.deadline_s)
    problems += impossible_truth(config)
    problems += unshareable_gpus(config, set(deployed_vlms(config)))
    demand = cpu_demand(config)
    if config.ray.address is None and sum(demand.values()) > config.ray.num_cpus:
        roles = " + ".join(f"{role} {cpus:g}" for role, cpus in demand.items())
        problems.append(
            f"ray.num_cpus: {config.ray.num_cpus:g} is refused: the roles need {sum(demand.values()):g} ({roles}); "
            "workers would wait for ever. Raise it, or lower the workers or their cpus"
        )
    return problems


def _unreachable(config: RunSettings) -> list[str]:
    """Transports that need GPUs which the replicas do not have."""
    problems = []
    sync, gpus = config.sync, {"actor": config.vlm.actor.gpus, "editor": config.editor.gpus}
    for policy, key in (("actor", "vlm.actor.gpus"), ("editor", "editor.gpus")):
        transport = getattr(sync, policy)
        if transport in ("nccl", "ipc") and gpus[policy] == 0:
            problems.append(
                f"sync.{policy}: {transport!r} is refused with {key} 0: it moves weights between GPUs. Set {key}, or "
                f"sync.{policy}=object_store"
            )
    if sync.actor != "object_store" and config.learner.actor.lora is not None:
        problems.append(
            f"sync.actor: {sync.actor!r} is refused with learner.actor.lora: an adapter is small. Set "
            "sync.actor=object_store"
        )
    if sync.actor == "ipc" and gpus["actor"] > 1:
        problems.append(
            f"sync.actor: 'ipc' is refused with vlm.actor.gpus {gpus['actor']:g}: it shares memory of one GPU a "
            "replica. Set vlm.actor.gpus=1, or sync.actor=nccl"
        )
    return problems


def _fixed_only(config: RunSettings) -> list[str]:
    """Ranges of workers that are none, and those with a transport whose members are fixed."""
    rollout, vlm = config.rollout, config.vlm
    ranges = {
        "diffuser.max_workers": ("diffuser.workers", config.diffuser.workers, config.diffuser.max_workers),
        "editor.max_workers": ("editor.workers", config.editor.workers, config.editor.max_workers),
        "rollout.max_env_runners": ("rollout.env_runners", rollout.env_runners, rollout.max_env_runners),
        "vlm.actor.max_replicas": ("vlm.actor.replicas", vlm.actor.replicas, vlm.actor.max_replicas),
        "vlm.checker.max_replicas": ("vlm.checker.replicas", vlm.checker.replicas, vlm.checker.max_replicas),
    }
    problems = [
        f"{key}: {most} is refused with {least_key} {least}: it is the greatest number. Raise it, lower the other, or "
        "leave it out"
        for key, (least_key, least, most) in ranges.items()
        if most is not None and most < least
    ]
    for policy, key in (("actor", "vlm.actor.max_replicas"), ("editor", "editor.max_workers")):
        _, least, most = ranges[key]
        transport = getattr(config.sync, policy)
        if most is not None and most > least and transport != "object_store":
            problems.append(
                f"{key}: {most} is refused with sync.{policy} {transport!r}: the members of its group are fixed. Leave "
                f"it out, or set sync.{policy}=object_store"
            )
    return problems


def changed_on_resume(saved: RunSettings, asked: RunSettings) -> list[str]:
    """Keys of `SETTLED` that a run which goes on would change: each line names the key, both values and a way out."""
    problems = []
    for key in SETTLED:
        before, now = (config.value_of(key) for config in (saved, asked))
        if before != now:
            problems.append(
                f"{key}: {now!r} is refused with --resume: the run began with {before!r}, and its checkpoint follows "
                "from that. Leave it, or start a new run"
            )
    return problems


def contradictions(config: RunSettings, derived: Mapping[str, str]) -> list[str]:
    """Keys that say something else than the key that they follow from."""
    problems = []
    for key, source in derived.items():
        value, wanted = (config.value_of(name) for name in (key, source))
        if str(value) != str(wanted).removeprefix(HUB_PREFIX):
            problems.append(f"{key}: {value!r} is refused: it follows from {source}; set that instead")
    return problems
