"""What a picture can be required to show besides relations, and how a person writes it.

| kind | text | holds where |
| --- | --- | --- |
| presence | `a red fox` | the picture shows one at least |
| count | `two red foxes`, or `2 x glasses` to count by just this word | it shows so many, no more, no less |
| attribute | `table is wooden` | the item has it |
| question | `? Is the man smiling?` | its answer is yes |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from scenes.wording.plurals import is_plural, plural, singular

Kind = Literal["relation", "presence", "count", "attribute", "question"]
KINDS: tuple[Kind, ...] = ("relation", "presence", "count", "attribute", "question")
MOST_COUNTED = 100
LONGEST_QUESTION, LONGEST_ATTRIBUTE = 200, 60
"""Characters."""

NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_COUNTED = re.compile(
    rf"(?:exactly )?(?P<number>\d{{1,4}}|{'|'.join(NUMBERS[1:])})(?P<times> ?[x×])? (?P<name>\S.*)", re.IGNORECASE
)


@dataclass(frozen=True)
class _OfItem:
    item: str

    @property
    def items(self) -> tuple[str, ...]:
        """The names of what it is about."""
        return (self.item,)

    @property
    def terms(self) -> tuple[str, ...]:
        """Its other words."""
        return ()


@dataclass(frozen=True)
class Presence(_OfItem):
    """The picture shows an item."""

    kind: ClassVar[Kind] = "presence"

    @property
    def text(self) -> str:
        return with_article(self.item)

    @property
    def statement(self) -> str:
        """What is true of a picture in which it holds."""
        return f"the picture shows {self.text}"


@dataclass(frozen=True)
class Count(_OfItem):
    """The picture shows an item so many times."""

    number: int
    kind: ClassVar[Kind] = "count"

    @property
    def text(self) -> str:
        said = f"{NUMBERS[self.number] if self.number < len(NUMBERS) else self.number} {self._counted}"
        return said if read_count(said) == self else f"{self.number} x {self.item}"

    @property
    def statement(self) -> str:
        """What is true of a picture in which it holds."""
        return f"the picture shows exactly {self.text}"

    @property
    def _counted(self) -> str:
        return self.item if self.number == 1 else plural(self.item)


@dataclass(frozen=True)
class Attribute(_OfItem):
    """An item has an attribute: a colour, a material, a state."""

    attribute: str
    kind: ClassVar[Kind] = "attribute"

    @property
    def text(self) -> str:
        return f"{self.item} {'are' if is_plural(self.item) else 'is'} {self.attribute}"

    @property
    def statement(self) -> str:
        """What is true of a picture in which it holds."""
        return self.text

    @property
    def terms(self) -> tuple[str, ...]:
        """Its other words."""
        return (self.attribute,)


@dataclass(frozen=True)
class FreeQuestion:
    """A question about the picture has the answer yes."""

    question: str
    kind: ClassVar[Kind] = "question"

    @property
    def text(self) -> str:
        return f"? {self.question}"

    @property
    def statement(self) -> str:
        """What is true of a picture in which it holds."""
        return f'the answer to "{self.question}" is yes'

    @property
    def items(self) -> tuple[str, ...]:
        """The names of what it is about: none is known."""
        return ()

    @property
    def terms(self) -> tuple[str, ...]:
        """Its words."""
        return (self.question,)


Other = Presence | Count | Attribute | FreeQuestion
"""A requirement that is no relation."""


def with_article(name: str) -> str:
    """`a red fox`, `an apple`, `some red apples`."""
    article = "some" if is_plural(name) else "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name}"


def read_count(words: str) -> Count | None:
    """What `two red foxes` or `2 x glasses` counts; None for other words.

    Raises:
        ValueError: a number that nobody can count in a picture.
    """
    match = _COUNTED.fullmatch(words)
    if match is None:
        return None
    said = match["number"].lower()
    number = int(said) if said.isdecimal() else NUMBERS.index(said)
    if not 1 <= number <= MOST_COUNTED:
        raise ValueError(f"{number} cannot be counted in a picture; ask for 1 to {MOST_COUNTED}")
    one_or_as_said = number == 1 or match["times"] is not None
    return Count(match["name"] if one_or_as_said else singular(match["name"]), number)
