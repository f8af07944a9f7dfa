"""What measures held-out images: what the command line names, or else what the run's `data.truth` does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from measuring.detector_extraction import DetectorExtractor
from measuring.measures import MeasureOptions, Measures, choose_measures, default_measures
from measuring.vlm_judge import VlmJudge
from presets.errors import BadInput
from presets.truth.source import truth_entry
from rewards.detection.reader import DetectorReader
from serving.endpoint.openai_api import Endpoint

if TYPE_CHECKING:
    from presets.settings import RunSettings


def truth_measures(config: RunSettings) -> Measures:
    """The exact extractor, or the detector or the VLM of the entry of `rewards` that measures the truth, with that
    entry's settings; the Checker alone where nothing does.

    A detector is loaded in this process, and computes on the CPU: the GPUs here are other roles'. A VLM answers for
    each requirement alone, as there is no edit that its rubric could be about.

    Raises:
        BadInput: a detector that there is not; the message names the key.
    """
    entry = truth_entry(config)
    if entry is None:
        return default_measures(config.data.source)
    if entry.endpoint is not None:
        endpoint = Endpoint(entry.endpoint)
        return Measures(judge=VlmJudge(endpoint, "per_requirement"), endpoints=(endpoint,))
    try:
        return Measures(DetectorExtractor(DetectorReader(**{**entry.options, "device": "cpu"})))
    except (TypeError, ValueError) as error:
        raise BadInput(f"rewards, entry {entry.title!r}: options {entry.options} are refused: {error}") from error


def measures_for(options: MeasureOptions, config: RunSettings) -> Measures:
    """The measures that options ask for; in the place of an extractor that they do not name, those of `truth_measures`.

    Raises:
        BadInput: see `measuring.measures.choose_measures` and `truth_measures`.
    """
    chosen = choose_measures(options, config.data.source)
    if options.extractor is not None or truth_entry(config) is None:
        return chosen
    own = truth_measures(config)
    if chosen.judge is None:
        return own
    return replace(chosen, extractor=own.extractor)
