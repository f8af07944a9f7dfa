"""Ray Tune's W&B callback, writing into a folder, with the errors of its logging process raised where it is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from PIL import Image
from ray.air.integrations.wandb import WANDB_MODE_ENV_VAR, WandbLoggerCallback


class OfflineWandb(WandbLoggerCallback):
    """Offline unless WANDB_MODE says otherwise; `wandb sync FOLDER/wandb/offline-run-*` uploads it later.

    Args:
        folder: what it writes into.
        upload_timeout_s: seconds that the logging process may take to finish.

    Raises:
        RuntimeError: wandb is not installed, or one that Ray cannot use.
    """

    def __init__(self, folder: Path, upload_timeout_s: float) -> None:
        self._mode = os.environ.get(WANDB_MODE_ENV_VAR, "offline")
        self._timeout_s = upload_timeout_s
        super().__init__(project="rlrig", upload_timeout=int(upload_timeout_s), dir=str(folder), mode=self._mode)

    def setup(self, *arguments: Any, **keywords: Any) -> None:
        """As Ray's. It looks for a key unless the environment says that none is needed."""
        os.environ[WANDB_MODE_ENV_VAR] = self._mode
        super().setup(*arguments, **keywords)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """As Ray's.

        Raises:
            ray.exceptions.RayError: the logging process has ended.
        """
        super().log_trial_result(iteration, trial, result)
        self._raise_what_ended(0.0)

    def log_pictures(self, trial: Any, step: int, files: Mapping[str, Path]) -> None:
        """PNG files under their names, at a step: Ray's callback makes images of arrays (H, W, 3)."""
        shown: dict[str, Any] = {}
        for name, file in files.items():
            with Image.open(file) as image:
                shown[f"gallery/{name}"] = np.asarray(image.convert("RGB"))
        self.log_trial_result(step, trial, {**shown, "training_iteration": step})

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """Wait until all is written.

        Raises:
            ray.exceptions.RayError: the logging process failed.
            TimeoutError: it did not finish in time, and was ended.
        """
        self._signal_logging_actor_stop(trial=trial)
        try:
            if not self._raise_what_ended(self._timeout_s):
                raise TimeoutError(f"W&B did not finish within {self._timeout_s:g} s; its last records may be lost")
        finally:
            self._cleanup_logging_actors(timeout=0, kill_on_timeout=True)

    def _raise_what_ended(self, timeout_s: float) -> bool:
        """Whether the logging process has ended, within this time."""
        ended, _ = ray.wait(list(self._trial_logging_futures.values()), timeout=timeout_s)
        ray.get(ended)
        return bool(ended)
