"""No key of a run file, nor of `gateway`, takes a value of another type, nor one that is not finite."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.fields import FieldInfo

from presets.mistakes import section_of
from presets.run_config import RunConfig
from scenes.section import Section
from studio.config import GatewayConfig


def sections(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        if (inner := section_of(field.annotation)) is not None:
            yield from sections(inner, f"{path}.{name}")


ALL = [*sections(RunConfig, "run"), *sections(GatewayConfig, "gateway")]
FIELDS = [(f"{path}.{name}", model, field) for path, model in ALL for name, field in model.model_fields.items()]


def kinds(annotation: Any) -> Iterator[Any]:
    """The plain types that an annotation is made of, those in tuples and lists as `(kind,)`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from kinds(args[0])
    elif origin in (Union, UnionType):
        for arg in args:
            yield from kinds(arg)
    elif origin in (tuple, list):
        yield from ((kind,) for kind in kinds(args[0]))
    elif origin is Literal:
        yield from {type(arg) for arg in args}
    elif annotation is not NoneType and annotation is not Any:
        yield annotation


def refuses(alone: type[BaseModel], value: Any) -> bool:
    try:
        alone.model_validate({"key": value})
    except ValidationError:
        return True
    return False


def test_every_section_is_strict() -> None:
    assert all(issubclass(model, Section) for _, model in ALL)
    assert all(model.model_config.get("strict") and not model.model_config["allow_inf_nan"] for _, model in ALL)
    assert len(FIELDS) > 120


@pytest.mark.parametrize(("path", "model", "field"), FIELDS, ids=[path for path, _, _ in FIELDS])
def test_a_key_takes_only_its_own_type(path: str, model: type[BaseModel], field: FieldInfo) -> None:
    found = set(kinds(field.annotation))
    wrong: list[Any] = []
    if found & {int, float} and str not in found:
        wrong += ["yes", "1", "1e-4", "", True, False, [1], float("inf"), float("-inf"), float("nan")]
    if found == {int}:
        wrong += [1.0, 1.5]
    if found & {(int,), (float,)}:
        wrong += [[True, True], ["1", "2"], ["yes", "no"], [float("inf")] * 2, "12", {1: 2}]
    if bool in found:
        wrong += ["yes", "true", "1", 1, 0, 1.0]
    if found == {str}:
        wrong += [1, 1.5, True, ["a"]]
    # Pydantic would look for docstrings in all modules that are loaded, which takes long where these are many.
    config = ConfigDict(**{**model.model_config, "use_attribute_docstrings": False})
    alone = create_model("Alone", __config__=config, key=(field.annotation, field))
    for value in wrong:
        assert refuses(alone, value), f"{path} takes {value!r}"
