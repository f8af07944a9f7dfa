import pytest

from reports.episodes.token_texts import tokenizer_of
from reports.reading.tokens import NoTokenizer, Tokenizers
from reports.run_record import RunRecord
from tests.studio.pages.sample_runs import TOKENIZER


def record(folder, config):
    return RunRecord("run", folder, [], {}, "", config, {})


def test_texts_are_those_of_the_tokenizer_and_unknown_ones_empty():
    assert Tokenizers().texts(TOKENIZER, [79, 2, 10**6, -1]) == ["reflection", "<end_of_utterance>", "", ""]


def test_the_trained_models_tokenizer_comes_first(tmp_path):
    own = tmp_path / "models" / "actor" / "tokenizer.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    assert tokenizer_of(record(tmp_path, {"models": {"actor": str(TOKENIZER.parent)}})) == own
    with pytest.raises(NoTokenizer, match="holds no tokenizer"):
        Tokenizers().texts(own, [1])


def test_a_service_reads_a_tokenizer_only_from_the_run_or_the_presets(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    run = record(tmp_path / "run", {"models": {"actor": str(elsewhere)}})
    assert tokenizer_of(run) is None
    assert tokenizer_of(run, anywhere=True) == elsewhere / "tokenizer.json"
    assert tokenizer_of(record(tmp_path / "run", {"models": {"actor": str(TOKENIZER.parent)}})) == TOKENIZER
    (tmp_path / "run" / "models" / "actor").mkdir(parents=True)
    (tmp_path / "run" / "models" / "actor" / "tokenizer.json").symlink_to(elsewhere / "tokenizer.json")
    assert tokenizer_of(run) is None
    assert tokenizer_of(record(tmp_path, {"models": 3})) is None
