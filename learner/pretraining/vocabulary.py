"""The words of the shape world, and the word-level tokenizers of the small models."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from learner.pretraining.cells import NAMES
from scenes.shape_world import PREDICATES

_JOINED = [*(p for p in PREDICATES if " " in p), *NAMES]
_PREDICATE_WORDS = [p.replace(" ", "_") for p in PREDICATES]
_RELATION_WORDS = [*_PREDICATE_WORDS, ";", "move"]
_NAME_WORDS = [name.replace(" ", "_") for name in NAMES]
WORLD_WORDS = [*_RELATION_WORDS, *_NAME_WORDS]


def _as_one_word(phrases: list[str]) -> normalizers.Normalizer:
    """`left of` becomes one word, which keeps prompts short; so does `red circle`, so that small networks need not
    learn which colour belongs to which shape."""
    return normalizers.Sequence([normalizers.Replace(p, p.replace(" ", "_")) for p in phrases])


def text_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the text encoders of the image models: one id for a word, an end token, padding."""
    words = ["<pad>", "</s>", "<unk>", *WORLD_WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = _as_one_word(_JOINED)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=max_length,
    )


CELLS = 16  # coordinates of the naming task, in steps of four pixels
CELL_WORDS = [f"{axis}{k}" for axis in "xy" for k in range(CELLS)]
DIALOGUE_WORDS = ["is", "?", "yes", "no", "goal", "unmet", ":", ".", "fix", "reflection", "edit", "name", "objects"]
IMAGE, FAKE_IMAGE, GLOBAL_IMAGE = "<image>", "<fake_token_around_image>", "<global-img>"
USER, ASSISTANT, END = "<user>", "<assistant>", "<end_of_utterance>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<end_of_utterance>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


def chat_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the VLMs: one id for a word, `<user>` and `<assistant>` turns, an end token."""
    special = ["<pad>", "<unk>", END, USER, ASSISTANT, IMAGE, FAKE_IMAGE, GLOBAL_IMAGE]
    words = [*special, *WORLD_WORDS, *CELL_WORDS, *DIALOGUE_WORDS]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = _as_one_word(_JOINED)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    spaced = [decoders.Replace(p.replace(" ", "_"), p) for p in _JOINED]
    tokenizer.decoder = decoders.Sequence([*spaced, decoders.WordPiece(prefix="##", cleanup=False)])
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token=END,
        unk_token="<unk>",
        additional_special_tokens=[USER, ASSISTANT, IMAGE, FAKE_IMAGE, GLOBAL_IMAGE],
        padding_side="right",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
