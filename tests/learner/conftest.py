import numpy as np
import pytest
import torch

from learner.samples import ActorSample, EditorSample

REQUEST = "goal : red circle left of blue square . unmet : red circle left of blue square . fix ?"
EDITS = ("move red circle left of blue square", "move green star above red circle")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cluster():
    """A Ray on this machine, for learners with two ranks."""
    from tests.local_cluster import shared_ray

    with shared_ray():
        yield


def random_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def actor_samples(vlm_folder) -> list[ActorSample]:
    """Five answers of different lengths that transformers' own `generate` sampled, with its log-probabilities."""
    from PIL import Image
    from transformers import AutoProcessor, Idefics3ForConditionalGeneration

    processor = AutoProcessor.from_pretrained(vlm_folder)
    model = Idefics3ForConditionalGeneration.from_pretrained(vlm_folder, dtype=torch.float32).eval()
    samples = []
    for index in range(5):
        image, prompt = random_image(index), REQUEST if index % 2 else REQUEST.replace("red circle", "green star", 1)
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        inputs = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = processor(text=inputs, images=[Image.fromarray(image)], add_special_tokens=False, return_tensors="pt")
        torch.manual_seed(index)
        answer = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=6 + 3 * index,
            bad_words_ids=[[model.config.image_token_id]],
            return_dict_in_generate=True,
            output_logits=True,
        )
        token_ids = answer.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        logits = torch.cat(answer.logits).double()
        logits[:, model.config.image_token_id] = -torch.inf  # it is never sampled
        logits = logits.log_softmax(-1)
        log_probs = [logits[position, token].item() for position, token in enumerate(token_ids)]
        samples.append(ActorSample(image, prompt, token_ids, log_probs, advantage=float(index - 2)))
    return samples


@pytest.fixture(scope="session")
def editor_samples(flux_folder) -> list[EditorSample]:
    """Five edits with paths of three stochastic steps."""
    from actors.flow_path import FlowSde
    from actors.flux_model import FluxModel

    images, prompts = [random_image(index) for index in range(5)], [EDITS[index % 2] for index in range(5)]
    edits = FluxModel(flux_folder).edit(images, prompts, list(range(5)), FlowSde(eta=0.7, steps=5, window=(0, 3)))
    return [
        EditorSample(image, prompt, edit.path, advantage=float(index - 2))
        for index, (image, prompt, edit) in enumerate(zip(images, prompts, edits, strict=True))
    ]
