"""Fixtures of the engine tests: Ray Serve and vLLM, transformers as the reference."""

import os
import shutil

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from experiments.faults.processes import family, title
from tests.local_cluster import local_ray


class Reference:
    """What plain transformers computes from a model folder, after a system prompt where there is one."""

    def __init__(self, folder, system=None):
        from transformers import AutoProcessor, Idefics3ForConditionalGeneration

        self.model = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor, self.system = AutoProcessor.from_pretrained(folder), system

    def _inputs(self, image, text):
        content = [{"type": "image"}, {"type": "text", "text": text}]
        said = [{"role": "user", "content": content}]
        if self.system is not None:
            said.insert(0, {"role": "system", "content": [{"type": "text", "text": self.system}]})
        prompt = self.processor.apply_chat_template(said, add_generation_prompt=True)
        return self.processor(text=prompt, images=[Image.fromarray(image)], return_tensors="pt")

    @torch.no_grad()
    def log_probs(self, image, text, token_ids):
        """Log-probabilities (len(token_ids), vocabulary) at each answer token."""
        inputs = self._inputs(image, text)
        length = inputs.input_ids.shape[1]
        inputs["input_ids"] = torch.cat([inputs.input_ids, torch.tensor([token_ids])], 1)
        inputs["attention_mask"] = torch.ones_like(inputs.input_ids)
        logits = self.model(**inputs).logits[0, length - 1 : -1]
        logits[:, self.model.config.image_token_id] = -torch.inf  # it is never sampled
        return logits.log_softmax(-1)

    def assert_log_probs(self, image, text, answer, temperature=1.0):
        """Each of the answer's log-probabilities is that of transformers, to 1e-3; both sides compute in float32."""
        expected = (self.log_probs(image, text, answer.token_ids) / temperature).log_softmax(-1)
        expected = expected.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        np.testing.assert_allclose(answer.log_probs, expected, atol=1e-3, rtol=0)

    @torch.no_grad()
    def greedy(self, image, text, max_tokens):
        inputs = self._inputs(image, text)
        ids = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        return ids[0, inputs.input_ids.shape[1] :].tolist()


def widened(folder, out):
    """The model of `folder` with weights so large that answers differ between images and end at different lengths."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor * 3 if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}
    return write_like(folder, out, tensors)


def decided(folder, out):
    """The model of `folder` with opposite, long output rows for yes and no: often one of them is the likeliest."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    tensors = load_file(folder / "model.safetensors")
    yes, no = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(["yes", "no"])
    row = torch.randn(tensors["lm_head.weight"].shape[1], generator=torch.Generator().manual_seed(7)) * 1.5
    tensors["lm_head.weight"][yes], tensors["lm_head.weight"][no] = row, -row
    return write_like(folder, out, tensors)


def write_like(folder, out, tensors):
    from safetensors.torch import save_file

    shutil.copytree(folder, out)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from learner.pretraining.vlm_model import build

    root = tmp_path_factory.mktemp("vlm")
    raw = [build(root / f"raw{seed}", seed=seed) for seed in range(3)]
    return {
        "actor": widened(raw[0], root / "actor"),
        "other": widened(raw[1], root / "other"),
        "checker": decided(widened(raw[2], root / "wide"), root / "checker"),
    }


@pytest.fixture(scope="module")
def references(folders):
    torch.set_num_threads(1)
    return {name: Reference(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def vlms(folders):
    from serving.config import VlmConfig
    from serving.deployment import start_vlms, stop_vlms

    with local_ray(2):
        before = family(os.getpid())
        yield start_vlms(
            {
                "actor": VlmConfig(model=str(folders["actor"]), max_tokens=16),
                "checker": VlmConfig(model=str(folders["checker"])),
            }
        )
        ours = [process for process in family(os.getpid()) if process not in before]
        engines = [process for process in ours if "EngineCore" in title(process)]
        assert len(engines) >= 2
        stop_vlms(["actor", "checker"])
        _, alive = psutil.wait_procs(engines, timeout=20)
        assert not alive


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))
