"""The words of the general dialogue, as a run file may replace them."""

from __future__ import annotations

from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from scenes.section import Section

_REQUEST = """The picture should meet these requirements:
{requirements}

Not met yet: {unmet}

Answer in two lines, as in this example about another picture:
Reflection: {reflection}
Edit: {edit}"""


def _template(needed: tuple[str, ...], known: tuple[str, ...]) -> AfterValidator:
    """Accepts a text with each of the places `needed`, and no other than those `known`."""

    def check(text: str) -> str:
        try:
            places = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
        except ValueError as error:
            raise ValueError(f"{error}; write {{{{ and }}}} for braces") from None
        names = [name for name, _, _ in places]
        for name, form, conversion in places:
            if name not in known or form or conversion:
                allowed = ", ".join(f"{{{one}}}" for one in known)
                raise ValueError(f"{{{name}}} is no place of it: use {allowed}, and {{{{ and }}}} for braces")
        for name in needed:
            if name not in names:
                raise ValueError(f"a place {{{name}}} is missing: without it the VLM is not told what is asked about")
        return text

    return AfterValidator(check)


class Texts(Section):
    """Templates: a run puts the prompt's own words into their places."""

    request: Annotated[str, _template(("requirements", "unmet"), ("requirements", "unmet", "reflection", "edit"))] = (
        _REQUEST
    )
    """What the Actor is asked, with the places {requirements}, a numbered list, {unmet}, the numbers of those that do
    not hold, or `untold`, and {reflection} and {edit} of the example. Answers are read as labelled lines or JSON, see
    docs/extending/vlm.md."""
    question: Annotated[str, _template(("requirement",), ("requirement",))] = (
        "Look at the picture. Is this true: {requirement}? Answer with yes or no."
    )
    """What the Checker is asked about a {requirement}. It must be a question that yes or no answers."""
    untold: str = Field("look at the picture and find out", min_length=1)
    """What stands at {unmet} with `rollout.tell_unmet: false`."""
    free_question: Annotated[str, _template(("question",), ("question",))] = (
        "Look at the picture. {question} Answer with yes or no."
    )
    """What the Checker is asked where a requirement is a {question} itself."""
    reflection: str = Field("The dog stands to the right of the tree, but it should be to its left.", min_length=1)
    """Reflection of the example. An answer that only copies the example is not taken."""
    edit: str = Field("Move the dog to the left of the tree.", min_length=1)
    """Edit prompt of the example."""
