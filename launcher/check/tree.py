"""HTML as a tree: just enough of the HTML standard's parsing to find forms, links and messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# Which open element the start of another one ends.
_ENDED_BY = {"option": {"option", "optgroup"}, "p": {"p"}, "li": {"li"}}
_BLOCKS = {"br", "p", "div", "pre", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "summary", "details"}


@dataclass(eq=False)
class Element:
    """An element of a page.

    Args:
        tag: Its name, in lower case.
        attributes: Its attributes; one without a value has an empty one.
        parent: What holds it.
        children: What it holds: elements and text.
    """

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parent: Element | None = None
    children: list[Element | str] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        """Its CSS classes."""
        return set(self.attributes.get("class", "").split())

    def ancestors(self) -> Iterator[Element]:
        """What holds it, from the inside out."""
        holder = self.parent
        while holder is not None:
            yield holder
            holder = holder.parent

    def walk(self) -> Iterator[Element]:
        """Itself and all elements in it, in the order of the page."""
        return (node for node in self._nodes() if isinstance(node, Element))

    def find(self, *tags: str) -> Iterator[Element]:
        """The elements in it with one of these names."""
        return (element for element in self.walk() if element.tag in tags)

    def raw_text(self) -> str:
        """All text in it, as it stands."""
        return "".join(node for node in self._nodes() if isinstance(node, str))

    def words(self) -> str:
        """All text in it as a person reads it: single spaces, and each block on lines of its own."""
        text = ""
        waiting: list[Element | str] = [self]
        while waiting:
            node = waiting.pop()
            if isinstance(node, str):
                text += node
                continue
            # Only in preformatted text does a line end there end one on the screen.
            shown = [
                part.replace("\n", " ") if isinstance(part, str) and node.tag != "pre" else part
                for part in node.children
            ]
            edge = ["\n"] if node.tag in _BLOCKS else []
            waiting += reversed([*edge, *shown, *edge])
        lines = (" ".join(line.split()) for line in text.split("\n"))
        return "\n".join(line for line in lines if line)

    def _nodes(self) -> Iterator[Element | str]:
        # A loop, since pages may be nested deeper than Python's stack.
        waiting: list[Element | str] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, Element):
                waiting += reversed(node.children)


def parse_html(html: str) -> Element:
    """Read HTML; what is broken gives what can be made of it.

    Returns:
        An element without a name that holds all of it.
    """
    parser = _TreeParser()
    # html.parser gives up in the middle of some malformed declarations.
    with suppress(AssertionError):
        parser.feed(html)
        parser.close()
    return parser.root


class _TreeParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self._open = Element("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._open.tag == "textarea":
            # Nothing but its own end has a meaning there.
            self.handle_data(self.get_starttag_text() or "")
            return
        if tag in _ENDED_BY.get(self._open.tag, ()):
            self._open = self._open.parent or self.root
        # Of an attribute given twice the first counts.
        attributes = {name: value or "" for name, value in reversed(attrs)}
        element = Element(tag, attributes, self._open)
        self._open.children.append(element)
        if tag not in _VOID:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # In HTML a slash at the end of a tag has no meaning.
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._open.tag == "textarea" != tag:
            self.handle_data(f"</{tag}>")
            return
        for element in (self._open, *self._open.ancestors()):
            if element.tag == tag and element.parent:
                self._open = element.parent
                return

    def handle_data(self, data: str) -> None:
        self._open.children.append(data)
