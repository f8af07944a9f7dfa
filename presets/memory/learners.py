"""Memory of a rank of a learner: weights, gradients and optimizer as ZeRO splits them, and a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from presets.memory.devices import Phase
from presets.memory.estimate import KEPT, Estimate, Term, count, unknown
from presets.memory.image_models import (
    geometry,
    image_worker,
    largest,
    parameters,
    passes,
    visitors,
    weights_terms,
    worker_stages,
)
from presets.memory.model_size import DTYPE_BYTES, ModelSize, UnknownSize
from presets.memory.sizes import Adapter, Model, Sizes
from presets.memory.vlms import held, vlm_training

if TYPE_CHECKING:
    from learner.config import LearnerConfig
    from presets.run_config import RunConfig

_FLOAT = 4  # bytes of a float32, in which optimizers keep their state
_BUCKET = 500_000_000  # DeepSpeed's reduce_bucket_size, in elements
_LIVE = 1_000_000_000  # DeepSpeed's stage3_max_live_parameters


def learner_rank(config: RunConfig, policy: str, sizes: Sizes) -> Estimate:
    """A rank of the learner of `policy`: the policy's module and, for the editor, the frozen parts of its pipeline.

    States: see `model_states`. Activations: see `vlm_training` and `flow_training`.
    """
    learner: LearnerConfig = getattr(config.learner, policy)
    name, part = (config.models.actor, "") if policy == "actor" else (config.models.edits_with, "transformer")
    try:
        model = sizes.model(name)
        size = model.part(part)
    except UnknownSize as error:
        return Estimate(unknown(error, "weights", "gradients", "optimizer", "activations"))
    width = DTYPE_BYTES[learner.dtype]
    coming = frozenset() if policy == "actor" else visitors(config.editor, model)
    terms = [*weights_terms(model, width, {part, *coming})]
    adapter: Adapter | None = None
    try:
        adapter = None if learner.lora is None else sizes.adapter(name, part, learner.lora)
        terms += model_states(learner, size, adapter, part)
    except UnknownSize as error:
        terms.append(Term("weights", size.parameters * width, f"{part} {parameters(size)} × {width} B".strip()))
        terms += unknown(UnknownSize(f"learner.{policy}: {error}"), "gradients", "optimizer")
    try:
        whole = learner.lora is None
        if policy == "actor":
            terms.append(vlm_training(config, size, whole=whole, sees=whole or (adapter is not None and adapter.sees)))
        else:
            terms.append(flow_training(config, model))
    except UnknownSize as error:
        terms += unknown(error, "activations")
    return Estimate(tuple(terms))


def editor_rank(config: RunConfig, sizes: Sizes) -> dict[Phase, Estimate]:
    """A process that is a rank of the editor's learner and samples with what it trains, in each phase: one pipeline
    with its adapter, gradients and optimizer, and the activations of the one work or of the other."""
    training = learner_rank(config, "editor", sizes)
    sampling = image_worker(config, "editor", sizes)
    rollout = Estimate((*training.having(*KEPT), *sampling.having("activations")))
    return {"rollout": rollout, "update": training}


def model_states(learner: LearnerConfig, size: ModelSize, adapter: Adapter | None, name: str = "") -> list[Term]:
    """Weights, gradients and optimizer state of one rank (ZeRO, arXiv 1910.02054, section 3;
    `estimate_zero2_model_states_mem_needs` and `estimate_zero3_model_states_mem_needs` of DeepSpeed). With N ranks, T
    trained and F frozen elements, and w bytes for a number (4, or 2 for bfloat16):

    | stage | weights | gradients | optimizer |
    |---|---|---|---|
    | 0 | w(T+F) | wT + bucket | 8T: AdamW's two moments |
    | 1 | w(T+F) | wT + bucket | 12T/N: DeepSpeed's own float32 copy of its part of the weights, and the moments |
    | 2 | w(T+F) | 8T/N + bucket: what is added up, in float32, and its copy for the step | 12T/N |
    | 3 | w(T+F)/N + w·min(T+F, 10⁹) gathered at a time | 8T/N + bucket | 12T/N |

    The bucket that gradients are reduced through, where there is more than one rank, holds at most 5·10⁸ elements;
    stages 1 and 2 set it aside whole, which other memory than a GPU's notices as far as it is filled. The starting
    model of a KL divergence is copied where all weights train, and split with stage 3.

    Args:
        size: the module that trains, or that the adapter is put into.
        adapter: None: all of it trains.
    """
    trained = size.parameters if adapter is None else adapter.parameters
    module = size.parameters + (0 if adapter is None else adapter.parameters)
    copied = size.parameters if adapter is None and learner.kl_coefficient > 0 else 0
    width, stage, ranks = DTYPE_BYTES[learner.dtype], learner.zero_stage, learner.ranks
    held_by = parameters(size) + ("" if adapter is None else f" + {count(trained)} of the adapter")
    held_by += " + as many of the starting model" if copied else ""
    held_by = f"({held_by})" if " + " in held_by else held_by
    weights, how = float(module + copied) * width, f"{held_by} × {width} B"
    if stage == 3:
        live = min(module, _LIVE)
        weights = ((module + copied) / ranks + live) * width
        how = f"({held_by} / {ranks} ranks + {count(live)} gathered) × {width} B"
    bucket = 0
    if ranks > 1:
        bucket = _BUCKET if learner.gpus_per_rank and stage in (1, 2) else min(trained, _BUCKET)
    reduced = f" + {count(bucket)} being reduced × {width} B" if bucket else ""
    split = f" / {ranks} ranks" if ranks > 1 else ""
    if stage < 2:
        gradients, summed = float(trained * width), f"{count(trained)} trained × {width} B"
    else:
        gradients, summed = trained * 2 * _FLOAT / ranks, f"{count(trained)} trained × 8 B{split}"
    optimizer, moments = 2 * trained * _FLOAT / 1.0, f"{count(trained)} trained × 8 B"
    if stage:
        optimizer, moments = 3 * trained * _FLOAT / ranks, f"{count(trained)} trained × 12 B{split}"
    return [
        Term("weights", weights, f"{name}, {how}" if name else how),
        Term("gradients", gradients + bucket * width, f"{summed}{reduced}"),
        Term("optimizer", optimizer, moments),
    ]


def flow_training(config: RunConfig, model: Model) -> Term:
    """The larger of what a worker's stages need for a micro-batch, with which the learner encodes prompts and images,
    and what a forward pass of it keeps for the backward pass: 34·tokens·channels for each block in 16 bits with an
    adapter, 56 where all weights train, 46 and 64 with gated feed-forward layers. Korthikanti et al. (arXiv 2205.05198,
    equation 1) count 34 without the attention matrix, which fused attention does not keep. What autograd saves of
    blocks of FLUX.1, Qwen-Image and FLUX.2 in diffusers is within 20 % of these, which the tests measure. Guidance is a
    second forward pass, of which as much is kept.

    Raises:
        UnknownSize: a setting of the model is missing.
    """
    learner, width = config.learner.editor, DTYPE_BYTES[config.learner.editor.dtype]
    sample = geometry(config, config.editor, model)
    each = (64 if sample.gated else 56) if learner.lora is None else (46 if sample.gated else 34)
    times = passes(config.editor, model)
    layer, row = each * sample.width * width / 2, sample.width * width
    tokens = learner.micro_batch * sample.tokens
    if learner.gradient_checkpointing:
        nbytes, how = held(tokens, layer, times * row, sample.blocks, again=True)
    else:
        nbytes, how = held(times * tokens, layer, row, sample.blocks, again=False)
    guided = f", {times} passes for guidance" if times > 1 else ""
    stages = worker_stages(config, config.editor, model, learner.micro_batch, width)
    del stages["decoding"]  # a learner decodes nothing
    said = f"{how}, of {learner.micro_batch} × {sample.said}{guided}"
    return largest({"a forward pass": (nbytes, said), **{name: it for name, it in stages.items() if name != "a step"}})
