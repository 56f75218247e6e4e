"""What a pydantic model refuses becomes one sentence for each value, in the words of YAML and JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from devserver.config.typed import MOST_TOLD, DoesNotFit, fitted


class Part(BaseModel):
    """A nested model."""

    name: str


class Order(BaseModel):
    """One field for each kind of refusal."""

    model_config = ConfigDict(strict=True)

    name: Annotated[str, Field(min_length=1, max_length=5)] = "x"
    count: Annotated[int, Field(ge=1, le=10)] = 1
    ratio: Annotated[float, Field(gt=0, lt=1)] = 0.5
    open: bool = True
    tags: Annotated[list[str], Field(max_length=2)] = []
    kind: Literal["a", "b"] = "a"
    code: Annotated[str, Field(pattern="^[a-z]+$")] = "x"
    parts: list[Part] = []
    either: int | str = 0
    secret_word: Annotated[str, Field(max_length=3)] = ""
    even: int = 2

    @field_validator("even")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("an even number is needed")
        return value


def said(model: type[BaseModel], values: Any, **options: Any) -> str:
    """What is told of values that do not fit."""
    with pytest.raises(DoesNotFit) as caught:
        fitted(model, values, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": 5}, '"name" must be a text, not 5'),
        ({"name": ""}, '"name" must be a text that is not empty, not ""'),
        ({"name": "sixsix"}, '"name" must be a text of at most 5 characters, not one of 6'),
        ({"count": "3"}, '"count" must be a whole number, not "3"'),
        ({"count": 1.5}, '"count" must be a whole number, not 1.5'),
        ({"count": True}, '"count" must be a whole number, not true'),
        ({"count": 0}, '"count" must be at least 1, not 0'),
        ({"count": 11}, '"count" must be at most 10, not 11'),
        ({"ratio": 0}, '"ratio" must be above 0.0, not 0'),
        ({"ratio": 1}, '"ratio" must be below 1.0, not 1'),
        ({"open": "yes"}, '"open" must be true or false, not "yes"'),
        ({"tags": "a"}, '"tags" must be a list, not "a"'),
        ({"tags": None}, '"tags" must be a list, not null'),
        ({"tags": ["a", 1]}, '"tags[1]" must be a text, not 1'),
        ({"tags": ["a", "b", "c"]}, '"tags" must be a list of at most 2 entries, not one of 3'),
        ({"kind": "c"}, '"kind" must be one of a or b, not "c"'),
        ({"code": "A1"}, '"code" must be a text that matches ^[a-z]+$, not "A1"'),
        ({"parts": [{}]}, '"parts[0].name" is missing'),
        ({"parts": [7]}, '"parts[0]" must be an object, not 7'),
        ({"parts": {}}, '"parts" must be a list, not an object'),
        ({"name": ["x"]}, '"name" must be a text, not a list'),
        ({"secret_word": "hidden"}, '"secret_word" must be a text of at most 3 characters, not one of 6'),
        ({"count": "y" * 50}, '"count" must be a whole number, not a text'),
        ({"even": 3}, '"even": an even number is needed'),
        (
            {"either": []},
            '"either" must be a whole number, not a list; "either" must be a text, not a list',
        ),
    ],
)
def test_each_refused_value_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    """The sentence names the place, what is wanted, and what stands there."""
    assert said(Order, values) == sentence


def test_a_secret_is_not_repeated() -> None:
    """The value of what is named like a secret stays out of messages."""

    class Login(BaseModel):
        password: int

    assert said(Login, {"password": "hidden"}) == '"password" must be a whole number, not a text'


def test_all_values_that_do_not_fit_are_told() -> None:
    """Not the first alone."""
    assert said(Order, {"name": 5, "count": 0}) == '"name" must be a text, not 5; "count" must be at least 1, not 0'


def test_very_many_values_are_told_in_part() -> None:
    """A list of a thousand wrong entries is no answer of a thousand sentences."""

    class Many(BaseModel):
        tags: list[int]

    with pytest.raises(DoesNotFit) as caught:
        fitted(Many, {"tags": ["x"] * 1000})
    assert len(caught.value.misfits) == MOST_TOLD
    assert str(caught.value).endswith("; and 980 more")


def test_an_unknown_key_is_refused_in_closed_values_alone() -> None:
    """With the key that was probably meant; aliases are keys too."""

    class Greeting(BaseModel):
        greeting: str = "Hello"
        from_whom: str = Field("", alias="from")

    assert fitted(Greeting, {"greetng": "x"}).greeting == "Hello"
    assert fitted(Greeting, {"from": "Ana"}, closed=True).from_whom == "Ana"
    assert said(Greeting, {"greetng": "x"}, closed=True) == "unknown key \"greetng\" (did you mean 'greeting'?)"
    assert said(Greeting, {"from_whom": "x"}, closed=True) == 'unknown key "from_whom"'


def test_a_model_that_says_what_becomes_of_other_keys_is_believed() -> None:
    """`extra` of the model stands above `closed`."""

    class Free(BaseModel):
        model_config = ConfigDict(extra="allow")

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: str = ""

    assert fitted(Free, {"any": 1}, closed=True).model_extra == {"any": 1}
    assert said(Strict, {"nme": 1}) == "unknown key \"nme\" (did you mean 'name'?)"
