"""What a trial of VLMs says of their answers; the engines are tried in tests/serving/test_vlm.py."""

from __future__ import annotations

import numpy as np

from measuring.vlm_trial import pictures, try_vlms
from scenes.dialogues.general import General
from scenes.extractors import extract, satisfied
from serving.actor import read_answer
from serving.generation import Answer

ANSWER = "Reflection: The first is wrong.\nEdit: Move it."


class Actor:
    dialogue, compute_seconds = General(), 1.0

    def reflect(self, images, requests, temperature, seeds):
        assert temperature == 0.7
        self.compute_seconds += 2.0
        texts = [ANSWER if seed % 2 else "I see a picture." for seed in seeds]
        return [[read_answer(Answer(text, [1] * 5, [-1.0] * 5, True, 0), self.dialogue)] for text in texts]


class Checker:
    dialogue, compute_seconds, unanswered = General(), 0.0, 4

    def satisfaction(self, images, requirements):
        self.unanswered += 1
        return [[0.9] * len(wanted) for wanted in requirements]


def test_of_each_picture_the_first_requirement_does_not_hold_and_the_others_do() -> None:
    for graph, image, truth in pictures(12):
        assert truth == [False] + [True] * (len(graph.requirements) - 1)
        assert [bool(satisfied(one, extract(image))) for one in graph.requirements] == truth


def test_a_report_holds_questions_answers_reasons_and_shares() -> None:
    asked = pictures(4)
    report = try_vlms(Actor(), Checker(), asked, 0.7)
    assert [trial.unread is None for trial in report.trials] == [False, True, False, True]
    assert report.parsed == 0.5
    assert "the answer has no edit" in report.trials[0].unread
    assert (report.trials[1].reflection, report.trials[1].edit_prompt) == ("The first is wrong.", "Move it.")
    assert report.trials[0].request.startswith("The picture should meet these requirements:")
    assert "Not met yet: 1\n" in report.trials[0].request
    truths = [holds for _, _, truth in asked for holds in truth]
    assert report.right == np.mean(truths)  # it always says yes
    assert (report.seconds, report.unanswered) == ({"actor": 2.0, "checker": 0.0}, 1)
    assert report.as_dict()["trials"][1]["tokens"] == 5


def test_the_command_shows_everything_and_fails_below_the_least_share(monkeypatch, capsys) -> None:
    from typer.testing import CliRunner

    from rlrig.cli import app
    from rlrig.vlms import trial

    monkeypatch.setattr(trial, "asked", lambda config, prompts: try_vlms(Actor(), Checker(), pictures(prompts), 0.7))
    shown = CliRunner().invoke(app, ["try-vlm", "--prompts", "2"])
    assert shown.exit_code == 0, shown.output
    assert "read:   The first is wrong. → Move it." in shown.stdout
    assert "unread: the answer has no edit: 'I see a picture.'" in shown.stdout
    assert "50% of the answers read, 10 tokens in 2.0 s" in shown.stdout
    assert "p(yes) 0.90, wrong" in shown.stdout
    below = CliRunner().invoke(app, ["try-vlm", "--prompts", "2", "--least", "0.6", "--json"])
    assert below.exit_code == 1
    assert '"parsed": 0.5' in below.stdout
    assert "50% of 2 answers could be read, less than --least 0.6" in below.stderr
