"""The memory of one process as a sum, each term with the arithmetic that gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from presets.memory.model_size import UnknownSize

PARTS = ("weights", "gradients", "optimizer", "activations", "kv_cache")
KEPT = ("weights", "gradients", "optimizer")
"""What a process still has when it does not work; a cache of keys and values has nothing in it then."""
_GIB = 2**30
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Term:
    """A term of the sum.

    Attributes:
        part: one of `PARTS`.
        nbytes: None where it is not known.
        how: the arithmetic, or why it is not known.
    """

    part: str
    nbytes: float | None
    how: str

    def __str__(self) -> str:
        return f"{self.how}{'' if self.nbytes is None else f' = {gib(self.nbytes)}'}"


@dataclass(frozen=True)
class Estimate:
    """Memory of one process, on its GPU (with several, on each) where it has one."""

    terms: tuple[Term, ...] = ()

    def parts(self) -> dict[str, float | None]:
        """Bytes by part; None where a term is not known."""
        sums: dict[str, float | None] = dict.fromkeys(PARTS, 0.0)
        for term in self.terms:
            before = sums[term.part]
            sums[term.part] = None if before is None or term.nbytes is None else before + term.nbytes
        return sums

    def of(self, parts: Iterable[str]) -> float:
        """The sum of what is known of these parts."""
        return sum(term.nbytes or 0.0 for term in self.terms if term.part in parts)

    @property
    def known(self) -> float:
        """The sum of what is known."""
        return self.of(PARTS)

    @property
    def kept(self) -> float:
        """What of it stays when the process does not work."""
        return self.of(KEPT)

    @property
    def complete(self) -> bool:
        """Whether every term is known."""
        return all(term.nbytes is not None for term in self.terms)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What is not known, and why."""
        return tuple(f"{_said(term.part)}: {term.how}" for term in self.terms if term.nbytes is None)

    @property
    def lines(self) -> tuple[str, ...]:
        """The arithmetic, a line for each part of which something is known."""
        by_part = ((part, [term for term in self.terms if term.part == part and term.nbytes]) for part in PARTS)
        return tuple(
            f"{_said(part)}: {' + '.join(term.how for term in terms)} = {gib(sum(term.nbytes or 0 for term in terms))}"
            for part, terms in by_part
            if terms
        )

    def having(self, *parts: str) -> tuple[Term, ...]:
        """The terms of these parts."""
        return tuple(term for term in self.terms if term.part in parts)


def unknown(error: UnknownSize, *parts: str) -> tuple[Term, ...]:
    """Terms that are not known for one reason."""
    return tuple(Term(part, None, str(error)) for part in parts)


def _said(part: str) -> str:
    return part.replace("_", " ")


def gib(nbytes: float) -> str:
    """`22.2 GiB`."""
    amount = nbytes / _GIB
    return f"{amount:.3f} GiB" if 0 < amount < 1 else f"{amount:.1f} GiB"


def count(number: float) -> str:
    """`11.9 G`, `124 M`, `64`."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"
