import pytest
import torch

from learner.checksums import tensor_checksum, tensor_checksums


def test_checksum_depends_on_values_shape_and_dtype_but_not_on_layout():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert tensor_checksum(tensor.t().contiguous().t()) == tensor_checksum(tensor)
    different = [tensor.reshape(3, 2), tensor.view(torch.int32), tensor + torch.finfo(torch.float32).eps * 4]
    assert tensor_checksum(tensor) not in {tensor_checksum(other) for other in different}


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_checksums_of_many_are_those_of_each_in_the_order_of_the_tensors(count):
    tensors = {f"w{9 - number}": torch.full((number + 1, 3), float(number)) for number in range(count)}
    assert list(tensor_checksums(tensors).items()) == [(name, tensor_checksum(one)) for name, one in tensors.items()]
