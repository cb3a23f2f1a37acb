"""For the reference: the comment behind a field of a class is its description."""

import ast
from typing import Any

import griffe


class FieldComments(griffe.Extension):
    """An extension of griffe, which reads the docstrings."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Describe a field that has no docstring."""
        if isinstance(node, ast.AnnAssign) and isinstance(attr.parent, griffe.Class) and not attr.docstring:
            line = attr.lines_collection[attr.filepath][node.end_lineno - 1]
            if comment := line.partition("  # ")[2]:
                attr.docstring = griffe.Docstring(comment, parent=attr, lineno=node.end_lineno)
