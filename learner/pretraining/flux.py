"""Train text encoders and transformer of the small pipeline, on drawing and on editing at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FluxKontextPipeline
from torch.nn.attention import SDPBackend, sdpa_kernel

from learner.pretraining.cells import GRID, CellNaming, cell_labels
from learner.pretraining.flux_model import TEXT_LENGTH
from learner.pretraining.lattice import PLACES, lattice_layout
from learner.pretraining.loop import LoopSettings, run_loop
from learner.pretraining.vae import images_to_tensor
from learner.pretraining.vlm_tasks import execute
from scenes.dialogue import edit_prompt
from scenes.scene_graph import Requirement
from scenes.shape_world import (
    COLOURS,
    PREDICATES,
    SHAPES,
    DrawnScene,
    Layout,
    PlacedObject,
    draw,
    sample_layout,
    sample_scene,
)

FREE = 0.25
NAMING_BLOCK = 1  # of the single-stream blocks; its image features name what their cell shows


@dataclass(frozen=True)
class FluxSettings:
    """How the pipeline is trained, and how imperfect it stays.

    `wrong_captions` is the share of relations in drawing captions, `wrong_instructions` that of edit instructions,
    whose predicate is replaced by a random one. Without them the small world is learnt completely, no requirement
    would ever be unmet, and reinforcement learning would have nothing to show (DESIGN §6). `singles` are pictures of
    one object, named by its caption: they teach which word looks like what, long before whole scenes do.
    """

    steps: int = 5600
    drawings: int = 40
    singles: int = 24
    edits: int = 32
    pool: int = 32_000
    singles_pool: int = 6_000
    wrong_captions: float = 0.35
    wrong_instructions: float = 0.3
    naming: float = 0.3
    learning_rate: float = 1e-3
    compile: bool = True
    seed: int = 3


@dataclass(frozen=True)
class LatentPool:
    """Edit pairs as VAE latents, float16 (N, 64, 16), what each of their 64 cells shows, int64 (N, 64), with the
    requirements that each source meets and the move that leads to its target."""

    sources: torch.Tensor
    targets: torch.Tensor
    source_cells: torch.Tensor
    target_cells: torch.Tensor
    requirements: list[tuple[Requirement, ...]]
    moves: list[tuple[str, str, str]]


def encode_latents(pipeline: FluxKontextPipeline, images: np.ndarray) -> torch.Tensor:
    """uint8 (B, 64, 64, 3) → normalised, packed latents float32 (B, 64, 16), as the pipeline makes them."""
    vae = pipeline.vae
    latents = vae.encode(images_to_tensor(images)).latent_dist.mode()
    latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    packed: torch.Tensor = pipeline._pack_latents(latents, *latents.shape)
    return packed


def random_edit(
    rng: np.random.Generator, layout: Layout
) -> tuple[DrawnScene, tuple[str, str, str], tuple[PlacedObject, ...]]:
    """A scene and an executed move: (scene, instruction, objects after the move)."""
    while True:
        scene = sample_scene(rng, "train", (1, 3), layout=layout)
        a, b = rng.permutation(len(scene.objects))[:2]
        move = (scene.objects[a].name, str(rng.choice(PREDICATES)), scene.objects[b].name)
        after = execute(move, scene.objects, rng, PLACES)
        if after is not None:
            return scene, move, after


@torch.no_grad()
def latent_pool(pipeline: FluxKontextPipeline, size: int, seed: int, path: Path) -> LatentPool:
    """Draw and encode `size` edit pairs, or read them from `path`.

    The drawing task uses the sources, whose scene graphs hold; the editing task leads from source to target. The
    last `FREE` of the sources, which only the editing task uses, lie anywhere: it edits what others drew, too.
    """
    rng = np.random.default_rng([seed, 77])
    cached = torch.load(path, weights_only=True) if path.exists() else None
    sources, targets, source_cells, target_cells, requirements, moves = [], [], [], [], [], []
    for start in range(0, size, 64):
        layout = lattice_layout if start < (1 - FREE) * size else sample_layout
        edits = [random_edit(rng, layout) for _ in range(min(64, size - start))]
        requirements += [scene.graph.related for scene, _, _ in edits]
        moves += [move for _, move, _ in edits]
        source_cells += [cell_labels(scene.objects) for scene, _, _ in edits]
        target_cells += [cell_labels(after) for _, _, after in edits]
        if cached is None:
            sources.append(encode_latents(pipeline, np.stack([scene.image for scene, _, _ in edits])).half())
            targets.append(encode_latents(pipeline, np.stack([draw(after) for _, _, after in edits])).half())
    if cached is None:
        cached = {"sources": torch.cat(sources), "targets": torch.cat(targets)}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(cached, path)
    shown = torch.from_numpy(np.stack(source_cells)), torch.from_numpy(np.stack(target_cells))
    return LatentPool(cached["sources"], cached["targets"], *shown, requirements, moves)


@torch.no_grad()
def single_objects(pipeline: FluxKontextPipeline, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Latents float16 (size, 64, 16) of pictures of one object, their cells (size, 64), and their captions."""
    rng = np.random.default_rng([seed, 78])
    objects = [lattice_layout([(str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES)))], rng)[0] for _ in range(size)]
    latents = [
        encode_latents(pipeline, np.stack([draw((placed,)) for placed in objects[start : start + 64]])).half()
        for start in range(0, size, 64)
    ]
    shown = torch.from_numpy(np.stack([cell_labels((placed,)) for placed in objects]))
    return torch.cat(latents), shown, [placed.name for placed in objects]


def corrupted(predicate: str, share: float, rng: np.random.Generator) -> str:
    """The predicate, or with probability `share` a random one."""
    return str(rng.choice(PREDICATES)) if rng.random() < share else predicate


