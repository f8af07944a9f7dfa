"""What an evaluation measures with, as the command line names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from measuring.detector_extraction import DetectorExtractor
from measuring.image_scorer import ExactExtractor, ImageScorer
from measuring.vlm_extraction import VlmExtractor
from measuring.vlm_judge import JudgeMode, VlmJudge
from presets.errors import BadInput, RunFailed
from rewards.detection.reader import DetectorReader
from scenes.scene_graph_iou import SceneScores
from serving.endpoint.config import EndpointConfig
from serving.endpoint.openai_api import Endpoint, EndpointError

_TRIES_IN_TIME = 5
_OPTIONS = {"base_url": "--base-url", "api_key_env": "--api-key-env", "timeout_s": "--timeout", "": "--base-url"}


@dataclass(frozen=True)
class MeasureOptions:
    """The options of `rlrig eval` that say what to measure with; None where one was not given."""

    extractor: Literal["exact", "openai", "detector"] | None = None
    base_url: str | None = None
    extractor_model: str | None = None
    judge_model: str | None = None
    judge_mode: JudgeMode | None = None
    api_key_env: str | None = None
    timeout_s: float | None = None
    extractor_threshold: float | None = None


@dataclass(frozen=True)
class Measures:
    """Handles for an evaluation. `endpoints` are what these ask over HTTP."""

    extractor: ImageScorer[SceneScores] | None = None
    judge: ImageScorer[float] | None = None
    endpoints: Sequence[Endpoint] = ()

    def probe(self) -> None:
        """Ask each endpoint one question, so that what cannot work shows before the models start.

        Raises:
            BadInput: it refuses the key, the model or images.
            RunFailed: it does not answer.
        """
        for endpoint in self.endpoints:
            try:
                endpoint.probe()
            except EndpointError as error:
                name = f"--base-url {endpoint.config.base_url}, model {endpoint.config.model!r}"
                raise (BadInput if error.permanent else RunFailed)(f"{name}: {error}") from error


def default_measures(source: str) -> Measures:
    """The exact extractor where it knows the world that `data.source` names; the Checker alone elsewhere."""
    return Measures(ExactExtractor() if source == "shape_world" else None)


def choose_measures(options: MeasureOptions, source: str) -> Measures:
    """The measures that options ask for, with `source` being the run file's `data.source`.

    Raises:
        BadInput: options that cannot be used, or not together; the message names the option and a way out.
    """
    _refuse_what_does_not_fit(options, source)
    extractor = default_measures(source).extractor
    judge = None
    endpoints = []
    if options.extractor == "openai":
        endpoints.append(_endpoint(options, options.extractor_model or ""))
        extractor = VlmExtractor(endpoints[-1])
    elif options.extractor == "detector":
        extractor = _detector(options)
    if options.judge_model is not None:
        endpoints.append(_endpoint(options, options.judge_model))
        judge = VlmJudge(endpoints[-1], options.judge_mode or "per_requirement")
    return Measures(extractor, judge, tuple(endpoints))


def unmeasured(metrics: Mapping[str, Any]) -> str | None:
    """What went wrong where a scorer was asked and scored not a single image; None where none did so."""
    for block in ("extraction", "judge"):
        if (account := metrics.get(block)) and not account["n_scored"]:
            reason = next(iter(account["reasons"]), "there were none")
            return f"{block}: none of {account['n_failed']} images could be scored; most often: {reason}"
    return None


def _refuse_what_does_not_fit(options: MeasureOptions, source: str) -> None:
    if options.extractor == "exact" and source != "shape_world":
        raise BadInput(
            f"--extractor exact: reads drawn shapes only, and data.source is {source}; use --extractor openai with "
            "--base-url and --extractor-model, or --extractor detector with --extractor-model"
        )
    if options.extractor == "openai" and not options.extractor_model:
        raise BadInput("--extractor-model: is missing; --extractor openai needs the name of a model at --base-url")
    if options.extractor == "detector" and not options.extractor_model:
        raise BadInput("--extractor-model: is missing; --extractor detector needs the folder of a detector")
    if options.extractor not in ("openai", "detector") and options.extractor_model is not None:
        raise BadInput(
            f"--extractor-model {options.extractor_model}: nothing would use it; add --extractor openai or --extractor "
            "detector, or leave it out"
        )
    if options.extractor != "detector" and options.extractor_threshold is not None:
        raise BadInput(
            f"--extractor-threshold {options.extractor_threshold:g}: nothing would use it; add --extractor detector, "
            "or leave it out"
        )
    if options.judge_model is None and options.judge_mode is not None:
        raise BadInput(f"--judge-mode {options.judge_mode}: there is no judge; add --judge-model, or leave it out")
    asks = options.extractor == "openai" or options.judge_model is not None
    if asks and options.base_url is None:
        user = "--extractor openai" if options.extractor == "openai" else "--judge-model"
        raise BadInput(
            f"--base-url: is missing; {user} needs the address of an OpenAI-compatible endpoint, for example "
            "https://api.openai.com/v1"
        )
    unused = {"--base-url": options.base_url, "--api-key-env": options.api_key_env, "--timeout": options.timeout_s}
    for option, value in unused.items():
        if not asks and value is not None:
            raise BadInput(f"{option}: nothing would use it; add --extractor openai or --judge-model, or leave it out")


def _detector(options: MeasureOptions) -> DetectorExtractor:
    try:
        return DetectorExtractor(DetectorReader(options.extractor_model or "", options.extractor_threshold))
    except ValueError as error:  # which begins with the key
        raise BadInput(f"--extractor-{error}") from error


def _endpoint(options: MeasureOptions, model: str) -> Endpoint:
    given: dict[str, Any] = {"base_url": options.base_url, "model": model}
    if options.api_key_env is not None:
        given["api_key_env"] = options.api_key_env
    if options.timeout_s is not None:
        given |= {"timeout_s": options.timeout_s, "deadline_s": _TRIES_IN_TIME * options.timeout_s}
    try:
        config = EndpointConfig(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        option = _OPTIONS.get(field, "--judge-model or --extractor-model")
        message = first["msg"].removeprefix("Value error, ").replace("api_key_env", "--api-key-env")
        raise BadInput(f"{option}: {message}") from None
    if options.api_key_env and not config.api_key:
        # The name stays out of the message, as whoever mistakes the option gives the key itself.
        raise BadInput("--api-key-env: no environment variable of this name is set; set it, or leave the option out")
    return Endpoint(config)
