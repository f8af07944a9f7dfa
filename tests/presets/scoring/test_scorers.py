import re

import pytest

from experiments.provenance import settings_digest
from presets.checks import cpu_demand, own_code
from presets.errors import ConfigError
from presets.run_file import dump_config, load_config
from presets.scoring.scorers import ScorerConfig
from tests.places import PRESET


def config(*entries: str, more: tuple[str, ...] = ()):
    return load_config(PRESET, [f"rewards=[{', '.join(entries)}]", *more])


def test_a_run_file_without_a_list_has_the_checker_alone_and_the_digest_that_it_had():
    plain = load_config(PRESET)
    assert plain.rewards == [ScorerConfig(scorer="checker")]
    assert settings_digest(plain) == settings_digest(config("{scorer: checker}"))
    assert settings_digest(plain) != settings_digest(config("{scorer: checker}", "{scorer: length}"))
    listed = config("{scorer: checker}", "{scorer: length}")
    assert settings_digest(plain, trained=False) == settings_digest(listed, trained=False)


def test_an_old_run_file_with_a_reward_of_its_own_loads_and_its_reward_is_the_checkers_reading():
    old = load_config(PRESET, ["rollout.reward=own_module:own_reward"])
    assert [entry.scorer for entry in old.rewards] == ["checker"]
    assert own_code(old) == {"rollout.reward": "own_module:own_reward"}


def test_what_a_run_writes_down_is_read_again(tmp_path):
    written = config("{scorer: checker}", "{scorer: 'a:b', fleet: {gpus: 0.25}, options: {deep: [1, 2.5]}}")
    (tmp_path / "run.yaml").write_text(dump_config(written))
    assert load_config(tmp_path / "run.yaml").rewards == written.rewards


def test_entries_are_called_as_their_scorer_or_the_name_after_the_colon():
    assert [ScorerConfig(scorer=name).title for name in ("length", "pack.module:Deep")] == ["length", "Deep"]
    assert ScorerConfig(scorer="a:b", name="shadow").title == "shadow"


def test_fleets_count_among_the_cpus_and_own_code_is_known_by_its_place():
    found = config("{scorer: checker}", "{scorer: 'a:b', fleet: {workers: 3, cpus: 0.2}}")
    assert cpu_demand(found)["rewards.b"] == pytest.approx(0.6)
    assert own_code(found) == {"rewards.1.scorer": "a:b"}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["{scorer: chekcer}"], "rewards.0.scorer: 'chekcer' is refused.*did you mean 'checker'"),
        (["{scorer: length}", "{scorer: length}"], "2 entries are called 'length'. Give each a name"),
        (["{apply_to: actor}"], "no entry with a weight counts for the editor"),
        (["{weight: 0}"], "no entry with a weight counts for the actor"),
        (["{scorer: http}"], "rewards.0: http is needed by scorer 'http'"),
        (["{endpoint: {base_url: 'http://127.0.0.1/v1', model: m, api_key_env: ''}}"], "endpoint is refused with"),
        (["{fleet: {}}"], "fleet is refused with scorer 'checker', which computes nothing"),
        (["{}", "{scorer: 'a:b', deadline_s: 300}"], "deadline_s: 300 is refused with rollout.deadline_s 300"),
        (["{scorer: http, http: {url: 'ftp://a/b'}}"], "rewards.0.http.url: give an address like"),
        (["{scorer: http, http: {url: 'http://u:secret@a/b'}}"], "without user and password"),
        (["{scorer: http, http: {url: 'http://a/b', token_env: T}}"], "the token would travel in clear"),
        (["{name: 'a b'}"], "rewards.0.name: 'a b' is refused"),
        ([], "rewards: .* is refused"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(entries, says):
    with pytest.raises(ConfigError) as caught:
        config(*entries)
    assert re.search(says, str(caught.value))
    assert "secret" not in str(caught.value)


def test_a_short_deadline_of_sampling_is_no_matter_for_scorers_that_run_at_once():
    short = ("rollout.deadline_s=40", "diffuser.call_deadline_s=30", "editor.call_deadline_s=30")
    assert config("{scorer: checker}", "{scorer: length}", more=short).rollout.deadline_s == 40
