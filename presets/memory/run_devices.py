"""The devices of a run file: what its roles hold, which share a GPU, and why a run could not start on such GPUs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from presets.checks import deployed_vlms
from presets.errors import BadInput
from presets.memory.devices import Device, Phase, Resident, arrange, largest_terms
from presets.memory.estimate import Estimate, gib
from presets.memory.image_models import SOURCE_SIZE, image_worker
from presets.memory.learners import editor_rank, learner_rank
from presets.memory.sizes import Sizes
from presets.memory.vlms import vlm_replica
from presets.sharing.colocated import is_colocated, own_learners

if TYPE_CHECKING:
    from presets.images import PipelineConfig
    from presets.run_config import RunConfig
    from serving.config import VlmConfig

Change = tuple[str, Any]
_LORA: dict[str, str | tuple[str, ...]] = {
    "actor": r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
    "editor": ("to_q", "to_k", "to_v", "to_out.0"),
}
_ALTERNATIVES = 3
_ONE_PROCESS = tuple(f"learner.editor.{name}" for name in ("zero_stage", "ranks", "dtype"))
"""Settings of a learner that cannot change alone where its ranks are workers, too."""
_SOURCE_STEP = 16  # pixels of a token's side, of which `editor.source_size` is a multiple


def run_devices(config: RunConfig, sizes: Sizes, gpu_gib: float | None = None) -> tuple[Device, ...]:
    """The devices of a run, see `arrange`. With `rollout.max_staleness` above 0 rollouts go on while a learner works,
    and so does what they need."""
    phases: tuple[Phase, ...] = ("rollout", "update") if config.rollout.max_staleness else ("rollout",)

    def while_sampling(role: str, processes: int, settings: PipelineConfig | VlmConfig, estimate: Estimate) -> Resident:
        works = dict.fromkeys(phases, estimate)
        return Resident(role, processes, settings.gpus, works, sleeps=settings.offload == "cpu")

    residents = [
        while_sampling(role, section.workers, section, image_worker(config, role, sizes))
        for role, section in (("diffuser", config.diffuser), ("editor", config.editor))
        if section.gpus and not (role == "editor" and is_colocated(config))
    ]
    if is_colocated(config) and config.editor.gpus:
        both = editor_rank(config, sizes)
        residents.append(Resident("editor", config.editor.workers, config.editor.gpus, both, trains="editor"))
    residents += [
        while_sampling(role, vlm.replicas, vlm, vlm_replica(vlm, sizes, gpu_gib))
        for role, vlm in deployed_vlms(config).items()
        if vlm.gpus
    ]
    for policy, learner in own_learners(config).items():
        if learner.gpus_per_rank:
            works: dict[Phase, Estimate] = {"update": learner_rank(config, policy, sizes)}
            its = None if config.learner.keep else policy
            sleeps = learner.offload == "cpu"
            role = f"learner.{policy}"
            residents.append(Resident(role, learner.ranks, learner.gpus_per_rank, works, sleeps=sleeps, policy=its))
    return arrange(residents, config.placement.share, gpu_gib)


def too_large(
    config: RunConfig,
    sizes: Sizes,
    gpu_gib: float,
    devices: Callable[[RunConfig, Sizes, float], tuple[Device, ...]] = run_devices,
) -> tuple[str, ...]:
    """A line for each kind of device on which the run cannot fit, with the settings that would make it fit.

    Args:
        devices: makes the devices of a changed configuration.
    """
    return tuple(
        _line(config, sizes, gpu_gib, device, devices)
        for device in devices(config, sizes, gpu_gib)
        if device.too_much > 0
    )


def check_memory(config: RunConfig, gpu_gib: Callable[[], float | None]) -> None:
    """Look whether the roles of a run fit on their GPUs, where the memory of these is known: `needs.gpu_gib`, else what
    `gpu_gib` says. It does nothing without roles on GPUs, and refuses nothing whose size is not known.

    Raises:
        BadInput: they do not; the message has a line for each kind of GPU, with what would make it fit.
    """
    gpus = (config.diffuser.gpus, config.editor.gpus, *(vlm.gpus for vlm in deployed_vlms(config).values()))
    if not (any(gpus) or config.gpu_learner):
        return
    gib = config.needs.gpu_gib or gpu_gib()
    if gib is not None and (problems := too_large(config, Sizes(), gib)):
        raise BadInput("\n  ".join([f"GPUs of {gib:.4g} GiB could not hold this run:", *problems]))


def _line(config: RunConfig, sizes: Sizes, gpu_gib: float, device: Device, devices: Callable[..., Any]) -> str:
    def needs(changes: Sequence[Change]) -> float:
        """Bytes that the device needs then, as far as they are known."""
        changed = reduce(lambda so_far, change: _with(so_far, *change), changes, config)
        there = (one.peak.nbytes for one in devices(changed, sizes, gpu_gib) if one.name == device.name)
        return float(next(there, math.inf))

    room = gpu_gib * 2**30
    each = [change for resident in device.holds for change in _changes(config, resident.role, gpu_gib)]
    fitting: dict[str, tuple[Change, float]] = {}
    for change in each:
        if change[0] not in fitting and (found := needs([change])) <= room:
            fitting[change[0]] = (change, found)
    peak = device.peak
    what = "; ".join(f"{role} {term.part} {term}" for role, term in largest_terms(device))
    text = f"{device.name}: {gib(peak.nbytes)} in the {peak.phase} are more than a GPU's {gpu_gib:g} GiB ({what}). "
    if fitting:
        told = [f"{_setting(change)} ({gib(found)})" for change, found in list(fitting.values())[:_ALTERNATIVES]]
        return f"{text}Set {', or '.join(told)}"
    together: list[Change] = []
    least = peak.nbytes
    for change in each:
        tried = [*(one for one in together if one[0] != change[0]), change]
        if (found := needs(tried)) < least:
            together, least = tried, found
        if least <= room:
            return f"{text}Set {', '.join(map(_setting, together))} ({gib(least)})"
    return f"{text}No setting makes it fit: take a smaller model, or GPUs with more memory (needs.gpu_gib)"


def _changes(config: RunConfig, role: str, gpu_gib: float) -> Iterator[Change]:
    """Settings that make a role smaller, those that cost least first. Roles that share a GPU may also take turns."""
    section, _, policy = role.partition(".")
    shared = {one for group in config.placement.share for one in group}
    key = f"vlm.{role}" if role in ("actor", "checker") else role
    learns = role == "editor" and is_colocated(config)
    by_turns = role in shared and not config.rollout.max_staleness and not learns
    if by_turns and not (section == "learner" and getattr(config.learner, policy).zero_stage == 3):
        yield f"{key}.offload", "cpu"
    images = {"diffuser": "diffuser", "editor": "editor", "learner.editor": "editor"}.get(role)
    if images is not None and getattr(config, images).text_offload == "none":
        yield f"{images}.text_offload", "cpu"
    if section == "learner":
        yield from _of_learner(config, policy)
    elif learns:
        yield from (change for change in _of_learner(config, "editor") if change[0] not in _ONE_PROCESS)
    elif section in ("diffuser", "editor"):
        settings = getattr(config, section)
        if settings.dtype == "float32":
            yield f"{section}.dtype", "bfloat16"
        side = config.diffuser.size.side_of_square(_SOURCE_STEP)
        if section == "editor" and (settings.source_size or max(SOURCE_SIZE.values())) > side:
            yield "editor.source_size", side
    else:
        vlm = getattr(config.vlm, role)
        if vlm.dtype == "float32":
            yield f"vlm.{role}.dtype", "bfloat16"
        cache = vlm.kv_cache_gib
        while cache is None or cache > 1.0:
            cache = 16.0 if cache is None else cache / 2
            yield f"vlm.{role}.kv_cache_gib", cache
        for gpus in (2, 4, 8) if role not in shared else ():
            if gpus > vlm.gpus:
                yield f"vlm.{role}.gpus", gpus


def _of_learner(config: RunConfig, policy: str) -> Iterator[Change]:
    learner, key = getattr(config.learner, policy), f"learner.{policy}"
    if not learner.gradient_checkpointing:
        yield f"{key}.gradient_checkpointing", True
    micro = learner.micro_batch
    while micro > 1:
        micro //= 2
        yield f"{key}.micro_batch", micro
    if learner.zero_stage < 3 and (learner.ranks > 1 or learner.dtype == "bfloat16"):
        yield f"{key}.zero_stage", 3
    if learner.zero_stage >= 1:
        yield from ((f"{key}.ranks", learner.ranks * more) for more in (2, 4))
    if learner.dtype == "float32" and learner.zero_stage >= 2:
        yield f"{key}.dtype", "bfloat16"
    if learner.lora is None:
        from weights.lora_config import LoraConfig

        yield f"{key}.lora", LoraConfig(target_modules=_LORA[policy])


def _with(config: RunConfig, key: str, value: Any) -> RunConfig:
    """A copy with one setting changed, which is not checked."""

    def changed(section: Any, names: Sequence[str]) -> Any:
        name, *rest = names
        return section.model_copy(update={name: changed(getattr(section, name), rest) if rest else value})

    found: RunConfig = changed(config, key.split("."))
    return found


def _setting(change: Change) -> str:
    key, value = change
    if hasattr(value, "target_modules"):
        modules = value.target_modules
        told = modules if isinstance(modules, str) else f"[{', '.join(modules)}]"
        return f"{key}={{target_modules: {told}}}"
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"
