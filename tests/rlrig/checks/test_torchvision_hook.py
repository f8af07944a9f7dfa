"""torchvision's CUDA build beside a CPU torch: an environment in which it is imported, and one in which it is not."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from rlrig.checks.torchvision_hook import install

pytestmark = pytest.mark.skipif("+cpu" not in version("torch"), reason="torch is no CPU build here")
USE = "import torch, torchvision.transforms.v2.functional as F; print(F.resize(torch.ones(1, 8, 8), [4, 4]).sum())"


def in_a_process(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_every_process_of_this_environment_imports_it() -> None:
    done = in_a_process(USE)
    assert done.stdout == "tensor(16.)\n", done.stderr
    assert in_a_process("import sys, rlrig; assert 'torch' not in sys.modules").returncode == 0  # it only watches


def test_without_the_hook_the_import_raises(tmp_path: Path) -> None:
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    bare = f"import sys; sys.path.append({packages!r}); "  # without its `.pth` files
    assert "operator torchvision::nms does not exist" in in_a_process(bare + USE, "-S").stderr
    install(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"rlrig_torchvision.py", "rlrig_torchvision.pth"}
    watched = f"import site; site.addsitedir({str(tmp_path)!r}); "
    assert in_a_process(bare + watched + USE, "-S").stdout == "tensor(16.)\n"
