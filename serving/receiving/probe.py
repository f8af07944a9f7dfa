"""One fixed question to a running engine: its answer must change with the weights, or the engine does not use them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from PIL import Image
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput

QUESTION = "which answer ?"
IMAGE = Image.new("RGB", (64, 64), (128, 128, 128))
PARAMETERS = SamplingParams(
    temperature=0.0,
    max_tokens=4,
    logprobs=5,
    prompt_logprobs=5,  # so many numbers that a small change shows in coarse ones, too
    ignore_eos=True,
    detokenize=False,
    output_kind=RequestOutputKind.FINAL_ONLY,
)


def digest_of(output: RequestOutput) -> str:
    """Of the tokens that the engine found most probable, at each place of the question and of its answer, with their
    log-probabilities to the last bit."""
    hasher = hashlib.blake2b(digest_size=16)
    for step in [*(output.prompt_logprobs or ()), *output.outputs[0].logprobs]:
        for token in sorted(step or ()):
            hasher.update(f"{token}:{step[token].logprob.hex()};".encode())
    return hasher.hexdigest()
