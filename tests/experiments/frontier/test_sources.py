from pathlib import Path

from experiments.frontier.sources import sources_of, weights_digest
from presets.places import BASE, TINY


def test_digests_are_of_the_weights_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for part in ("actor", "editor/transformer", "editor/vae"):
        (run / "models" / part).mkdir(parents=True)
        (run / "models" / part / "model.safetensors").write_bytes(part.encode())
    first = sources_of(BASE / TINY, run, None)
    assert set(first) == {"raw", "trained"}
    (run / "models" / "actor" / "README.md").write_text("words")
    (run / "models" / "editor" / "vae" / "model.safetensors").write_bytes(b"linked")
    assert sources_of(BASE / TINY, run, None) == first
    (run / "models" / "editor" / "transformer" / "model.safetensors").write_bytes(b"other")
    assert sources_of(BASE / TINY, run, None)["trained"] != first["trained"]
    assert sources_of(BASE / TINY, None, run)["imitating"] == weights_digest(run / "models" / "actor")
