import pytest
from pydantic import ValidationError

from serving.endpoint.config import EndpointConfig


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("", "begins neither with http://"),
        ("localhost:8000/v1", "begins neither with http://"),
        ("ftp://models.example/v1", "begins neither with http://"),
        ("http://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://models example/v1", "names no host"),
        ("https://models.example:port/v1", "cannot be read"),
        ("https://[::1/v1", "cannot be read"),
        ("https://models.example/v1?version=2", "after '\\?' or '#'"),
        ("https://me:hunter2@models.example/v1", "holds a user or password"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_showing_a_password(base_url: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        EndpointConfig(base_url=base_url, model="m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "allowed"),
    [
        ("https://models.example/v1", True),
        ("HTTPS://models.example/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.8.8.8/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://models.example/v1", False),
        ("http://10.0.0.7:8000/v1", False),
        ("http://0.0.0.0:8000/v1", False),
        ("http://127.0.0.1.models.example/v1", False),
        ("http://localhost.models.example/v1", False),
    ],
)
def test_a_key_travels_encrypted_or_stays_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, base_url: str, allowed: bool
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    assert not EndpointConfig(base_url=base_url, model="m", api_key_env="").api_key
    assert not EndpointConfig(base_url=base_url, model="m", api_key_env="UNSET_KEY").api_key
    if allowed:
        assert EndpointConfig(base_url=base_url, model="m", api_key_env="SOME_KEY").api_key == "sk-secret"
    else:
        with pytest.raises(ValidationError, match="SOME_KEY would travel in clear; use https") as caught:
            EndpointConfig(base_url=base_url, model="m", api_key_env="SOME_KEY")
        assert "sk-secret" not in str(caught.value)


def test_the_key_is_no_part_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    config = EndpointConfig(base_url="https://models.example/v1", model="m")
    assert config.api_key == "sk-secret"
    assert "sk-secret" not in repr(config) + config.model_dump_json()


@pytest.mark.parametrize("given", ["sk-secret-1", "two words", "1KEY"])
def test_a_key_given_in_the_place_of_its_name_is_refused_without_showing_it(given: str) -> None:
    with pytest.raises(ValidationError, match="give the name, not the key") as caught:
        EndpointConfig(base_url="https://models.example/v1", model="m", api_key_env=given)
    assert given not in str(caught.value)


@pytest.mark.parametrize("fields", [{"timeout_s": 0.0}, {"concurrency": 0}, {"modle": "m"}, {"model": ""}])
def test_fields_out_of_range_and_unknown_ones_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EndpointConfig(**{"base_url": "https://models.example/v1", "model": "m", **fields})
