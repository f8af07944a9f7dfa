"""Policies small enough that their expected reward is known: answers of three tokens, latents of two dimensions."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from actors.flow_sde import sde_step
from learner.advantages import group_advantages
from learner.vlm_loss import token_log_probs

VOCABULARY, LENGTH, END = 4, 3, 0
TARGET = torch.tensor([2, 3, END])
SIGMAS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
ETA, DATA_STD, FLOW_TARGET = 0.7, 0.5, 1.0


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_network(*widths: int, seed: int) -> nn.Sequential:
    """Tanh layers in float64."""
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.Tanh())][:-1]
    network = nn.Sequential(*layers).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5, generator=seeded(seed + parameter.numel()))
    return network


class TokenPolicy(nn.Module):
    """An answer of at most 3 tokens of 4, the first of them its end; every token sees its place and the one before."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.network = new_network(VOCABULARY + LENGTH, 16, VOCABULARY, seed=seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 3) → logits (B, 3, 4) of each token, given those before it."""
        before = torch.cat([torch.full_like(tokens[:, :1], END), tokens[:, :-1]], dim=1)
        places = torch.eye(LENGTH, dtype=torch.float64).expand(len(tokens), -1, -1)
        return self.network(torch.cat([nn.functional.one_hot(before, VOCABULARY).double(), places], dim=-1))

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        tokens = torch.full((count, LENGTH), END)
        for place in range(LENGTH):
            probabilities = self(tokens)[:, place].softmax(-1)
            tokens[:, place] = torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)
        return tokens


class EngineWithNoise(TokenPolicy):
    """The same weights in an engine that computes other logits."""

    def __init__(self, policy: TokenPolicy, noise: float) -> None:
        super().__init__(0)
        self.network = policy.network
        self.noise = noise * torch.randn(LENGTH, VOCABULARY, generator=seeded(9), dtype=torch.float64)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + self.noise


def answer_mask(tokens: Tensor) -> Tensor:
    """(B, 3) true up to the first end token, inclusive."""
    ended = (tokens == END).cumsum(1) - (tokens == END).long()
    return ended == 0


def answer_rewards(tokens: Tensor) -> Tensor:
    """(B,) fraction of the places that are as in TARGET; the optimum is 1, at one answer only."""
    return (torch.where(answer_mask(tokens), tokens, END) == TARGET).double().mean(1)


@torch.no_grad()
def expected_answer_reward(policy: TokenPolicy) -> float:
    """Exact, by going through all 64 sequences."""
    tokens = torch.tensor(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))
    return float(token_log_probs(policy(tokens), tokens).sum(1).exp() @ answer_rewards(tokens))


class FlowPolicy(nn.Module):
    """A velocity: that of data N(0, 0.5²), plus a network's correction of (x, σ); two latent dimensions."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.network = new_network(3, 24, 2, seed=seed)
        nn.init.zeros_(self.network[-1].weight)
        nn.init.zeros_(self.network[-1].bias)

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        """(B, 1, 2) → (B, 1, 2)."""
        slope = (sigma - (1 - sigma) * DATA_STD**2) / ((1 - sigma) ** 2 * DATA_STD**2 + sigma**2)
        return slope * x + self.network(torch.cat([x, torch.full_like(x[..., :1], sigma)], dim=-1))


@torch.no_grad()
def sample_flow(policy: FlowPolicy, count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Latents at each of SIGMAS, the last step an ODE step, and the log-probabilities (steps, B) of the others."""
    generator, log_probs = seeded(seed), []
    latents = [torch.randn(count, 1, 2, generator=generator, dtype=torch.float64)]
    for sigma, sigma_next in itertools.pairwise(SIGMAS[:-1]):
        noise = torch.randn(count, 1, 2, generator=generator, dtype=torch.float64)
        x = latents[-1]
        x_next, log_prob = sde_step(x, policy(x, sigma), sigma, sigma_next, ETA, noise)
        latents.append(x_next)
        log_probs.append(log_prob)
    latents.append(latents[-1] - SIGMAS[-2] * policy(latents[-1], SIGMAS[-2]))
    return latents, torch.stack(log_probs)


def flow_rewards(x: Tensor) -> Tensor:
    """(B,) −(x − target)², mean over dimensions; the optimum is 0."""
    return -((x - FLOW_TARGET) ** 2).flatten(1).mean(1)


def advantages_of(rewards: Tensor, size: int) -> Tensor:
    """(B,) advantages of groups of `size` that stand one after the other; zero where a group has no signal."""
    groups = rewards.reshape(-1, size).numpy()
    return torch.tensor(np.concatenate([group_advantages(group) for group in groups]))
