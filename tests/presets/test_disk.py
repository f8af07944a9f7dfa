from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets.disk import Disk, PolicyDisk, trajectories_on_disk
from presets.keep import KEPT
from presets.run_config import RunConfig
from presets.run_file import load_config
from tests.places import PRESET, ROOT

GIB = 2**30
NO_DATA = ["data.source=shape_world", "data.path=null"]
LARGE = ("cluster", "qwen-image-edit", "eight-gpus")
WORTH = list(reversed(KEPT))
sizes = st.floats(1, 1e9)
disks = st.builds(
    lambda actor, editor: Disk((actor, editor)),
    *(
        st.builds(PolicyDisk, st.just(policy), st.integers(1, 500), st.sampled_from(KEPT), sizes, sizes, sizes)
        for policy in ("actor", "editor")
    ),
)


def large(preset: str, *overrides: str) -> RunConfig:
    return load_config(ROOT / "presets" / f"{preset}.yaml", [*NO_DATA, *overrides])


@pytest.mark.parametrize("preset", LARGE)
def test_the_whole_run_of_a_large_preset_fits_in_its_disk(preset: str) -> None:
    config = large(preset)
    disk = trajectories_on_disk(config)
    assert disk.total < config.needs.disk_gib * GIB * 0.8  # the rest is for checkpoints and models
    everything = trajectories_on_disk(large(preset, "keep={actor: all, editor: all}"))
    assert everything.total > 2 * config.needs.disk_gib * GIB


def test_an_update_of_the_large_preset_in_numbers() -> None:
    actor, editor = trajectories_on_disk(large("cluster")).policies
    images = 16 * 3 * (21 + 1)  # prompts, turns, members and one start for all of them
    assert actor.images == editor.images == images * 512 * 512 * 1.8
    assert (actor.latents, editor.latents) == (0.0, 16 * 3 * 21 * 6 * 1024 * 64 * 4)  # states, tokens, channels
    assert (actor.updates, editor.updates) == (200, 300)
    assert editor.update("all") == editor.update("images") + editor.update("latents") - editor.update("none")


def test_the_clean_latent_of_an_edit_takes_the_place_of_its_path() -> None:
    path, clean = (
        trajectories_on_disk(large("cluster", f"learner.editor.algorithm={algorithm}")).policies[1].latents
        for algorithm in ("flow_grpo", "nft")
    )
    assert path == 6 * clean  # five stochastic steps


def test_pictures_and_latents_take_the_true_width_and_height() -> None:
    def editor(*overrides: str) -> PolicyDisk:
        return trajectories_on_disk(large("cluster", *overrides)).policies[1]

    square, wide = editor("diffuser.image_size=512"), editor("diffuser.width=1024", "diffuser.height=256")
    assert wide == square == editor("diffuser.width=256", "diffuser.height=1024")
    wider = editor("diffuser.width=768")
    assert (wider.images, wider.latents) == pytest.approx((1.5 * square.images, 1.5 * square.latents))


def test_episodes_as_groups_store_more_starts() -> None:
    images = [
        trajectories_on_disk(load_config(PRESET, [f"rollout.group={group}", "rollout.turns=3"])).policies[0].images
        for group in ("turn", "trajectory")
    ]
    per_image = 64 * 64 * 1.8 * 10  # of ten prompts
    assert images == pytest.approx([per_image * (3 * 8 + 3), per_image * (3 * 8 + 1 + 2 * 8)])


def test_only_the_updates_that_are_to_come_count() -> None:
    config = load_config(PRESET)
    assert [one.updates for one in trajectories_on_disk(config, since=40).policies] == [0, 8]


@given(disks, st.floats(0, 1e12))
def test_what_is_said_to_fit_does_and_nothing_better_would(disk: Disk, most: float) -> None:
    found = disk.fitting(most)

    def total(kept):
        return sum(one.total(kept[one.policy]) for one in disk.policies)

    def worth(kept):
        return sum(WORTH.index(one) for one in kept.values())

    policies = [one.policy for one in disk.policies]
    every = [dict(zip(policies, choice, strict=True)) for choice in product(KEPT, repeat=2)]
    allowed = [kept for kept in every if all(WORTH.index(kept[o.policy]) <= WORTH.index(o.kept) for o in disk.policies)]
    fits = [kept for kept in allowed if total(kept) <= most]
    assert (found is None) == (not fits)
    if found is not None:
        assert found in fits
        assert worth(found) == max(map(worth, fits))


def test_the_remedy_names_the_settings_that_change_and_what_they_take() -> None:
    actor = PolicyDisk("actor", 10, "images", 0.0, GIB, 0.0)
    editor = PolicyDisk("editor", 10, "all", 0.0, GIB, 4 * GIB)
    disk = Disk((actor, editor))
    assert disk.total == 60 * GIB
    assert disk.remedy(30 * GIB) == "keep.editor=images (20 GiB)"
    assert disk.remedy(0) == "keep.actor=none keep.editor=none (0 GiB)"
    assert Disk((replace(actor, texts=GIB),)).remedy(GIB) == ""