def noise_levels(count: int) -> torch.Tensor:
    """Random σ in (0, 1), float32 (count,): logit-normal with mean 1, a quarter uniform.

    What is drawn, and where, is decided while σ is high; a distribution around ½ would hardly ever train that.
    """
    uniform = torch.rand(count)
    return torch.where(torch.rand(count) < 0.25, uniform, torch.sigmoid(torch.randn(count) + 1.0))


class FlowTask:
    """Flow-matching loss of the pipeline's transformer on packed latents (rectified flow: v = ε − x₀), and the loss of
    naming what each cell of the clean picture shows, from the features in the middle of the transformer.

    Naming ties each place to the word it has to follow. The flow loss alone hardly does: a wrong shape costs little
    beside the noise that is predicted. (Representation alignment, arXiv 2410.06940, with labels as the target.)
    """

    def __init__(self, pipeline: FluxKontextPipeline, compiled: bool) -> None:
        self.pipeline = pipeline
        self.naming = CellNaming(pipeline.transformer.inner_dim)
        middle = pipeline.transformer.single_transformer_blocks[NAMING_BLOCK]
        transformer = pipeline.transformer

        def velocity_and_features(**inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            kept = []
            hook = middle.register_forward_hook(lambda _, __, output: kept.append(output[1]))
            velocity = transformer(**inputs, return_dict=False)[0]
            hook.remove()
            return velocity, kept[0]

        self.transformer = torch.compile(velocity_and_features, dynamic=False) if compiled else velocity_and_features
        grid = pipeline._prepare_latent_image_ids(1, GRID, GRID, torch.device("cpu"), torch.float32)
        source_grid = grid.clone()
        source_grid[..., 0] = 1
        self.ids = {False: grid, True: torch.cat([grid, source_grid])}

    def __call__(
        self, prompts: list[str], targets: torch.Tensor, shown: torch.Tensor, sources: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Flow loss and naming loss of `targets` (B, 64, 16) whose cells are `shown` (B, 64)."""
        pipeline = self.pipeline
        ids = pipeline.tokenizer_2(prompts, padding="max_length", max_length=TEXT_LENGTH, return_tensors="pt").input_ids
        noise = torch.randn_like(targets)
        sigma = noise_levels(len(targets))
        noisy = (1 - sigma)[:, None, None] * targets + sigma[:, None, None] * noise
        with torch.autocast("cpu", torch.bfloat16):
            velocity, features = self.transformer(
                hidden_states=noisy if sources is None else torch.cat([noisy, sources], dim=1),
                timestep=sigma,
                pooled_projections=pipeline.text_encoder(ids).pooler_output,
                encoder_hidden_states=pipeline.text_encoder_2(ids)[0],
                txt_ids=torch.zeros(TEXT_LENGTH, 3),
                img_ids=self.ids[sources is not None],
            )
        count = targets.shape[1]
        named = self.naming.loss(features[:, :count], shown)
        return F.mse_loss(velocity[:, :count].float(), noise - targets), named


def train_flux(pipeline: FluxKontextPipeline, settings: FluxSettings, work_dir: Path) -> None:
    """Train everything but the VAE, in place."""
    pool = latent_pool(pipeline, settings.pool, settings.seed, work_dir / "latents.pt")
    single_latents, single_cells, single_captions = single_objects(pipeline, settings.singles_pool, settings.seed)
    flow = FlowTask(pipeline, settings.compile)

    def step(rng: np.random.Generator, number: int) -> dict[str, torch.Tensor]:
        progress = number / settings.steps
        drawn = rng.integers(0, int((1 - FREE) * settings.pool), settings.drawings)
        captions = [
            "; ".join(
                f"{r.subject} {corrupted(r.predicate, settings.wrong_captions * progress, rng)} {r.object}"
                for r in pool.requirements[k]
            )
            for k in drawn
        ]
        single = rng.integers(0, settings.singles_pool, settings.singles)
        captions += [single_captions[k] for k in single]
        latents = torch.cat([pool.sources[drawn], single_latents[single]]).float()
        drawing, drawn_names = flow(
            captions, latents, torch.cat([pool.source_cells[drawn], single_cells[single]]), None
        )
        edited = rng.integers(0, settings.pool, settings.edits)
        instructions = []
        for k in edited:
            subject, predicate, object_ = pool.moves[k]
            predicate = corrupted(predicate, settings.wrong_instructions * progress, rng)
            instructions.append(edit_prompt(subject, predicate, object_))
        sources = pool.sources[edited].float()
        sources = sources + torch.randn_like(sources) * float(rng.uniform(0, 0.1))  # own outputs are not perfect either
        editing, edited_names = flow(instructions, pool.targets[edited].float(), pool.target_cells[edited], sources)
        loss = drawing + editing + settings.naming * (drawn_names + edited_names)
        parts = {"drawing": drawing, "editing": editing, "naming": drawn_names, "naming_edits": edited_names}
        return {"loss": loss} | {key: value.detach() for key, value in parts.items()}

    modules = {
        "transformer": pipeline.transformer,
        "text_encoder": pipeline.text_encoder,
        "text_encoder_2": pipeline.text_encoder_2,
        "naming": flow.naming,
    }
    loop = LoopSettings(
        settings.steps,
        settings.learning_rate,
        warmup=100,
        seed=settings.seed,
        ema=0.998,
        checkpoint_every=50,
        muon=("_blocks.", "block."),
    )
    with sdpa_kernel(SDPBackend.MATH):  # the backward pass of fused attention is twice as slow on CPU
        run_loop("flux", modules, step, loop, work_dir)
