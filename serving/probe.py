"""One fixed question to a running engine: its answer must change with the weights, or the engine does not use them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from uuid import uuid4

from PIL import Image
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

_TOKENS, _BESIDES = 4, 5
_GREY = Image.new("RGB", (64, 64), (128, 128, 128))


async def probe(client: AsyncLLM, prompt: str) -> str:
    """A digest of the tokens that the engine finds most probable after `prompt`, an image placeholder included, with
    their log-probabilities to the last bit."""
    parameters = SamplingParams(
        temperature=0.0,
        max_tokens=_TOKENS,
        logprobs=_BESIDES,
        ignore_eos=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    request = {"prompt": prompt, "multi_modal_data": {"image": _GREY}}
    final: RequestOutput | None = None
    async for output in client.generate(request, parameters, uuid4().hex):
        final = output
    hasher = hashlib.blake2b(digest_size=16)
    for step in final.outputs[0].logprobs:
        for token in sorted(step):
            hasher.update(f"{token}:{step[token].logprob.hex()};".encode())
    return hasher.hexdigest()
