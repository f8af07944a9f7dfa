"""A process that reads one tokenizer and may die of it: a JSON object with `path`, `ids` and `bytes` on standard input,
the text of each id as a JSON list on standard output. It is started by `tokens.py` and imports nothing of this
repository."""

import json
import resource
import sys


def main() -> None:
    """Read, limit this process, load, answer."""
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (asked["bytes"], asked["bytes"]))
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(asked["path"])
    texts = []
    for token in asked["ids"]:
        name = loaded.id_to_token(token) if 0 <= token < 2**32 else None
        text = "" if name is None else loaded.decode([token], skip_special_tokens=False) or name
        texts.append(text[: asked["longest"]])
    json.dump(texts, sys.stdout)


if __name__ == "__main__":
    main()
