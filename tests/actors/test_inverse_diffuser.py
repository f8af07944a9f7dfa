import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from actors.flow_path import FlowSde
from actors.inverse_diffuser import InverseDiffuser
from weights.checksums import tensors_digest
from weights.manifest import WeightMismatch, pack
from weights.receipts import verify_receipts

PROMPT = "move red circle left of blue square"


@pytest.fixture
def editor(flux_folder) -> InverseDiffuser:
    return InverseDiffuser(flux_folder, replica="e0")


def weights(editor: InverseDiffuser, add: float = 0.1) -> dict[str, torch.Tensor]:
    return {name: tensor + add for name, tensor in editor.model.transformer.state_dict().items()}


def test_new_weights_are_loaded_proven_and_used(editor, images):
    update = pack("editor", 4, weights(editor))
    before = editor.edit(images[:1], [PROMPT], [1], FlowSde(0.7, 3))[0]
    digest = tensors_digest(editor.model.transformer.state_dict())
    receipt = editor.apply_weights(update)
    after = editor.edit(images[:1], [PROMPT], [1], FlowSde(0.7, 3))[0]
    verify_receipts(update.manifest, [receipt], ["e0"])
    assert (receipt.version, receipt.previous_digest) == (4, digest)
    assert receipt.digest == tensors_digest(editor.model.transformer.state_dict()) != digest
    assert (before.version, after.version, editor.version()) == (0, 4, 4)
    assert np.abs(before.path.latents - after.path.latents).max() > 1e-3


def test_an_editor_that_computes_with_other_weights_than_it_holds_is_told_by_its_probe(editor):
    """Its network is replaced, so that new weights go into parameters that nothing uses."""
    editor.model.pipe.transformer = copy.deepcopy(editor.model.transformer)
    update = pack("editor", 1, weights(editor))
    receipt = editor.apply_weights(update)
    assert receipt.digest == update.manifest.digest
    with pytest.raises(WeightMismatch, match=r"replica 'e0'.*does not use them"):
        verify_receipts(update.manifest, [receipt])


def test_the_digest_is_that_of_the_loaded_parameters(editor):
    update = pack("editor", 1, weights(editor))
    first = editor.apply_weights(update)
    with torch.no_grad():
        editor.model.transformer.proj_out.bias += 1
    again = editor.apply_weights(pack("editor", 2, editor.model.transformer.state_dict()))
    assert again.previous_digest == first.digest != again.digest


def drop(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != "proj_out.bias"}


def narrow(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"proj_out.bias": tensors["proj_out.bias"].bfloat16()}


def reshape(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"proj_out.bias": tensors["proj_out.bias"].reshape(2, -1)}


@pytest.mark.parametrize(
    ("policy", "change", "named"),
    [
        ("actor", lambda tensors: tensors, "this replica holds policy 'editor'"),
        ("editor", drop, r"1 parameters of the replica were not sent \['proj_out.bias'\]"),
        ("editor", lambda tensors: tensors | {"extra": torch.ones(2)}, r"1 sent ones it does not have \['extra'\]"),
        ("editor", narrow, "'proj_out.bias' is torch.bfloat16"),
        ("editor", reshape, r"'proj_out.bias' is torch.float32 \(2, 8\), the replica has torch.float32 \(16,\)"),
    ],
)
def test_an_update_that_does_not_fit_changes_nothing(editor, policy, change, named):
    digest = tensors_digest(editor.model.transformer.state_dict())
    with pytest.raises(WeightMismatch, match=f"replica 'e0'.*{named}"):
        editor.apply_weights(pack(policy, 1, change(weights(editor))))
    assert tensors_digest(editor.model.transformer.state_dict()) == digest
    assert editor.version() == 0


def test_damaged_bytes_are_refused(editor):
    update = pack("editor", 1, weights(editor))
    damaged = [bucket.copy() for bucket in update.buckets]
    damaged[-1][update.manifest.tensors[-1].offset] ^= 1
    with pytest.raises(WeightMismatch, match="checksum"):
        editor.apply_weights(replace(update, buckets=damaged))
    assert editor.version() == 0
