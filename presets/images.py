"""The image models of a run: how the Diffuser's and the Inverse Diffuser's pipelines are called, and by how many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from actors.flow_path import FlowOde, FlowSde, Sampler
from learner.config import NumberFormat
from scenes.pictures.size import PictureSize
from scenes.section import OrOwn, Pair, Section


class PipelineConfig(Section):
    """How a diffusers pipeline is called. The learner of the editor calls it in the same way."""

    guidance: float = Field(1.0, ge=1)
    """How closely an image keeps to its prompt: what FLUX.1 [dev] is told; with others the scale of classifier-free
    guidance, whose second forward pass 1 leaves out. Nothing to models that know no guidance, as distilled ones."""
    max_prompt_tokens: int = Field(32, ge=1)
    """Prompts are cut to so many tokens of the text encoder, where the pipeline has such a limit."""
    dtype: NumberFormat = "float32"
    """Number format of the workers' pipeline."""
    call_deadline_s: float = Field(60.0, gt=0)
    """Seconds that a worker may take for 16 images; a longer batch may take so many times that. A worker that misses
    it counts as hung and is started again. Less than `rollout.deadline_s`, so that sampling outlives it."""
    family: Annotated[str, OrOwn()] | None = None
    """Class of yours that loads and calls the model, `module:name`, see docs/extending; null: the code for the pipeline
    class that the model folder names."""
    workers: int = Field(1, ge=1)
    """Ray actors, or the least number of them where `max_workers` says more."""
    max_workers: int | None = Field(None, ge=1)
    """Ray actors that the backlog may bring about, see `elastic`; null: always `workers`."""
    cpus: float = Field(1.0, ge=0)
    """Logical CPUs that Ray sets aside for each worker."""
    gpus: float = Field(0.0, ge=0, le=1)
    """The part of a GPU that Ray sets aside for each worker; 0 runs it on the CPU. Ray counts, it limits no memory:
    workers that share a GPU must fit on it together. `placement.share` sets it for roles that share."""
    offload: Literal["none", "cpu"] = "none"
    """Where a worker's model is while the learner works: on its GPU, or in CPU memory (`cpu`), so that roles on the
    same GPU fit there by turns."""
    text_offload: Literal["none", "cpu"] = "none"
    """Where the pipeline's text encoders are but for when they encode: on its GPU, or in CPU memory (`cpu`). They then
    come for prompts that they have not seen lately and leave before the first denoising step. `editor.text_offload`
    holds for the ranks of its learner, too."""
    start_deadline_s: float = Field(300.0, gt=0)
    """Seconds from starting the workers until every one of them must have loaded."""

    @property
    def most_workers(self) -> int:
        """Workers at most."""
        return self.workers if self.max_workers is None else self.max_workers

    @property
    def device(self) -> str:
        """torch device of each worker, which sees only the GPU that Ray sets aside for it."""
        return "cuda" if self.gpus else "cpu"

    @property
    def model_settings(self) -> dict[str, Any]:
        """What the workers' pipeline and that of the learner have in common."""
        settings: dict[str, Any] = {
            "guidance_scale": self.guidance,
            "max_sequence_length": self.max_prompt_tokens,
        }
        if self.family is not None:
            settings["family"] = self.family
        if self.text_offload != "none":
            settings["text_offload"] = self.text_offload
        return settings

    def worker_arguments(self, path: str, size: PictureSize) -> dict[str, Any]:
        """What a worker that makes images of this size is made with, but for its steps."""
        return {
            "path": path,
            "image_size": size.plain,
            "device": self.device,
            "dtype": self.dtype,
            **self.model_settings,
        }


class DiffuserConfig(PipelineConfig):
    """The frozen text-to-image workers."""

    share: bool = False
    """Let the Inverse Diffuser's workers draw, too, without the adapter that is trained: half the memory. How the
    pipeline is called is then said by `editor`, but for steps and size."""
    steps: int = Field(8, ge=1)
    """Denoising steps."""
    image_size: int = Field(64, ge=16, multiple_of=8)
    """Height and width of every image, in pixels, where `height` and `width` say nothing else."""
    width: int | None = Field(None, ge=16, multiple_of=8)
    """Width of every image, in pixels; null: `image_size`. A model may need multiples of 16."""
    height: int | None = Field(None, ge=16, multiple_of=8)
    """Height of every image, in pixels; null: `image_size`. A model may need multiples of 16."""

    @property
    def size(self) -> PictureSize:
        """Of every image."""
        return PictureSize(self.width or self.image_size, self.height or self.image_size)


class EditorConfig(PipelineConfig):
    """The Inverse Diffuser workers."""

    steps: int = Field(8, ge=2)
    """Denoising steps."""
    colocated: bool = False
    """Let each worker be a rank of the editor's learner, too, with one copy of the model: the adapter that trains is
    the one that samples, and no weights are sent. `learner.editor.ranks`, `cpus_per_rank` and `gpus_per_rank` then
    follow from `editor.workers`, `cpus` and `gpus`. Nobody samples while a learner works, so `rollout.max_staleness`
    must be 0. Without a stage that trains the editor it does nothing."""
    source_size: int | None = Field(None, ge=16)
    """Height and width, in pixels, at which Qwen-Image-Edit (2509 and 2511, too) sees the image that it edits, or
    null: 1024, as its pipeline has it. An image that is no square is seen with its own ratio and about as many pixels
    as such a square has. Others see it at the images' own size."""
    evaluation_steps: int | None = Field(None, ge=2)
    """Denoising steps where nothing is trained on the edits, in evaluations and by `rlrig generate`; null: `steps`."""
    eta: float = Field(0.7, gt=0)
    """Noise level of the SDE sampler that training samples with."""
    sampler: Sampler = "sde"
    """How a stochastic step is taken: Flow-GRPO's SDE, which leaves more noise than the flow has where steps are long,
    or coefficient-preserving sampling (`cps`, arXiv 2509.05952), which does not; `eta` is then at most 1."""
    sde_window: Pair | None = None
    """Stochastic steps [start, stop); the others are ODE steps. null: every step but the last."""
    sde_window_every: int | None = Field(None, ge=1)
    """Updates after which `sde_window` moves a step towards the end, and from its last place back to its first
    (MixGRPO, arXiv 2507.21802). An update counts as `rollout.prompts_per_update` prompts of the run. null: it stays."""
    shared_noise: bool = False
    """Let the edits of a group start from the same noise while the editor trains, so that they differ in the noise of
    the SDE's steps alone; otherwise each one starts from its own. Not with `learner.editor.algorithm: nft`."""

    @property
    def model_settings(self) -> dict[str, Any]:
        """See `PipelineConfig`."""
        source = {} if self.source_size is None else {"source_size": self.source_size}
        return {**super().model_settings, **source}

    def sampling(self, algorithm: str, update: int = 0) -> FlowSde | FlowOde:
        """How edits are sampled while the editor trains by `learner.editor.algorithm`, in update number `update`."""
        if algorithm == "nft":
            return FlowOde(self.steps)
        window = self.sde_window
        if window is not None and self.sde_window_every is not None:
            start, stop = window
            moved = update // self.sde_window_every % (self.steps - stop)
            window = (start + moved, stop + moved)
        return FlowSde(self.eta, self.steps, window, self.shared_noise, self.sampler)

    @property
    def ode_steps(self) -> int:
        """Denoising steps where nothing is trained on the edits."""
        return self.evaluation_steps or self.steps
