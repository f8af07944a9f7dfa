"""`python -m experiments.frontier`: quality against compute, with every system at its own best setting."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from presets.places import TINY, preset_at
from rlrig.command import Preset, Run, exit_codes

app = typer.Typer(add_completion=False)


@app.command()
def frontier(
    preset: Preset = TINY,
    run: Run = None,
    imitating: Annotated[
        Path | None, typer.Option(help="Folder of `rlrig sft-actor`, whose Actor imitates answers that helped.")
    ] = None,
    rows: Annotated[Path, typer.Option(help="Folder of what was measured, which is not measured again.")] = Path(
        "docs/frontier/rows"
    ),
    docs: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("docs/frontier"),
    validation: Annotated[int, typer.Option(min=0, help="Prompts of each set to choose settings on.")] = 128,
    test: Annotated[int, typer.Option(min=0, help="Fresh prompts of each set; 0 chooses and tests nothing.")] = 256,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Measure, or only write the page.")] = True,
) -> None:
    """Measure every system at many settings, choose its best one for each budget, test that once, write the page."""
    with exit_codes():
        from experiments.frontier.frontier import Frontier

        console = Console()

        def say(text: str) -> None:
            console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False)

        one = Frontier(rows, say)
        if measure:
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            from experiments.frontier.measuring import load_cast
            from experiments.frontier.sources import sources_of

            given = (preset_at(preset), run, imitating)
            one.measure(load_cast(*given), sources_of(*given), validation, test)
        say(f"page: {one.write(docs)}")


if __name__ == "__main__":
    app()
