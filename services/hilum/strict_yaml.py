"""YAML as configuration may be written: keys are text and stand once, nothing refers to anything else."""

from typing import Any

import yaml

from hilum.errors import Rejected

# What PyYAML's constructors raise of their own: dates that are none, empty numbers, tags that do not fit, depth.
_UNFORESEEN = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)


def read_yaml(source: bytes) -> Any:
    """The one document in ``source``, UTF-8. Raises Rejected ``not_yaml`` that says why, and in which line."""
    try:
        return yaml.load(source.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or type(error).__name__
        mark = getattr(error, "problem_mark", None)
        raise Rejected("not_yaml", f"not YAML: {problem}" + (f" (line {mark.line + 1})" if mark else "")) from error
    except _UNFORESEEN as error:
        raise Rejected("not_yaml", f"not YAML: {type(error).__name__}") from error


class _StrictLoader(yaml.SafeLoader):
    """Without aliases, since they can grow without bound, and without silently repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or not key.strip() or not key.isprintable():
                raise yaml.constructor.ConstructorError(None, None, "a key is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
