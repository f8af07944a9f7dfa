from pathlib import Path

import pytest

RUN_FILE = """\
seed: 3
stages:
  - {stage: actor, updates: 2}
  - {stage: editor, updates: 3}
models: {flux: models/flux, checker: models/checker, actor: models/actor}
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A run file beside model folders that hold only their index, which is all that the configuration looks at."""
    for name, index in (("flux", "model_index.json"), ("checker", "config.json"), ("actor", "config.json")):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / index).write_text("{}")
    path = tmp_path / "run.yaml"
    path.write_text(RUN_FILE)
    return path
