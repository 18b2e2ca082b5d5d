"""A YAML document that knows on which line each of its values stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Keys and positions from the top of the document to a value."""


class _Loader(yaml.SafeLoader):
    """Reads `5e-6` as the number everybody means; YAML 1.1 would make it text for want of a dot."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass(frozen=True)
class Flaw:
    """A fault of the YAML itself."""

    line: int
    path: Path
    message: str


@dataclass(frozen=True)
class YamlDocument:
    """The plain values of a document and the nodes they came from."""

    data: Any
    root: yaml.Node | None
    flaws: tuple[Flaw, ...]
    """Repeated keys and keys that are no text; the last of a repeated key counts."""

    def line(self, path: Path) -> int:
        """The line, from 1, of the key or list item at `path`, or of the nearest thing around it that is there."""
        node, line = self.root, 1 if self.root is None else self.root.start_mark.line + 1
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            mark, node = found
            line = mark.start_mark.line + 1
        return line


def read_yaml(text: str) -> YamlDocument:
    """Parse one document.

    Raises:
        YamlBroken: It is not YAML; the error carries the line.
    """
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        flaws = tuple(_flaws(root, (), set(), ())) if root is not None else ()
        data = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlBroken(line, reason + _mend(text, line)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlBroken(1, " ".join(str(error).split())) from error
    finally:
        if loader is not None:
            loader.dispose()
    return YamlDocument(data, root, flaws)


class YamlBroken(ValueError):
    """The text is not YAML."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(reason)


def shown(path: Path) -> str:
    """`methods.hypersparse.search.eta`, `seeds[1]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "study"


def _mend(text: str, line: int) -> str:
    """What most often broke such a line."""
    broken = text.splitlines()[line - 1 : line]
    if broken and re.search(r"[{,\[].*[^\"'\w]\$\{", broken[0]):
        return '; inside { } and [ ], a value with ${NAME} needs quotes: "${NAME}"'
    return "; indent with spaces" if broken and "\t" in broken[0] else ""


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that marks the place of a step, and the node of its value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == str(step):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _flaws(node: yaml.Node, path: Path, seen: set[int], above: tuple[int, ...]) -> list[Flaw]:
    """Flaws below `node`. An anchored node is looked at once, however often it is used."""
    if id(node) in above:
        return [Flaw(node.start_mark.line + 1, path, "contains itself; write the values out")]
    if id(node) in seen:
        return []
    seen.add(id(node))
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        return [flaw for i, item in enumerate(node.value) for flaw in _flaws(item, (*path, i), seen, above)]
    flaws: list[Flaw] = []
    if isinstance(node, yaml.MappingNode):
        first_line: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (
                "tag:yaml.org,2002:str",
                "tag:yaml.org,2002:merge",
            ):
                flaws.append(Flaw(line, path, f"the key {name} is not text; write it in quotes or rename it"))
            elif name in first_line:
                message = f"the key '{name}' is already on line {first_line[name]}; keep one of the two"
                flaws.append(Flaw(line, (*path, name), message))
            first_line.setdefault(name, line)
            flaws += _flaws(value, (*path, name), seen, above)
    return flaws


def line_in(text: str, path: Path) -> int:
    """The line of `path` in a text known to be YAML; see `YamlDocument.line`."""
    return read_yaml(text).line(path)
