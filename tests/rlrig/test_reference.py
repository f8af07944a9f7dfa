import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

from presets.mistakes import section_of
from presets.run_config import RunConfig
from rlrig.reference import DOCS, TABLES, configuration_page, schema_table, with_tables, write_pages
from tests.reports.synthetic_run import write_run

TRAJECTORIES = (DOCS / "trajectories.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", TRAJECTORIES, re.DOTALL)


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    inner = [section_of(field.annotation) for field in model.model_fields.values()]
    return {model}.union(*(models(one) for one in inner if one is not None))


def test_the_committed_pages_agree_with_the_types() -> None:
    """`python -m rlrig.reference --write` makes them agree."""
    assert (DOCS / "configuration.md").read_text() == configuration_page()
    assert with_tables(TRAJECTORIES) == TRAJECTORIES


def test_every_key_has_a_meaning_and_stands_on_the_page() -> None:
    page = configuration_page()
    for model in models(RunConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no docstring"
            if section_of(field.annotation) is None:
                assert f"| `{name}` |" in page
    assert "*needed*" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 6 for row in rows)


def test_defaults_and_ranges_are_those_of_the_types() -> None:
    page = configuration_page()
    assert "| `group_size` | whole number | `8` | ≥ 2 |" in page
    assert "| `image_size` | whole number | `64` | ≥ 16, multiple of 8 |" in page
    assert "| `max_tokens` | whole number | *follows* `rollout.max_answer_tokens` | ≥ 1 |" in page
    editor = page.split("## `learner.editor`")[1].split("\n## ")[0]
    assert "| `clip_low` | number | `0.001` | > 0, < 1 |" in editor
    assert "`learning_rate`" not in editor  # as for the Actor
    assert "## `learner.actor.lora`" in page


def test_every_column_is_in_its_table() -> None:
    for schema in TABLES.values():
        table = schema_table(schema)
        assert all(f"| `{name}` |" in table for name in schema.names)
        assert all(field.metadata and field.metadata[b"doc"] for field in schema)
    assert "| `flow.latents` | binary |" in schema_table(TABLES["trajectory"])


def test_a_page_without_a_mark_is_refused_and_pages_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks <!-- table trajectory: begin -->"):
        with_tables("nothing")
    (tmp_path / "trajectories.md").write_text(
        re.sub(r"(begin -->\n).*?(<!-- table)", r"\1\2", TRAJECTORIES, flags=re.S)
    )
    architecture = (DOCS / "architecture.md").read_text()
    (tmp_path / "architecture.md").write_text(
        re.sub(r"(begin -->\n).*?(<!-- \w+: end)", r"\1\2", architecture, flags=re.S)
    )
    write_pages(tmp_path)
    assert (tmp_path / "trajectories.md").read_text() == TRAJECTORIES
    assert (tmp_path / "architecture.md").read_text() == architecture


def run_snippet(code: str, folder: Path) -> str:
    """What a snippet of the page prints in a folder that holds `runs/NAME`."""
    path = os.pathsep.join([str(DOCS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "RAY_ADDRESS": "local", "HF_HOME": str(folder / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, its report, and an editor's flow in its last update."""
    folder = tmp_path_factory.mktemp("snippets")
    run = write_run(folder / "runs" / "NAME", updates=2, flow=True)
    from reports.report import write_report

    write_report([str(run)])
    return folder


def test_the_page_has_a_snippet_for_each_tool() -> None:
    for tool in ("pandas", "pyarrow.dataset", "datasets", "ray", "rollout.trajectory"):
        assert any(re.search(rf"^(import|from) {tool}\b", snippet, re.MULTILINE) for snippet in SNIPPETS)


@pytest.mark.parametrize("code", [code for code in SNIPPETS if "import ray" not in code])
def test_a_snippet_prints_what_it_promises(code: str, folder: Path) -> None:
    if "from datasets" in code and find_spec("datasets") is None:
        pytest.skip("Hugging Face datasets is not installed")
    printed = run_snippet(code, folder)
    expected = {
        "from datasets": r"^\d+ move .* 0\.\d+ \(64, 64\)$",
        "held_out": r"mean\s+0\.(09|1)",
        "report.parquet": r"\s0(\.0)?\s+actor\s+0\.\d+\s+0\.\d+\s+0\.\d+",
        'columns=["flow"]': r"\(3, 4, 2\) 2",
        "edit_prompt": r"move .*",
        "groupby": r"editor\s+2 ",
    }
    pattern = next(pattern for mark, pattern in expected.items() if mark in code)
    assert re.search(pattern, printed), printed


@pytest.mark.engines
@pytest.mark.long
def test_ray_data_reads_trajectories(folder: Path) -> None:
    (code,) = (code for code in SNIPPETS if "import ray" in code)
    printed = run_snippet(code, folder)
    assert [line.split()[0] for line in printed.splitlines() if re.match(r"\d+ 0\.\d+", line)] == ["0", "1", "2", "3"]
