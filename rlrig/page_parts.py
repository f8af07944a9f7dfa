"""Parts of a page that are made from the code: they stand between two marks, and the rest is written by hand."""

from __future__ import annotations


def with_part(page: str, name: str, text: str) -> str:
    """The page with `text` between the marks `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises:
        ValueError: a mark is missing.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, mark, rest = page.partition(begin)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f"the page lacks {begin.strip()} or {end}")
    return f"{before}{begin}{text}\n{end}{after}"
