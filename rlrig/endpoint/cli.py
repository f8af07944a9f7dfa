"""`rlrig serve`: the system behind an endpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from presets.errors import ConfigError
from presets.mistakes import explain
from presets.run_file import apply_overrides
from rlrig.command import Json, ModelsOption, Quiet, exit_codes, naming, settings
from rollout.local_ray import only_ray_of_process

if TYPE_CHECKING:
    from studio.config import GatewayConfig

_SECTION = "gateway"


def serve(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN | PRESET]", help="Folder of a run, or a run file; default the small preset."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set one key of the run file, or of the endpoint as gateway.KEY; may be repeated.",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any but a loopback address needs a token.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, default 8000; 0 takes a free one.")] = None,
    follow: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Put the newest weights of this run, which may still train, into service."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Serve the models that the run started from as rlrig-raw besides.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Folder whose runs the pages show.")] = Path("runs"),
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Proxy or network whose X-Forwarded-For counts; may be repeated."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a size that the models do not make, instead of telling theirs.")
    ] = False,
    models: ModelsOption = None,
    local: Annotated[
        bool | None,
        typer.Option(
            "--local/--ray",
            help="Run the models in this process, or on Ray and vLLM; default: in this process where they fit.",
        ),
    ] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Serve images over HTTP, as OpenAI's Images API does, and pages (/studio, /runs), until interrupted.

    Small models are in this process, without Ray and vLLM. While they load, the port answers with what is missing.
    A bearer token is taken from the environment variable RLRIG_TOKEN.
    """
    given = {"host": host, "port": port, "trusted_proxy": trusted_proxy or None, "strict": strict or None}
    flags = {f"{_SECTION}.{key}": f"--{key.replace('_', '-')}" for key, value in given.items() if value is not None}
    with exit_codes(json_) as out, naming(flags):
        overrides = settings(set_)
        gateway = gateway_config([one for one in overrides if one.startswith(f"{_SECTION}.")], **given)
        others = [one for one in overrides if not one.startswith(f"{_SECTION}.")]
        from rlrig.endpoint.plan import serving_plan

        plan = replace(serving_plan(source, follow, compare, others, models), runs=runs)
        token = os.environ.pop(gateway.token_env, "")  # the processes of the models need not know it
        from reports.status.progress_display import make_progress
        from rlrig.endpoint.start import serve as start

        with only_ray_of_process(plan.config.ray), make_progress(quiet, json_, out=out) as progress:
            start(plan, gateway, token, progress, local)


def gateway_config(overrides: list[str], **given: Any) -> GatewayConfig:
    """The endpoint's settings: its defaults, with `gateway.KEY=VALUE` and the given keys that are not None on top.

    Raises:
        BadInput: an unknown key or a value that is refused.
    """
    from studio.config import GatewayConfig

    values = apply_overrides({_SECTION: {}}, overrides)[_SECTION]
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return GatewayConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{_SECTION}.{line}" for line in explain(error, GatewayConfig))) from error
