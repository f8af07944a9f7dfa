"""Adapters of the small models, and a few steps that make them differ from nothing."""

import torch

from weights.lora_config import LoraConfig

VLM_LORA = LoraConfig(rank=2, alpha=4.0, target_modules=r"model\.text_model\..*\.(q_proj|down_proj)|lm_head")
EDITOR_LORA = LoraConfig(rank=2, alpha=4.0, target_modules=("to_q", "add_k_proj", "proj_mlp", "norm.linear"))


def trained_a_little(policy, samples, steps: int = 2, rate: float = 3e-2):
    """The policy after some steps of AdamW on the samples, at a rate that shows."""
    optimizer = torch.optim.AdamW([p for p in policy.module.parameters() if p.requires_grad], lr=rate)
    for _ in range(steps):
        for batch in policy.batches(samples):
            evaluation = policy.evaluate(policy.module, batch)
            policy.loss(batch, evaluation, evaluation.log_probs.detach(), batch.count)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    return policy
