"""The engine of a replica: Ray's on vLLM, with what a small machine saves."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from vllm.platforms import current_platform

from serving.engines.forked import engines_forked, models_inspected_here
from serving.engines.ray_llm import VLLMEngine

_log = logging.getLogger(__name__)
_FORKED_S = 120.0  # 8 on an idle machine


class ReplicaEngine(VLLMEngine):  # type: ignore[misc]
    """On CPUs, vLLM's only worker is inside the engine's process, which saves one of 0.8 GB and 8 s of imports; and the
    engine's process is a fork of the replica's, which saves 13 s more."""

    def _prepare_engine_config(self, callback_ctx: Any) -> Any:
        arguments, frontend, config = super()._prepare_engine_config(callback_ctx)
        if config.parallel_config.world_size == 1 and config.device_config.device_type == "cpu":
            config.parallel_config.distributed_executor_backend = "uni"
        return arguments, frontend, config

    async def start(self) -> None:
        # A folder needs no download; looking for one would start another process with all imports.
        model = self.llm_config.get_engine_config().actual_hf_model_id
        self.llm_config.get_or_create_callback().ctx.run_init_node = not Path(model).is_dir()
        if not current_platform.is_cpu():
            await super().start()
            return
        with models_inspected_here():
            await self._start_forked()

    async def _start_forked(self) -> None:
        with engines_forked(_FORKED_S) as forking:
            try:
                await super().start()
                return
            except Exception:  # whatever vLLM makes of an engine that it lost
                if not forking.broken:
                    raise
                _log.exception("The forked engine crashed or hung at its start; starting one in a new interpreter.")
        await super().start()
