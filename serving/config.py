"""Settings of one vLLM-served VLM, the Actor or the Checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from learner.transports.exchange import TransportName

_BACKENDS = {"object_store": "object_store", "nccl": "proven_nccl", "ipc": "proven_ipc"}  # serving.weight_receiver
_OURS = {
    "model", "max_model_len", "max_num_seqs", "dtype", "kv_cache_memory_bytes", "mm_processor_cache_gb",
    "weight_transfer_config",
}  # fmt: skip


class VlmConfig(BaseModel):
    """One VLM and what its replicas may use. An unknown field is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    model: str
    """A folder in transformers' format, or a hub id."""

    max_model_len: int | None = Field(None, ge=8)
    """Most tokens of one request: prompt, image tokens and answer. Without it, as many as the model knows."""

    max_tokens: int = Field(64, ge=1)
    """Most tokens of one answer."""

    max_num_seqs: int = Field(64, ge=1)
    """Most answers that a replica generates at the same time."""

    kv_cache_gib: float | None = Field(0.125, gt=0)
    """Memory of a replica's key-value cache, in GiB; None leaves it to vLLM."""

    image_cache_gib: float = Field(0.0625, ge=0)
    """Memory in which a replica keeps prepared images, in GiB. Members of a group ask about the same image; no later
    group does."""

    dtype: str = "float32"
    """Number format of the weights. The learner's log-probabilities can match to 1e-3 only in float32."""

    replicas: int = Field(1, ge=1)
    """How many replicas serve this model, or the least number of them where `max_replicas` says more."""

    max_replicas: int | None = Field(None, ge=1)
    """Replicas that Ray Serve may start as calls come, and end again; null: always `replicas`."""

    cpus: float = Field(0.1, gt=0)
    """Logical CPUs that Ray reserves for a replica; it counts places, it limits nothing."""

    gpus: int = Field(0, ge=0)
    """GPUs of a replica, which is also its tensor-parallel size; 0 runs vLLM's CPU build."""

    transport: TransportName = "object_store"
    """What brings new weights to its replicas."""

    threads: int = Field(1, ge=1)
    """Threads of one replica's engine on a CPU. More than the idle cores slows everything down."""

    start_deadline_s: float = Field(300.0, gt=0)
    """Seconds from deploying until every replica must be ready."""

    call_deadline_s: float = Field(120.0, gt=0)
    """Seconds after which a request, or an update of the weights, counts as failed."""

    engine: dict[str, Any] = Field(default_factory=dict)
    """Further vLLM engine arguments, for example `{"quantization": "fp8"}`."""

    @field_validator("model")
    @classmethod
    def _folder_is_complete(cls, model: str) -> str:
        folder = Path(model).expanduser()
        if folder.is_dir():
            if not (folder / "config.json").is_file():
                raise ValueError(f"{model!r} holds no config.json; give a folder that save_pretrained wrote")
            return str(folder.resolve())
        if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
            raise ValueError(f"the folder {model!r} does not exist; give a model folder or a hub id 'owner/name'")
        return model

    @field_validator("engine")
    @classmethod
    def _engine_leaves_our_fields(cls, engine: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & engine.keys()):
            raise ValueError(f"{taken[0]!r} is set by its own field of this section; remove it from 'engine'")
        return engine

    @property
    def most_replicas(self) -> int:
        """Replicas at most."""
        return self.replicas if self.max_replicas is None else self.max_replicas

    @property
    def elastic(self) -> bool:
        """Whether Serve decides how many replicas there are."""
        return self.most_replicas > self.replicas

    @property
    def engine_arguments(self) -> dict[str, Any]:
        """The arguments of vLLM's engine."""
        return {
            "dtype": self.dtype,
            **({} if self.max_model_len is None else {"max_model_len": self.max_model_len}),
            "max_num_seqs": self.max_num_seqs,
            "kv_cache_memory_bytes": None if self.kv_cache_gib is None else int(self.kv_cache_gib * 2**30),
            "mm_processor_cache_gb": self.image_cache_gib,
            "limit_mm_per_prompt": {"image": 1},
            "weight_transfer_config": {"backend": _BACKENDS[self.transport]},
            "worker_extension_cls": "serving.weight_receiver.WeightReports",
            "enforce_eager": self.gpus == 0,  # compiling takes a minute that a small CPU model never earns back
            "skip_mm_profiling": self.gpus == 0,
            # A seeded request whose prompt is split into chunks kills vLLM's CPU engine (it rewinds a CPU generator).
            **({} if self.gpus else {"enable_chunked_prefill": False}),
            "use_tqdm_on_load": False,
            "disable_log_stats": True,
            "tensor_parallel_size": max(1, self.gpus),
            **self.engine,
        }

    @property
    def bundles(self) -> list[dict[str, float]]:
        """A replica's placement group, by Ray's names of resources: a bundle for each GPU, or one without."""
        share = {"GPU": 1, "CPU": self.cpus} if self.gpus else {"CPU": self.cpus}
        return [share] * max(1, self.gpus)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a replica and its engine process."""
        variables = {
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CONFIGURE_LOGGING": "0",  # it closes Serve's log: to a new controller the replica is broken
            "TRANSFORMERS_VERBOSITY": "error",
            "PYTHONWARNINGS": "ignore::FutureWarning",
            "TORCH_CPP_LOG_LEVEL": "ERROR",
            "TOKENIZERS_PARALLELISM": "false",
        }
        if Path(self.model).is_dir():
            variables["HF_HUB_OFFLINE"] = "1"
        if self.gpus == 0:
            variables |= {
                "OMP_NUM_THREADS": str(self.threads),
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # bound, two replicas would take the same cores
                # vLLM multiplies with code that oneDNN compiles anew for each number of tokens, and keeps 1,024 pieces
                # of 0.3 MB: an engine would grow for hours. Fewer are as fast.
                "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
                "TORCHDYNAMO_DISABLE": "1",  # vLLM's sampler compiles C++ for 20 s at its first request otherwise
            }
        return variables
