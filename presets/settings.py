"""The sections of a run file and their keys, each right or wrong by itself. Imports no engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from learner.advantages import AdvantageScale
from learner.config import EditorLearnerConfig, LearnerConfig
from presets.data import DataConfig
from presets.elastic import ElasticConfig
from presets.images import DiffuserConfig, EditorConfig
from presets.keep import KeepConfig
from presets.placement import PlacementConfig
from presets.schedule import Schedule, Stage, StageConfig
from presets.scoring.scorers import ScorerConfig
from scenes.dialogues.texts import Texts
from scenes.section import OrOwn, Section
from serving.answers.form import AnswerForm
from serving.config import VlmConfig
from weights.transports.sync_config import SyncConfig

Logger = Literal["tensorboard", "mlflow", "wandb"]
HUB_PREFIX = "hf://"


class ModelsConfig(Section):
    """Model folders, relative to the run file or to the repository; `hf://owner/name` names one on the hub."""

    flux: str
    """Pipeline that draws, any text-to-image pipeline of diffusers: the Diffuser, and the editor that training starts
    from where it edits, too, as FLUX-Kontext and FLUX.2 klein do."""
    checker: str
    """VLM that judges each requirement."""
    actor: str
    """VLM that training starts from and that writes edit prompts."""
    editor: str | None = None
    """Pipeline of the editor where it is another one than `flux`: FLUX-Kontext, for example a trained one, FLUX.2
    klein, or Qwen-Image-Edit (2509 and 2511, too)."""

    adapters: dict[Literal["actor", "editor"], str] = Field(default_factory=dict)
    """Trained adapters that lie beside `actor` and the editor's pipeline: folders `lora` of a run's `models`. `--run`
    sets them; training starts from none."""

    @property
    def edits_with(self) -> str:
        """The pipeline that the editor starts from."""
        return self.editor or self.flux


class RolloutConfig(Section):
    """How episodes are collected."""

    turns: int = Field(2, ge=1)
    """Edits in an episode, at most; it ends before if every requirement holds."""
    prompts_per_update: int = Field(8, ge=1)
    """Prompts that an update learns from: those with a group whose rewards differ."""
    group_size: int = Field(8, ge=2)
    """Members of a group, whose rewards are compared with each other."""
    group: Literal["turn", "trajectory"] = "turn"
    """What starts from the same state: every turn, one member being carried on, or whole episodes."""
    drawings: int = Field(1, ge=1)
    """First images at most, of which the Checker's choice goes on; no more are drawn once one meets every requirement.
    With more of them, fewer `diffuser.steps` may do."""
    draw_ahead: bool = False
    """Draw and check first images before their prompts are sampled, also while the learner works: prompts whose images
    meet every requirement then leave no gap in a job. What is learned from stays the same."""
    env_runners: int = Field(1, ge=1)
    """RLlib EnvRunners that collect at the same time, or the least number where `max_env_runners` says more."""
    max_env_runners: int | None = Field(None, ge=1)
    """EnvRunners that the backlog may bring about, see `elastic`; null: always `env_runners`."""
    env_runner_cpus: float = Field(0.1, ge=0)
    """Logical CPUs that Ray sets aside for each EnvRunner, which mostly waits for the models."""
    reward: Annotated[str, OrOwn(("hard", "soft"))] = "soft"
    """What the scorer `checker` of `rewards` makes of the Checker's yes-probabilities: their mean over requirements as
    they are (soft), or cut at ½ (hard); or a function of yours, `module:name`, see docs/extending/reward.md."""
    reward_of: Literal["edited", "kept"] = "edited"
    """Image that a turn's reward is of: the edit's, or the one that goes on, which is the image before where the edit
    made nothing better. With `group: trajectory` advantages always come from what goes on."""
    checker: Annotated[str, OrOwn(("vlm",))] = "vlm"
    """What judges requirements: the VLM of `models.checker`; or a function of yours, `module:name`, which may ask that
    VLM, too, see docs/extending/checker.md."""
    dialogue: Annotated[str, OrOwn(("shapes", "general"))] = "shapes"
    """Words between the loop and its VLMs: shapes, the small models' own language; general, plain English for a VLM
    that was not made for this loop; or a class of yours, `module:name`, as `scenes.dialogues.dialogue.Dialogue`. With
    shapes, users may ask for four relations; with others, and data beyond the shape world, for any."""
    dialogue_texts: Texts | None = None
    """Other words for the general dialogue; null: its own. `vlm.actor.system_prompt` replaces its system prompt."""
    tell_unmet: bool = True
    """Tell the Actor which requirements the Checker found unmet. Otherwise it has to see for itself, which an Actor
    that was made with the list must learn. A dialogue of yours says what it tells."""
    least_mass: float = Field(0.05, ge=0, le=1)
    """Least probability of yes and no together in the Checker's answer; below it a requirement counts as unmet, and the
    question as unanswered."""
    sampling_temperature: float = Field(1.0, gt=0)
    """Temperature of the Actor's answers while training."""
    edit_noise: Literal["shared", "own"] = "shared"
    """Noise that the edits of a group start from while the Actor trains: the same for all members, so that an advantage
    is the answer's alone and equal edits are made once, or each one's own."""
    max_answer_tokens: int = Field(48, ge=1)
    """Longest answer of the Actor, in tokens."""
    answer_form: AnswerForm | None = None
    """Form that the Actor's answers must have; null: any, which is as the Actor would answer by itself. The
    log-probabilities are those of what the form allows, in rollout and learner alike."""
    unparsable_reward: float = Field(0.0, le=0)
    """Reward of an answer that cannot be parsed. At 0 it costs nothing where no other member meets a requirement."""
    truncated_penalty: float = Field(0.0, ge=0)
    """Is taken from the reward of an answer that `max_answer_tokens` cut off."""
    learn_truncated: bool = True
    """Whether the Actor learns from answers that were cut off. They count in their groups either way."""
    least_spread: float = Field(0.0, ge=0)
    """Standard deviation of the rewards below which a group counts as equal. The Checker's probabilities differ a
    little even where nothing changed."""
    advantage_scale: AdvantageScale = "group"
    """Divide a member's distance from its group's mean by the standard deviation of its group's rewards, by that of all
    distances of the update (which the learner then waits for), or by nothing."""
    drop_equal_groups: bool = True
    """Leave out equal groups, and take other prompts in the place of those that have no other group."""
    max_tries: int = Field(10, ge=1)
    """Prompts without a signal that one update may cost, as a multiple of `prompts_per_update`; then the run ends."""
    max_staleness: int = Field(0, ge=0)
    """Greatest age, in updates, of what an update learns from; 0 is exactly on-policy, with more rollouts go on while
    the learner works."""
    concurrency: int | None = Field(None, ge=1)
    """Prompts that are sampled at the same time; null: `prompts_per_update`."""
    max_attempts: int = Field(3, ge=1)
    """Times that a prompt is sampled again after an error; then the run ends."""
    restart_s: float = Field(120.0, gt=0)
    """Seconds that a worker which died, or was ended because it hung, may take to be back. In a fleet with more than
    `workers` allowed the others go on without it meanwhile, and one that is not back by then is given up."""
    max_rejected: float = Field(0.2, ge=0, le=1)
    """Share of an update's members that may be rejected for values that are not finite or images that are black."""
    deadline_s: float = Field(300.0, gt=0)
    """Seconds that sampling a prompt may take; then its EnvRunner is ended."""

    @property
    def most_env_runners(self) -> int:
        """EnvRunners at most."""
        return self.env_runners if self.max_env_runners is None else self.max_env_runners


