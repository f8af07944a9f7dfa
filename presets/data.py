"""Where the scene graphs of a run come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scenes.records.from_items import RecordKind
from scenes.section import OrOwn, Pair, Section

Truth = Literal["exact", "detector", "vlm"]


class DataConfig(Section):
    """The scene graphs that are asked for."""

    source: Annotated[str, OrOwn(("shape_world", "laion_sg"))] = "shape_world"
    """`shape_world` makes them without end; `laion_sg` reads records from `path`; `module:name` is a function of yours
    that gives them, see docs/extending/dataset.md."""
    path: str | None = None
    """LAION-SG records, which `source: laion_sg` needs: a JSON file, or a folder with a file for each split; what a
    function of yours is told; nothing for `shape_world`."""
    relations: Pair = (2, 3)
    """Least and greatest number of relations in a scene graph; a record without any, of which something else is
    required, is used, too."""
    requirements: tuple[RecordKind, ...] = Field(("relations",), min_length=1, strict=False)
    """What is required of the picture of a record: its `relations`; by its items, that they are there (`presence`), how
    often (`count`) and what they are like (`attribute`). Records without relations are used where others are listed.
    Models of the shape world know relations alone."""
    train_size: int = Field(4096, ge=1)
    """Training prompts in one pass."""
    held_out_size: int = Field(512, ge=1)
    """Prompts that only evaluation sees."""
    truth: Truth | None = None
    """What measures the truth beside the reward, so that a reward that rises while the truth does not is seen. `exact`:
    the extractor of the shape world; `detector`: the entry of `rewards` that is the scorer `detector` with weight 0;
    `vlm`: that which is a `vlm_judge` with weight 0. No reward may use the same model. null: `exact` in the shape
    world, nothing elsewhere. See docs/extending/detector.md."""
    held_out_split: Literal["validation", "test"] = "test"
    """The split of records that evaluation sees: the published one, or else ours; nothing for `shape_world`."""
