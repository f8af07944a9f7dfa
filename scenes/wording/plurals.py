"""English nouns, one and many: `red apple` and `red apples`."""

from __future__ import annotations

_PAIRS = """
    man:men woman:women person:people child:children foot:feet tooth:teeth goose:geese mouse:mice ox:oxen die:dice
    knife:knives wife:wives life:lives wolf:wolves leaf:leaves shelf:shelves loaf:loaves half:halves calf:calves
    thief:thieves scarf:scarves elf:elves hoof:hooves bus:buses lens:lenses gas:gases iris:irises cactus:cacti
    tomato:tomatoes potato:potatoes hero:heroes mango:mangoes echo:echoes shoe:shoes toe:toes canoe:canoes pie:pies
    tie:ties movie:movies cookie:cookies selfie:selfies axe:axes headache:headaches mustache:mustaches quiz:quizzes
    octopus:octopuses walrus:walruses virus:viruses circus:circuses crocus:crocuses
"""
_IRREGULAR = dict(pair.split(":") for pair in _PAIRS.split())
_SINGULARS = {many: one for one, many in _IRREGULAR.items()}
_SAME = frozenset({"sheep", "fish", "deer", "moose", "bison", "salmon", "trout", "aircraft", "spacecraft", "series"})
_HISSING = ("ch", "sh", "ss", "x", "zz")


def singular(name: str) -> str:
    """A name whose last word is one of what it counts; a word that does not look like many stays as it is."""
    *before, word = name.split(" ")
    return " ".join([*before, _one(word)])


def plural(name: str) -> str:
    """A name whose last word is many."""
    *before, word = name.split(" ")
    return " ".join([*before, _many(word)])


def is_plural(name: str) -> bool:
    """Whether the last word of a name looks like many."""
    return singular(name) != name


def _one(word: str) -> str:
    small = word.lower()
    if small in _SINGULARS:
        return _SINGULARS[small]
    if small in _SAME or small in _IRREGULAR or not small.endswith("s") or small.endswith(("ss", "us", "is")):
        return word
    if small.endswith("ies") and len(small) > 4:
        return word[:-3] + "y"
    if small.endswith(tuple(f"{end}es" for end in _HISSING)):
        return word[:-2]
    return word[:-1] if len(small) > 2 else word


def _many(word: str) -> str:
    small = word.lower()
    if small in _SAME:
        return word
    if small in _IRREGULAR:
        return _IRREGULAR[small]
    if small.endswith((*_HISSING, "s")):
        return word + "es"
    if small.endswith("y") and small[-2:-1] not in ("", *"aeiou"):
        return word[:-1] + "ies"
    return word + "s"