class VlmsConfig(Section):
    """The VLMs that vLLM serves."""

    actor: VlmConfig
    """The Actor's deployment."""
    checker: VlmConfig
    """The Checker's deployment."""
    share: bool | None = None
    """Let the Actor's replicas be the Checker, too, which they are without the adapter: half the memory. null: where
    that is possible and what is written of `vlm.checker` is as in `vlm.actor`."""


class LearnersConfig(Section):
    """The DeepSpeed learners."""

    actor: LearnerConfig = LearnerConfig()
    """How the Actor is trained."""
    editor: EditorLearnerConfig = EditorLearnerConfig(clip_low=1e-3, clip_high=1e-3)
    """How the editor is trained. Its clip range is small because its log-probability is a mean over dimensions."""
    keep: bool = False
    """Keep a policy's learner while the other one trains, if it has another turn: a switch then starts nothing, and
    both are in memory, on CPUs and GPUs of their own. Otherwise one learner is there at a time."""

    @model_validator(mode="before")
    @classmethod
    def _editor_clips_closer(cls, values: Any) -> Any:
        editor = values.get("editor") if isinstance(values, dict) else None
        return (
            {**values, "editor": {"clip_low": 1e-3, "clip_high": 1e-3} | editor} if isinstance(editor, dict) else values
        )


class EvaluationConfig(Section):
    """Held-out evaluation, before and after training."""

    prompts: int = Field(64, ge=0)
    """Held-out prompts; 0 leaves the evaluations out."""
    every: int = Field(0, ge=0)
    """Updates between evaluations during training; 0 evaluates only at start and end."""


