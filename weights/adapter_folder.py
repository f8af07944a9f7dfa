"""A trained adapter in a folder, beside what peft and diffusers need of it: enough to put it beside its base again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file

from weights.adapter_spec import AdapterSpec, Target
from weights.manifest import WeightUpdate, pack

FILE = "rlrig.json"
_MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class AdapterFolder:
    """What `rlrig.json` says.

    Attributes:
        spec: of the adapter.
        base: the model that it belongs to: a folder, or a hub id.
        tensors: the file that holds its tensors.
        prefix: of their names there.
    """

    spec: AdapterSpec
    base: str
    tensors: str
    prefix: str

    def write(self, folder: Path) -> None:
        """Write it beside the tensors."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> AdapterFolder | None:
        """Of an adapter's folder; None where it holds no such file, as those of older runs.

        Raises:
            ValueError: the file says something else.
        """
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES} bytes")
            said = json.loads(file.read_text(encoding="utf-8"))
            spec = said["spec"]
            targets = tuple(Target(str(one["module"]), str(one["weight"])) for one in spec["targets"])
            found = AdapterSpec(int(spec["rank"]), float(spec["alpha"]), targets, str(spec["dtype"]), str(spec["base"]))
            name = str(said["tensors"])
            if not targets or Path(name).name != name:
                raise ValueError("it names no layer, or a file that lies elsewhere")
            return cls(found, str(said["base"]), name, str(said["prefix"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} is not what a run wrote: {error!r}; export the run again") from error

    def update(self, folder: Path, policy: str, version: int) -> WeightUpdate:
        """What the learner of this policy sent when it had this adapter, with buckets in local memory.

        Raises:
            OSError, SafetensorError: the tensors cannot be read.
        """
        found = load_file(folder / self.tensors)
        names = [name for target in self.spec.targets for name in target.names]
        return pack(policy, version, {name: found[self.prefix + name] for name in names}, adapter=self.spec)


def adapter_update(folder: Path, policy: str, version: int) -> WeightUpdate:
    """The update that brings the adapter of this folder to replicas.

    Raises:
        ValueError: the folder holds none that a run wrote.
        OSError, SafetensorError: its tensors cannot be read.
    """
    found = AdapterFolder.read(folder)
    if found is None:
        raise ValueError(f"models.adapters.{policy}: {str(folder)!r} holds no {FILE}; give the folder lora of a run")
    return found.update(folder, policy, version)
