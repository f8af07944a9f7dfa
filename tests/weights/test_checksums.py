import pytest
import torch

from weights.checksums import bytes_checksums, bytes_of, dtype_name, tensor_checksum, tensor_checksums


def test_checksum_depends_on_values_shape_and_dtype_but_not_on_layout():
    tensor = torch.arange(6.0).reshape(2, 3)
    assert tensor_checksum(tensor.t().contiguous().t()) == tensor_checksum(tensor)
    different = [tensor.reshape(3, 2), tensor.view(torch.int32), tensor + torch.finfo(torch.float32).eps * 4]
    assert tensor_checksum(tensor) not in {tensor_checksum(other) for other in different}


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_checksums_of_many_are_those_of_each_in_the_order_of_the_tensors(count):
    tensors = {f"w{9 - number}": torch.full((number + 1, 3), float(number)) for number in range(count)}
    assert list(tensor_checksums(tensors).items()) == [(name, tensor_checksum(one)) for name, one in tensors.items()]


def test_checksums_of_bytes_are_those_of_their_tensors_whether_an_array_or_a_tensor_has_them():
    tensors = [torch.arange(6.0).reshape(2, 3), torch.ones(5, dtype=torch.bfloat16), torch.tensor(7)]
    contents = [(dtype_name(one.dtype), tuple(one.shape), bytes_of(one)) for one in tensors]
    expected = [tensor_checksum(one) for one in tensors]
    assert bytes_checksums(contents) == expected
    assert bytes_checksums([(dtype, shape, torch.as_tensor(raw)) for dtype, shape, raw in contents]) == expected
    damaged = contents[0][2].copy()
    damaged[-1] ^= 1
    assert bytes_checksums([(*contents[0][:2], damaged)]) != expected[:1]
