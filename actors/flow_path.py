"""What a flow-matching sampler is asked to do, and the path it took. Neither torch nor ray is imported here."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Sampler = Literal["sde", "cps"]
_LATENT_DTYPE = np.dtype("<f4")  # the byte order of a stored path does not depend on the machine


@dataclass(frozen=True)
class FlowSde:
    """Settings of the sampler. Step k goes from σ_k to σ_{k+1}; steps are numbered 0 … `steps` − 1.

    Attributes:
        eta: noise level η > 0 (Flow-GRPO, arXiv 2505.05470).
        steps: denoising steps in all, at least 2.
        window: (start, stop) of the steps that are stochastic, stop excluded; all others are ODE steps. None: every
            step but the last. The last step (σ_next = 0) is never stochastic: what noise it adds no later step takes
            away, so it would stay in the image. Flow-GRPO trains on T − 1 of T steps for the same reason.
        shared_noise: let all edits of one image by one prompt start from the same noise, which follows from these, so
            that they differ in the noise of the steps alone.
        sampler: Flow-GRPO's SDE, or coefficient-preserving sampling, for which η is at most 1; see `actors.flow_sde`.

    Raises:
        ValueError: a setting that no sampler can follow; the message names it.
    """

    eta: float
    steps: int
    window: tuple[int, int] | None = None
    shared_noise: bool = False
    sampler: Sampler = "sde"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eta) and self.eta > 0):
            raise ValueError(f"eta is {self.eta}; it must be above 0 (without noise there is no log-probability)")
        if self.sampler == "cps" and self.eta > 1:
            raise ValueError(f"eta is {self.eta}; with the sampler cps it must be at most 1, where all noise is new")
        if self.steps < 2:
            raise ValueError(f"steps is {self.steps}; it must be at least 2, as the last step is never stochastic")
        start, stop = self.stochastic_steps
        if not 0 <= start < stop <= self.steps - 1:
            raise ValueError(
                f"window is {self.window}; with steps={self.steps} it must be (start, stop) with "
                f"0 <= start < stop <= {self.steps - 1}"
            )

    @property
    def stochastic_steps(self) -> tuple[int, int]:
        """(start, stop) of the steps that are stochastic."""
        return (0, self.steps - 1) if self.window is None else (int(self.window[0]), int(self.window[1]))

    def first_seeds(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> Sequence[int]:
        """The seed of each edit's first noise; the noise of its steps follows from `seeds`."""
        if not self.shared_noise:
            return seeds
        return [
            zlib.crc32(prompt.encode(), zlib.crc32(image.tobytes()))
            for image, prompt in zip(images, prompts, strict=True)
        ]


@dataclass(frozen=True)
class FlowOde:
    """Asks for `steps` ODE steps, and for the clean latent that they end with: what a loss on the forward process
    trains on."""

    steps: int

    def first_seeds(self, images: Sequence[np.ndarray], prompts: Sequence[str], seeds: Sequence[int]) -> Sequence[int]:
        """See `FlowSde.first_seeds`."""
        return seeds


@dataclass(frozen=True)
class FlowPath:
    """The stochastic part of one sample's path: K steps through K + 1 latents, all float32.

    With K = 0 it is what an ODE ended with: one clean latent.

    Attributes:
        latents: (K + 1, S, C) packed latents, S tokens of C channels; step k went from latents[k] to latents[k + 1].
        sigmas: (K + 1,) noise levels, decreasing; sigmas[0] is 1 where the window starts at step 0. With K = 0 all that
            the ODE went through, the last one 0.
        log_probs: (K,) log-probability of each step, a mean over S·C, under the weights that sampled it.
        eta: noise level of the sampler; 0 of an ODE.

    Raises:
        ValueError: shapes that do not fit together.
    """

    latents: np.ndarray
    sigmas: np.ndarray
    log_probs: np.ndarray
    eta: float

    def __post_init__(self) -> None:
        for name in ("latents", "sigmas", "log_probs"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float32))
        steps = len(self.log_probs)
        levels = self.sigmas.shape == (steps + 1,) or (steps == 0 and self.sigmas.ndim == 1 and self.sigmas.size > 0)
        if self.latents.ndim != 3 or self.latents.shape[0] != steps + 1 or not levels:
            raise ValueError(
                f"a path of {steps} log_probs needs latents ({steps + 1}, S, C) and sigmas ({steps + 1},); "
                f"got latents {self.latents.shape} and sigmas {self.sigmas.shape}"
            )

    def __len__(self) -> int:
        return len(self.log_probs)

    @property
    def is_clean(self) -> bool:
        """Whether it is the clean latent of an ODE."""
        return len(self) == 0 and bool(self.sigmas[-1] == 0)

    @property
    def latent_bytes(self) -> np.ndarray:
        """uint8 (N,), a view of the latents in little-endian float32, C order."""
        return self.latents.astype(_LATENT_DTYPE, copy=False).reshape(-1).view(np.uint8)

    def to_record(self) -> dict[str, Any]:
        """Flat values for one Arrow row; `latents` is a view of the little-endian float32 bytes of an array of `shape`,
        since copies of all of an update's would cost seconds."""
        return {
            "latents": self.latent_bytes.data,
            "shape": list(self.latents.shape),
            "sigmas": self.sigmas.tolist(),
            "log_probs": self.log_probs.tolist(),
            "eta": float(self.eta),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FlowPath:
        """The inverse of `to_record`, exact to the bit.

        Raises:
            ValueError: the number of bytes does not fit the shape.
        """
        shape = tuple(int(n) for n in record["shape"])
        expected = math.prod(shape) * _LATENT_DTYPE.itemsize
        if len(record["latents"]) != expected:
            raise ValueError(f"latents has {len(record['latents'])} bytes; shape {shape} needs {expected}")
        latents = np.frombuffer(record["latents"], dtype=_LATENT_DTYPE).reshape(shape)
        return cls(latents, np.asarray(record["sigmas"]), np.asarray(record["log_probs"]), float(record["eta"]))


_NO_PATH = {"latents": b"", "shape": [], "sigmas": [], "log_probs": [], "eta": 0.0}


def to_array(paths: Sequence[FlowPath | None], kind: pa.StructType) -> pa.StructArray:
    """The records of paths as an Arrow array of `kind`; latents, most of a trajectory's bytes, as `binary_array` makes
    them."""
    import pyarrow as pa

    from scenes.columns.binary import binary_array  # loads Arrow, which sampling does without

    records = [_NO_PATH if path is None else {**path.to_record(), "latents": b""} for path in paths]
    small = pa.array(records, kind)
    latents = binary_array([b"" if path is None else path.latent_bytes for path in paths])
    parts = [latents if field.name == "latents" else small.field(field.name) for field in kind]
    return pa.StructArray.from_arrays(
        parts, fields=list(kind), mask=pa.array([path is None for path in paths], pa.bool_())
    )


def from_array(array: pa.StructArray) -> list[FlowPath | None]:
    """The inverse of `to_array`, exact to the bit; latents are views of the array's memory.

    Raises:
        ValueError: see `FlowPath.from_record`.
    """
    from scenes.columns.binary import values_of

    names = [name for name in _NO_PATH if name != "latents"]
    columns = [array.field(name).to_pylist() for name in names]
    rows = zip(array.is_valid().to_pylist(), values_of(array.field("latents")), *columns, strict=True)
    return [
        FlowPath.from_record({"latents": latents, **dict(zip(names, values, strict=True))}) if there else None
        for there, latents, *values in rows
    ]