class CheckpointConfig(Section):
    """Checkpoints, from which `--resume` goes on."""

    every: int = Field(5, ge=0)
    """Updates between checkpoints; 0 writes one at the end only."""
    keep: int = Field(2, ge=1)
    """Checkpoints that are kept."""


class PortsConfig(Section):
    """Ports that the run listens on."""

    dashboard: int = Field(8265, ge=1024, le=65535)
    """Ray dashboard, where it is on."""


class RayConfig(Section):
    """Where the run takes place."""

    address: str | None = None
    """Address of a running cluster; null starts Ray on this machine for the run."""
    num_cpus: float = Field(8.0, gt=0)
    """Logical CPUs that Ray shares out when it is started here; more than there are cores makes roles share cores."""
    object_store_gib: float = Field(1.0, ge=0.1)
    """Shared memory for Ray's object store, when it is started here."""
    preload: bool = True
    """Fork the workers from one process that has imported for all of them, where Ray is started here and the machine
    has no GPU. A worker then takes less than a second to start."""
    dashboard: bool = False
    """Start the Ray dashboard."""
    fetch_s: float = Field(3600.0, gt=0)
    """Seconds within which each node has the hub's models that its roles read; a run begins once all have them."""
    ports: PortsConfig = PortsConfig()
    """Ports that the run listens on."""


class NeedsConfig(Section):
    """What `rlrig doctor` asks of the machine."""

    cores: int = Field(2, ge=1)
    """Processor cores."""
    memory_gib: float = Field(14.0, gt=0)
    """Free memory."""
    disk_gib: float = Field(2.0, gt=0)
    """Free disk space for the run's folder."""
    gpus: int = Field(0, ge=0)
    """GPUs."""
    gpu_gib: float | None = Field(None, gt=0)
    """Memory of each GPU, in GiB. A run whose roles cannot fit is refused before anything starts. null: what the
    label `rlrig-gpu-gib` of the cluster's nodes or this machine's own GPU says; without these, it is not checked."""


class RunSettings(Section):
    """Everything that a run is told; whether it can hold together is `RunConfig`'s to say."""

    seed: int = Field(0, ge=0)
    """Every random choice of the run follows from it."""
    stages: list[StageConfig] = Field(min_length=1)
    """What trains, in order."""
    models: ModelsConfig
    """The models that the run starts from."""
    data: DataConfig = DataConfig()
    """The scene graphs that are asked for."""
    rollout: RolloutConfig = RolloutConfig()
    """How episodes are collected."""
    rewards: list[ScorerConfig] = Field(default_factory=lambda: [ScorerConfig()], min_length=1)
    """What a turn is worth: the weighted sum of these scorers' values. The one default entry is `checker`."""
    diffuser: DiffuserConfig = DiffuserConfig()
    """The frozen text-to-image workers."""
    editor: EditorConfig = EditorConfig()
    """The Inverse Diffuser workers."""
    vlm: VlmsConfig
    """The VLMs that vLLM serves."""
    elastic: ElasticConfig = ElasticConfig()
    """How fleets that have a range of sizes follow the backlog."""
    sync: SyncConfig = SyncConfig()
    """How new weights come to the replicas of a policy."""
    learner: LearnersConfig = LearnersConfig()
    """The DeepSpeed learners."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Held-out evaluation, before and after training."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints, from which `--resume` goes on."""
    keep: KeepConfig = KeepConfig()
    """What of the turns' pictures stays in the run's folder."""
    loggers: list[Logger] = Field(default_factory=list)
    """Ray Tune's loggers that get every update and evaluation, each in `loggers/NAME` of the run's folder:
    `tensorboard`, `mlflow` (an SQLite file) and `wandb` (offline, unless WANDB_MODE says otherwise). The packages of
    the last two come with `pip install mlflow`, `pip install wandb`. A logger that fails loses no run."""
    ray: RayConfig = RayConfig()
    """Where the run takes place."""
    placement: PlacementConfig = PlacementConfig()
    """On which nodes the roles run."""
    needs: NeedsConfig = NeedsConfig()
    """What `rlrig doctor` asks of the machine."""

    @property
    def schedule(self) -> Schedule:
        """The policy that each update trains."""
        return Schedule(self.stages)

    @property
    def trained(self) -> set[Stage]:
        """The policies that train in some update."""
        return self.schedule.policies

    @property
    def gpu_learner(self) -> bool:
        """Whether a policy trains on GPUs."""
        return any(getattr(self.learner, policy).gpus_per_rank for policy in self.trained)

    @property
    def total_updates(self) -> int:
        """Weight updates of all stages."""
        return len(self.schedule)
