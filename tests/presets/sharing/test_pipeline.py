"""One pipeline that draws and edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.checks import cpu_demand
from presets.errors import BadInput
from presets.run_file import load_config

LORA = "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q]}"
SHARE = ["stages=[{stage: editor, updates: 1}]", "diffuser.share=true", LORA]


def test_the_editors_workers_need_no_place_for_a_diffuser(run_file: Path) -> None:
    config = load_config(run_file, SHARE)
    assert cpu_demand(config)["diffuser"] == 0
    assert cpu_demand(load_config(run_file))["diffuser"] > 0


def test_the_diffuser_is_called_as_the_editor_is(run_file: Path) -> None:
    config = load_config(run_file, [*SHARE, "editor.max_prompt_tokens=512", "editor.dtype=bfloat16"])
    assert (config.diffuser.max_prompt_tokens, config.diffuser.dtype) == (512, "bfloat16")
    assert config.prompt_limits.prompt_tokens == 512
    assert type(config).model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages=[{stage: editor, updates: 1}]", "diffuser.share=true"], "all weights of the editor change"),
        ([*SHARE, "models.editor=models/checker"], r"models\.editor .* is not models\.flux"),
        ([*SHARE, "editor.max_workers=3"], r"diffuser\.share: true is refused with editor\.max_workers 3"),
        ([*SHARE, "diffuser.guidance=2.0"], r"diffuser\.guidance: 2\.0 is refused with diffuser\.share: .* 1\.0"),
        ([*SHARE, "diffuser.gpus=1"], r"diffuser\.gpus: 1(\.0)? is refused with diffuser\.share"),
    ],
)
def test_what_one_process_cannot_be_is_refused_by_key(run_file: Path, overrides: list[str], message: str) -> None:
    flux = run_file.parent / "models" / "flux" / "model_index.json"
    (run_file.parent / "models" / "checker" / "model_index.json").write_text(flux.read_text())
    with pytest.raises(BadInput, match=message):
        load_config(run_file, overrides)
