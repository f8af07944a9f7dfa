import errno
import os
import shutil
import subprocess

import pytest
import torch

from learner.saving.atomic_directory import DiskFull, atomic_directory, recover


def write(target, text):
    with atomic_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "state").write_text(text)


def read(target):
    return (target / "sub" / "state").read_text()


def test_a_folder_is_created_and_replaced(tmp_path):
    target = tmp_path / "checkpoints" / "last"
    write(target, "first")
    write(target, "second")
    assert read(target) == "second"
    assert [path.name for path in target.parent.iterdir()] == ["last"]


def test_an_error_while_writing_keeps_the_previous_folder(tmp_path):
    target = tmp_path / "last"
    write(target, "first")
    with pytest.raises(FileNotFoundError, match="absent"), atomic_directory(target) as folder:
        shutil.copytree(target, folder / "copied").joinpath("absent", "state").write_text("second")
    assert read(target) == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_nothing_is_visible_before_it_is_complete(tmp_path):
    target = tmp_path / "last"
    with atomic_directory(target) as folder:
        (folder / "state").write_text("new")
        assert not target.exists()
    assert target.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_keeps_the_previous_folder(tmp_path, number):
    target = tmp_path / "last"
    write(target, "first")
    with pytest.raises(DiskFull, match=r"last: the disk became full.*before is unchanged"), atomic_directory(target):
        raise OSError(number, os.strerror(number))
    assert read(target) == "first"


def test_too_little_space_is_refused_before_writing(tmp_path):
    with (
        pytest.raises(DiskFull, match=r"needs .* MB and the disk has .* MB free"),
        atomic_directory(tmp_path / "last", needed_bytes=1 << 60),
    ):
        pytest.fail("must not start to write")


def test_a_really_full_disk_is_recognised_behind_torchs_own_error(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True, timeout=20
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        write(tmp_path / "last", "first")
        with pytest.raises(DiskFull, match="became full"), atomic_directory(tmp_path / "last") as folder:
            torch.save(torch.zeros(1 << 18), folder / "weights.pt")
        assert read(tmp_path / "last") == "first"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True, timeout=20)


def test_a_crash_between_the_renames_is_undone(tmp_path):
    target = tmp_path / "last"
    write(target, "first")
    os.rename(target, tmp_path / ".last.old")
    recover(target)
    assert read(target) == "first"


def test_a_crash_before_the_old_folder_is_removed_keeps_the_new_one(tmp_path):
    target = tmp_path / "last"
    write(target, "second")
    write(tmp_path / ".last.old", "first")
    recover(target)
    assert read(target) == "second"
    assert not (tmp_path / ".last.old").exists()
