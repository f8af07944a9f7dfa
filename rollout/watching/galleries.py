"""Pictures of evaluations in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.air.integrations.mlflow import MLflowLoggerCallback


class MlflowWithPictures(MLflowLoggerCallback):  # type: ignore[misc]  # untyped in Ray
    """Ray Tune's MLflow callback, with a database and artifacts in one folder. Pictures have key and step, so that
    MLflow shows them as a gallery that a slider moves through."""

    def __init__(self, folder: Path) -> None:
        super().__init__(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", experiment_name="rlrig")
        self._artifacts = (folder / "artifacts").as_uri()

    def setup(self, *arguments: Any, **keywords: Any) -> None:
        """As Ray's, which would put artifacts into the folder that the command was called in."""
        place = {"artifact_location": self._artifacts, "experiment_name": self.experiment_name}
        self.mlflow_util.setup_mlflow(tracking_uri=self.tracking_uri, **place)
        super().setup(*arguments, **keywords)

    def log_pictures(self, trial: Any, step: int, files: Mapping[str, Path]) -> None:
        """PNG files under their names, at a step."""
        from mlflow.tracking import MlflowClient
        from PIL import Image

        for name, file in files.items():
            with Image.open(file) as image:
                MlflowClient(self.tracking_uri).log_image(
                    self._trial_runs[trial], image.convert("RGB"), key=name, step=step, synchronous=True
                )
