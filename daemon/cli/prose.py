"""Docstrings as the terminal shows them: a paragraph is one line, which the terminal breaks at its own width."""

from __future__ import annotations

import inspect
import re
from types import ModuleType


def reflow(text: str) -> str:
    """``text`` with the lines of each paragraph joined; indented lines are examples and stay."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def reflow_docs(module: ModuleType) -> None:
    """Do so for every function of a command's module, before the parser reads them; a group has some from beside it."""
    for function in vars(module).values():
        if inspect.isfunction(function) and function.__module__.startswith(f"{__package__}.") and function.__doc__:
            function.__doc__ = reflow(inspect.cleandoc(function.__doc__))
