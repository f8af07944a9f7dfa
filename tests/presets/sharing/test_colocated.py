"""Workers of the editor that are the ranks of its learner."""

from __future__ import annotations

from pathlib import Path

import pytest

from presets.checks import cpu_demand
from presets.errors import BadInput
from presets.run_file import dump_config, load_config
from presets.sharing.colocated import is_colocated, own_learners

LORA = "learner.editor.lora={rank: 4, alpha: 8.0, target_modules: [to_q]}"
BOTH = ["editor.colocated=true", LORA]
GPUS = ["editor.gpus=1", "editor.workers=2", "ray.address=auto"]


def test_a_rank_is_a_worker(run_file: Path, tmp_path: Path) -> None:
    config = load_config(run_file, [*BOTH, "editor.workers=3", "editor.gpus=0.75", "editor.cpus=1.5"])
    editor = config.learner.editor
    assert (editor.ranks, editor.gpus_per_rank, editor.cpus_per_rank, editor.device) == (3, 0.75, 1.5, "cuda")
    (run_file.parent / "again.yaml").write_text(dump_config(config))
    assert load_config(run_file.parent / "again.yaml") == config
    assert load_config(run_file, BOTH).learner.editor.ranks == 1


def test_what_shares_a_gpu_does_so_with_the_ranks(run_file: Path) -> None:
    config = load_config(run_file, [*BOTH, "placement.share=[[editor, learner.actor]]", "ray.address=auto"])
    assert config.learner.editor.gpus_per_rank == config.editor.gpus == 0.5001


def test_its_learner_has_no_processes_of_its_own(run_file: Path) -> None:
    apart, both = load_config(run_file, [LORA, "learner.editor.ranks=4"]), load_config(run_file, BOTH)
    assert (cpu_demand(apart)["learner"], cpu_demand(both)["learner"]) == (4.0, 1.0)  # the Actor's is left
    assert (list(own_learners(apart)), list(own_learners(both))) == (["actor", "editor"], ["actor"])
    alone = load_config(run_file, [*BOTH, "stages=[{stage: editor, updates: 1}]"])
    assert (cpu_demand(alone)["learner"], own_learners(alone)) == (0.0, {})


def test_without_a_stage_of_the_editor_nothing_is_shared_and_nothing_refused(run_file: Path) -> None:
    config = load_config(run_file, ["editor.colocated=true", "stages=[{stage: actor, updates: 1}]"])
    assert not is_colocated(config)
    assert is_colocated(load_config(run_file, BOTH))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["editor.colocated=true"], r"learner\.editor\.lora: null is refused with editor\.colocated: .* Set learner"),
        ([*BOTH, "learner.editor.ranks=2"], r"learner\.editor\.ranks: 2 is refused .* editor\.workers is 1\. Set both"),
        ([*BOTH, *GPUS, "learner.editor.gpus_per_rank=0.9"], r"gpus_per_rank: 0\.9 is refused .* editor\.gpus is 1\."),
        ([*BOTH, "learner.editor.cpus_per_rank=2"], r"cpus_per_rank: 2 is refused .* editor\.cpus is 1\."),
        ([*BOTH, "editor.dtype=bfloat16"], r"learner\.editor\.dtype: float32 is refused .* editor\.dtype is bfloat16"),
        (
            [*BOTH, "editor.workers=2", "learner.editor.zero_stage=3"],
            r"zero_stage: 3 is refused .* Set learner\.editor\.zero_stage=2",
        ),
        ([*BOTH, "rollout.max_staleness=1"], r"rollout\.max_staleness: 1 is refused .* Set rollout\.max_staleness=0"),
        ([*BOTH, "learner.editor.ema=0.9"], r"learner\.editor\.ema: 0\.9 is refused .* Set learner\.editor\.ema=0"),
        ([*BOTH, "editor.max_workers=3"], r"editor\.max_workers: 3 is refused .* Leave it out"),
        ([*BOTH, "editor.offload=cpu"], r"  editor\.offload: 'cpu' is refused .* Set editor\.offload=none"),
        ([*BOTH, "learner.editor.offload=cpu"], r"learner\.editor\.offload: 'cpu' is refused .* Set learner"),
        ([*BOTH, "sync.editor=gloo"], r"sync\.editor: 'gloo' is refused .* Leave it out"),
        (
            [*BOTH, "placement.share=[[actor, learner.editor]]", "ray.address=auto"],
            r"placement\.share: 'learner\.editor' is refused .* Name the editor alone",
        ),
        ([*BOTH, *GPUS, "editor.gpus=0.5"], r"editor\.gpus: 0\.5 is refused .* and 2 workers: .* more than 0\.5"),
    ],
)
def test_what_one_process_cannot_be_is_refused_by_key(run_file: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_config(run_file, overrides)
