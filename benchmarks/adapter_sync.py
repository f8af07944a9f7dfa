"""What it costs to give an Actor's replica a new adapter, with layers of the shapes of Qwen2.5-VL-7B.

    .venv/bin/python -m benchmarks.adapter_sync [--layers 2] [--rank 64] [--updates 5]

The model has random weights in bfloat16, few of the 28 layers and a small vocabulary. vLLM serves it as in a run.
*Adapter* is what is sent, *whole weights* what would be sent without one; both also as they would be with all layers.
*All* is one update as the driver sees it, with packing, the receipt and its proof; medians after the first update.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import ray
import torch
import typer
from rich.console import Console

from benchmarks.tiny_families.qwen_vl import qwen_vl_model, qwen_vl_processor

LAYERS = 28
SHAPE: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
"""Of Qwen2.5-VL-7B's text model."""
_TARGETS = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"


def build(folder: Path, layers: int) -> Path:
    """Write the model."""
    from transformers import Qwen2_5_VLProcessor

    processor = qwen_vl_processor(Qwen2_5_VLProcessor)
    qwen_vl_model(processor.tokenizer, **SHAPE, num_hidden_layers=layers).bfloat16().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def main(
    layers: Annotated[int, typer.Option(min=1, max=LAYERS)] = 2,
    rank: Annotated[int, typer.Option(min=1)] = 64,
    updates: Annotated[int, typer.Option(min=2)] = 5,
) -> None:
    """Measure and print."""
    from learner.config import LearnerConfig
    from learner.vlm_policy import VlmPolicy
    from serving.config import VlmConfig
    from serving.deployment import start_vlms, stop_vlms
    from weights.lora import adapter_tensors
    from weights.lora_config import LoraConfig
    from weights.manifest import pack
    from weights.receipts import verify_receipts

    lora = LoraConfig(rank=rank, alpha=2.0 * rank, target_modules=_TARGETS)
    with TemporaryDirectory() as place:
        folder = build(Path(place) / "model", layers)
        ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=1 << 30, log_to_driver=False)
        settings = VlmConfig(
            model=str(folder), dtype="bfloat16", adapter_rank=rank, max_model_len=512, call_deadline_s=600.0
        )
        client = start_vlms({"actor": settings})["actor"]
        policy = VlmPolicy(folder, LearnerConfig(lora=lora, dtype="bfloat16", zero_stage=2))
        tensors = adapter_tensors(policy.module)
        for tensor in tensors.values():
            tensor.data = tensor.data.bfloat16()
        spent = []
        for version in range(1, updates + 1):
            with torch.no_grad():
                for tensor in tensors.values():
                    tensor += 1e-3 * torch.randn_like(tensor)
            began = time.monotonic()
            update = pack("actor", version, tensors, adapter=policy.weights.spec())
            receipts = client.apply_weights(update)
            verify_receipts(update.manifest, receipts, client.versions())
            spent.append(time.monotonic() - began)
        stop_vlms(["actor"])
        ray.shutdown()
    text = policy.module.get_submodule("model.language_model.layers")
    whole = sum(p.numel() * p.element_size() for name, p in text.named_parameters() if "lora_" not in name)
    console = Console(highlight=False)
    console.print(f"layers of Qwen2.5-VL-7B's shapes: {layers} of {LAYERS}, rank {rank}, bfloat16")
    for what, size in (("adapter", update.nbytes), ("whole weights", whole)):
        console.print(f"{what}: {size / 1e6:.0f} MB, {size * LAYERS / layers / 1e9:.2f} GB with all layers")
    console.print(f"all: {statistics.median(spent[1:]):.2f} s (the first update {spent[0]:.2f} s)")


if __name__ == "__main__":
    typer.run(main)
