"""What a run asks of Ray: which processes, how many, with which resources, on which nodes. Nothing is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from presets.checks import deployed_vlms
from presets.memory.devices import Device
from presets.memory.estimate import Estimate
from presets.memory.image_models import image_worker
from presets.memory.learners import editor_rank, learner_rank
from presets.memory.run_devices import run_devices
from presets.memory.sizes import Sizes
from presets.memory.switches import Switch, switches_of
from presets.memory.vlms import vlm_replica
from presets.planning.packing import Demand, Resources
from presets.sharing.colocated import is_colocated, own_learners

if TYPE_CHECKING:
    from presets.run_config import RunConfig

RunsAs = Literal["process", "Ray actor", "Serve replica"]


@dataclass(frozen=True)
class Role:
    """Processes that are alike.

    Attributes:
        count: how many; of Serve's replicas, each with a placement group of its own.
        bundle: what Ray sets aside for one process, or one bundle of a replica's placement group.
        bundles: bundles of the placement group (strategy PACK); 0 without one.
        required, preferred: labels of the nodes that it runs on.
        policy: of a learner's ranks, the policy: they exist only while it trains, unless they are `kept`.
        trains: the policy that processes train which are there all the time.
        keys: the keys of the run file that it follows from.
        estimate: memory of one process; None for those that hold no model.
        most: of a role that follows the backlog, how many there may be; `count` is the least, with which a run starts.
    """

    name: str
    runs_as: RunsAs
    count: int
    bundle: Resources
    bundles: int = 0
    required: Mapping[str, str] = field(default_factory=dict)
    preferred: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    keys: tuple[str, ...] = ()
    estimate: Estimate | None = None
    most: int | None = None
    kept: bool = False
    trains: str | None = None

    @property
    def numbers(self) -> str:
        """How many, as text: `2`, or `1–4`."""
        return str(self.count) if self.most in (None, self.count) else f"{self.count}–{self.most}"

    @property
    def full_grown(self) -> Role:
        """The same role with as many processes as there may be."""
        return replace(self, count=self.most or self.count)

    @property
    def gpus(self) -> float:
        """GPUs of one process."""
        return self.bundle.get("GPU", 0.0) * max(1, self.bundles)

    def total(self, resource: str) -> float:
        """Of all its processes."""
        return self.count * max(1, self.bundles) * self.bundle.get(resource, 0.0)

    @property
    def demand(self) -> Demand:
        """What nodes must hold."""
        return Demand(self.name, self.count, self.bundle, max(1, self.bundles), self.required)


@dataclass(frozen=True)
class Plan:
    """All roles of a run. Of the learners one is alive at a time, so that `moments` are what must fit.

    Attributes:
        devices: what each kind of GPU holds.
        sources: where the sizes of the models come from, by model.
        switches: what it costs, by policy that trains, that roles take turns on their GPUs.
    """

    roles: tuple[Role, ...]
    devices: tuple[Device, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()

    @property
    def moments(self) -> dict[str, tuple[Role, ...]]:
        """The roles that are there together, by the policy that trains meanwhile."""
        policies = [policy for role in self.roles if (policy := role.policy or role.trains)]
        return {
            policy: tuple(role for role in self.roles if role.kept or role.policy in (None, policy))
            for policy in policies
        }

    def total(self, resource: str) -> float:
        """The most that the roles of one moment hold together."""
        return max(sum(role.total(resource) for role in roles) for roles in self.moments.values())

    @property
    def full_grown(self) -> Plan:
        """The plan of the same run when each of its fleets is as large as it may become."""
        return replace(self, roles=tuple(role.full_grown for role in self.roles))

    @property
    def unknown(self) -> dict[str, tuple[str, ...]]:
        """What of the memory is not known, by role."""
        return {role.name: role.estimate.unknown for role in self.roles if role.estimate and role.estimate.unknown}


def make_plan(
    config: RunConfig, *, memory: bool = True, sizes: Sizes | None = None, gpu_gib: float | None = None
) -> Plan:
    """What a training run with this configuration asks of Ray.

    It follows the places where processes are made: `rollout.models` (image models), `rewards.fleet.fleets` (scorers),
    `serving.vlm_application` (a placement group for each replica), `learner.ranks` (ranks), RLlib (EnvRunners),
    `weights.transports` (senders of weights). Actors that hold no resource (Serve's controller, the board of weights)
    are left out.

    Args:
        memory: estimate memory too, for which the headers of the weights' files are read, here or on the hub.
        sizes: what has looked up sizes before; None: nothing has.
        gpu_gib: memory of a GPU; None: `needs.gpu_gib`.
    """
    sizes = (sizes or Sizes()) if memory else None
    gpu_gib = gpu_gib or config.needs.gpu_gib
    roles = (
        Role("driver", "process", 1, {}),
        Role(
            "EnvRunner",
            "Ray actor",
            config.rollout.env_runners,
            _resources(config.rollout.env_runner_cpus),
            keys=("rollout.env_runners", "rollout.env_runner_cpus"),
            most=config.rollout.most_env_runners,
        ),
        *_image_models(config, sizes),
        *_scorers(config),
        *_vlms(config, sizes, gpu_gib),
        *_learners(config, sizes),
        *_senders(config),
    )
    if sizes is None:
        return Plan(roles)
    devices = run_devices(config, sizes, gpu_gib)
    return Plan(roles, devices, sizes.sources, switches_of(config, devices))


def _image_models(config: RunConfig, sizes: Sizes | None) -> list[Role]:
    both = config.diffuser.share
    editor = "Diffuser and Inverse Diffuser" if both else "Inverse Diffuser"
    if is_colocated(config):
        editor = f"{'Diffuser, ' if both else ''}Inverse Diffuser and learner rank (editor)"
    models = (("Diffuser", "diffuser"), (editor, "editor"))
    return [
        Role(
            name,
            "Ray actor",
            getattr(config, section).workers,
            _resources(getattr(config, section).cpus, getattr(config, section).gpus),
            required=config.placement.required("image"),
            preferred=config.placement.preferred("image"),
            keys=_keys(section, "workers", "cpus", "gpus"),
            estimate=_image_model(config, section, sizes) if sizes else None,
            most=getattr(config, section).most_workers,
            trains="editor" if section == "editor" and is_colocated(config) else None,
        )
        for name, section in models
        if section == "editor" or not both
    ]


def _image_model(config: RunConfig, section: str, sizes: Sizes) -> Estimate:
    if section == "editor" and is_colocated(config):
        return max(editor_rank(config, sizes).values(), key=lambda phase: phase.known)
    return image_worker(config, section, sizes)


def _scorers(config: RunConfig) -> list[Role]:
    return [
        Role(
            f"scorer ({entry.title})",
            "Ray actor",
            entry.fleet.workers,
            _resources(entry.fleet.cpus, entry.fleet.gpus),
            required=config.placement.required("image"),
            preferred=config.placement.preferred("image"),
            keys=_keys(f"rewards.{place}.fleet", "workers", "cpus", "gpus"),
        )
        for place, entry in enumerate(config.rewards)
        if entry.fleet is not None
    ]


def _vlms(config: RunConfig, sizes: Sizes | None, gpu_gib: float | None) -> list[Role]:
    deployed = deployed_vlms(config)
    names = ["VLM Actor", "VLM Checker"] if len(deployed) == 2 else ["VLM Actor and Checker"]
    return [
        Role(
            name,
            "Serve replica",
            settings.replicas,
            _resources(settings.bundles[0]["CPU"], settings.bundles[0].get("GPU", 0)),
            bundles=len(settings.bundles),
            required=config.placement.required("vlm"),
            preferred=config.placement.preferred("vlm"),
            keys=_keys(f"vlm.{role}", "replicas", "cpus", "gpus"),
            estimate=vlm_replica(settings, sizes, gpu_gib) if sizes else None,
            most=settings.most_replicas,
        )
        for name, (role, settings) in zip(names, deployed.items(), strict=True)
    ]


def _learners(config: RunConfig, sizes: Sizes | None) -> list[Role]:
    roles = []
    for policy, learner in own_learners(config).items():
        roles.append(
            Role(
                f"learner rank ({policy})",
                "Ray actor",
                learner.ranks,
                _resources(learner.cpus_per_rank, learner.gpus_per_rank),
                required=config.placement.required("learner"),
                preferred=config.placement.preferred("learner"),
                policy=policy,
                kept=config.learner.keep,
                keys=_keys(f"learner.{policy}", "ranks", "cpus_per_rank"),
                estimate=learner_rank(config, policy, sizes) if sizes else None,
            )
        )
    return roles


def _senders(config: RunConfig) -> list[Role]:
    """Processes that push weights; only with `nccl` do they hold a part of a GPU."""
    sync = config.sync
    return [
        Role(
            f"weight sender ({policy})",
            "Ray actor",
            1,
            _resources(0, sync.sender_gpus if transport == "nccl" else 0),
            keys=_keys("sync", policy, "sender_gpus"),
        )
        for policy, transport in (("actor", sync.actor), ("editor", sync.editor))
        if transport != "object_store"
    ]


def _keys(section: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names)


def _resources(cpus: float, gpus: float = 0) -> dict[str, float]:
    return {name: float(amount) for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}
