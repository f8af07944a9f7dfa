"""Settings of one vLLM-served VLM, the Actor or the Checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from scenes.section import Section
from serving.answers.form import AnswerForm
from weights.transports.exchange import TransportName

_BACKENDS = {"object_store": "object_store", "nccl": "proven_nccl", "ipc": "proven_ipc"}  # serving.receiving.receiver
_OURS = {
    "model", "max_model_len", "max_num_seqs", "dtype", "kv_cache_memory_bytes", "mm_processor_cache_gb",
    "weight_transfer_config", "logprobs_mode", "enable_lora", "max_loras", "max_cpu_loras", "max_lora_rank",
    "structured_outputs_config", "enable_sleep_mode",
}  # fmt: skip


_OF_ITS_PART = 0.92  # of a GPU's part, as vLLM takes it of a whole one; the rest is CUDA's own
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has room for


class VlmConfig(Section):
    """One VLM and what its replicas may use. An unknown field is refused."""

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

    gpus: float = Field(0.0, ge=0)
    """GPUs of a replica, which is also its tensor-parallel size; or, below 1, its part of one GPU, of whose memory
    vLLM then takes no more than that part; 0 runs vLLM's CPU build."""

    offload: Literal["none", "cpu"] = "none"
    """Where a replica's weights are while the learner works: on its GPU, or in CPU memory (`cpu`, vLLM's sleep of level
    1, which gives up the key-value cache), so that roles on the same GPU fit there by turns."""

    transport: TransportName = "object_store"
    """What brings new weights to its replicas."""

    threads: int = Field(1, ge=1)
    """Threads of one replica's engine on a CPU. More than the idle cores slows everything down."""

    start_deadline_s: float = Field(300.0, gt=0)
    """Seconds from deploying until every replica must be ready."""

    call_deadline_s: float = Field(120.0, gt=0)
    """Seconds after which a request, or an update of the weights, counts as failed."""

    system_prompt: str | None = Field(None, min_length=1)
    """System prompt of each request; null: that of `rollout.dialogue` for the Actor, if it has one, none for the
    Checker."""

    answer_form: AnswerForm | None = None
    """Form that answers must have; null: any. A run gives the Actor `rollout.answer_form`."""

    adapter: Literal["beside", "merged"] = "beside"
    """Where a replica has the adapter that a learner trains: beside its weights, as the learner has it, with vLLM's own
    LoRA; or merged, added to them, for engines without LoRA and for layers that vLLM cannot adapt. Merged in a coarse
    number format, most of a small change is rounded away; then it is refused."""

    adapter_rank: int | None = Field(None, ge=1)
    """Rank of the adapters that replicas hold beside their weights; null: they hold none, and add those that come to
    them. A run gives it the value of `learner.actor.lora.rank`, or none with `adapter: merged`."""

    base_system_prompt: str | None = Field(None, min_length=1)
    """System prompt of what is answered without the adapter beside the weights. Where the Actor's replicas are the
    Checker, too, a run gives it the Checker's."""

    engine: dict[str, Any] = Field(default_factory=dict)
    """Further vLLM engine arguments, for example `{"quantization": "fp8"}`."""

    @field_validator("model")
    @classmethod
    def _folder_is_complete(cls, model: str) -> str:
        try:
            folder = Path(model).expanduser()
            there = folder.is_dir()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, or the home of nobody
            raise ValueError(f"{model[:80]!r} names no folder ({error}); give a model folder or a hub id") from error
        if there:
            if not (folder / "config.json").is_file():
                raise ValueError(f"{model!r} holds no config.json; give a folder that save_pretrained wrote")
            return str(folder.resolve())
        if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
            raise ValueError(f"the folder {model!r} does not exist; give a model folder or a hub id 'owner/name'")
        return model

    @field_validator("gpus")
    @classmethod
    def _gpus_are_whole_or_a_part(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError(f"{gpus:g} is refused: give a part of one GPU, below 1, or a whole number of them")
        return gpus

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
            "logprobs_mode": "processed_logprobs",  # of the distribution that is sampled from
            "weight_transfer_config": {"backend": _BACKENDS[self.transport]},
            "worker_extension_cls": "serving.receiving.receiver.WeightReports",
            "enforce_eager": self.gpus == 0,  # compiling takes a minute that a small CPU model never earns back
            "skip_mm_profiling": self.gpus == 0,
            # A seeded request whose prompt is split into chunks kills vLLM's CPU engine (it rewinds a CPU generator).
            **({} if self.gpus else {"enable_chunked_prefill": False}),
            **({} if self.adapter_rank is None else _lora(self.adapter_rank)),
            # The backend by which the learner repeats what was allowed.
            **({} if self.answer_form is None else {"structured_outputs_config": {"backend": "xgrammar"}}),
            **({"enable_sleep_mode": True} if self.offload == "cpu" and self.gpus else {}),
            "use_tqdm_on_load": False,
            "disable_log_stats": True,
            "tensor_parallel_size": self.devices,
            **({"gpu_memory_utilization": self.gpus * _OF_ITS_PART} if 0 < self.gpus < 1 else {}),
            **self.engine,
        }

    @property
    def devices(self) -> int:
        """Over how many GPUs a replica is split; 1 on the CPU, too."""
        return max(1, int(self.gpus))

    @property
    def bundles(self) -> list[dict[str, float]]:
        """A replica's placement group, by Ray's names of resources: a bundle for each GPU, or one without."""
        share = {"GPU": min(1.0, self.gpus), "CPU": self.cpus} if self.gpus else {"CPU": self.cpus}
        return [share] * self.devices

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
                # Replicas fork their engine; gRPC's handlers would start a thread there on the replica's connections.
                "GRPC_ENABLE_FORK_SUPPORT": "0",
                "TORCHDYNAMO_DISABLE": "1",  # vLLM's sampler compiles C++ for 20 s at its first request otherwise
            }
        return variables


def _lora(rank: int) -> dict[str, Any]:
    """Arguments of vLLM's engine for one adapter of a rank."""
    room = next((each for each in _LORA_RANKS if each >= rank), rank)
    return {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 1, "max_lora_rank": room}
