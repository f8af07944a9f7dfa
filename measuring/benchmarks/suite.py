"""Which benchmarks there are: source and licence of their prompts, the protocol, and the folder of pictures.

Pictures lie where the benchmark's own scorer looks for them, so that official numbers come from the official code. What
is pinned is what the benchmark publishes: pictures a prompt, and the seed of the k-th one, `SEED + k` for each prompt.
Steps and guidance are those of the models, and are written down.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from measuring.benchmarks.published import read_geneval, read_laion_sg, read_t2i_spatial, read_visor
from measuring.benchmarks.task import Task

SEED = 42
"""Of the published generation scripts of GenEval and T2I-CompBench."""
DATA = Path(__file__).resolve().parent / "data"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        source, licence: of the prompts.
        read: the prompts of a file as the benchmark publishes it.
        shipped: the prompt file that comes with the code; None: the user brings it.
        images: pictures a prompt, as published.
        picture: where the k-th of n pictures of the task at a place lies, below the folder.
        beside: the file beside the pictures of a task and its text; None: there is none.
        official: how the benchmark's own code is called with the folder.
    """

    name: str
    source: str
    licence: str
    read: Callable[[Path], list[Task]]
    shipped: str | None
    images: int
    picture: Callable[[Task, int, int, int], str]
    beside: Callable[[Task], tuple[str, str] | None]
    official: str

    @property
    def prompt_file(self) -> Path | None:
        """The prompts that come with the code."""
        return None if self.shipped is None else DATA / self.shipped


def _geneval_picture(task: Task, place: int, k: int, n: int) -> str:
    return f"{task.key}/samples/{k:04}.png"


def _geneval_record(task: Task) -> tuple[str, str]:
    return f"{task.key}/metadata.jsonl", json.dumps(task.record)


def _t2i_picture(task: Task, place: int, k: int, n: int) -> str:
    """The scorer takes the prompt from before the first `_`, and the number of the picture from after the last."""
    return f"samples/{task.text}_{place * n + k:06}.png"


def _numbered(task: Task, place: int, k: int, n: int) -> str:
    return f"{task.key}_{k}.png"


def _nothing(task: Task) -> None:
    return None


_GENEVAL = "djghosh13/geneval, prompts/evaluation_metadata.jsonl"
_GENEVAL_CODE = (
    "python evaluation/evaluate_images.py FOLDER --outfile results.jsonl --model-path DETECTORS; "
    "python evaluation/summary_scores.py results.jsonl"
)
_MIT_GENEVAL = "MIT, Copyright (c) 2023 Dhruba Ghosh"

BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark(
            "geneval", _GENEVAL, _MIT_GENEVAL, read_geneval, None, 4, _geneval_picture, _geneval_record, _GENEVAL_CODE
        ),
        Benchmark(
            "geneval-position",
            f"{_GENEVAL}: the 100 prompts of the tag position",
            _MIT_GENEVAL,
            read_geneval,
            "geneval_position.jsonl",
            4,
            _geneval_picture,
            _geneval_record,
            _GENEVAL_CODE,
        ),
        Benchmark(
            "t2i-compbench-spatial",
            "Karine-Huang/T2I-CompBench, examples/dataset/spatial_val.txt",
            "MIT, Copyright (c) 2023 HKU",
            read_t2i_spatial,
            "t2i_compbench_spatial_val.txt",
            10,
            _t2i_picture,
            _nothing,
            "cd UniDet_eval; python 2D_spatial_eval.py --outpath FOLDER",
        ),
        Benchmark(
            "visor",
            "microsoft/VISOR, text_spatial_rel_phrases.json",
            "as in the repository that it comes from",
            read_visor,
            None,
            4,
            _numbered,
            _nothing,
            "python visor.py --text_json PROMPTS --mo MODEL --od DETECTOR --th THRESHOLD, with the results file in od/",
        ),
        Benchmark(
            "laion-sg",
            "mengcye/LAION-SG",
            "as in the repository that it comes from",
            read_laion_sg,
            None,
            1,
            _numbered,
            _nothing,
            "no scorer is published; SG-IoU, Entity-IoU and Relation-IoU as `rlrig eval --extractor openai` measures",
        ),
    )
}
