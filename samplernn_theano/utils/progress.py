"""Progress of long work: a bar in a terminal, one line in a notebook, elsewhere a plain line every 30 s.

The most important comes first and the bar last, so that a narrow terminal cuts off what matters least:

    decode  34 %  0:02:10 left  1.2 GB of 3.4 GB  ━━━━━━━━━━━━━━━━
"""

import math
import os
import sys
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from samplernn_theano.utils.text import escape_control_characters, say

LINE_SECONDS = 30.0  # between two lines that are not for a terminal
NOTEBOOK_SECONDS = 0.5  # between two states of the line in a notebook


def _standard_error() -> TextIO:
    """Standard error by a copy of its file, which stays while the messages of a decoder are kept from it."""
    try:
        if sys.stderr.fileno() != 2:  # a notebook's
            return sys.stderr
        return open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    except (OSError, AttributeError):  # it is closed, or no file
        return sys.stderr


class Bar:
    """A piece of work in progress: its stage, how much of it is done, and what else is to be said."""

    def __init__(self, stage: str, total: float = 0.0, unit: str = "", visible: bool = True) -> None:
        self.stage, self.done, self.total, self.unit = stage, 0.0, total, unit
        self.note = ""  # shown after the time left
        self.left: float | None = None  # seconds, where more than the speed so far is known
        self._visible, self._file = visible, _standard_error() if visible else sys.stderr
        if self._file is not sys.stderr:
            weakref.finalize(self, self._file.close)
        self._console = Console(file=self._file)
        self._display: Progress | None = None
        self._cell: Any = None  # the output of a notebook's cell that holds the line
        self.begin()

    def begin(self, done: float = 0.0) -> None:
        """Begin with so much done before. The speed is that after the first part, which may compile."""
        self.done = self._done_before = done
        self._began = self._last_line = time.monotonic()
        self._first_part = True

    def advance(self, amount: float = 1.0) -> None:
        """So much more is done."""
        self.at(self.done + amount)

    def at(self, done: float) -> None:
        """So much is done in all."""
        self.done = done
        if self._first_part and done > self._done_before:
            self._began, self._done_before, self._first_part = time.monotonic(), done, False
        pause = NOTEBOOK_SECONDS if self._cell else LINE_SECONDS
        if self._visible and not self._display and time.monotonic() - self._last_line >= pause:
            self._last_line = time.monotonic()
            self._print()

    def _print(self) -> None:
        if self._cell:
            self._cell.update({"text/plain": escape_control_characters(self.line())}, raw=True)
        else:
            say(self.line(), self._file)

    def say(self, message: str) -> None:
        """Print a message on standard output, above the bar."""
        if self._display and sys.stdout.isatty():
            message = escape_control_characters(message, keep="\n\t")
            with suppress(OSError):
                self._display.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            say(message, sys.stdout)

    def share(self) -> float | None:
        """The part that is done, from 0 to 1; None if it cannot be told."""
        try:
            share = self.done / self.total if self.total > 0 else math.nan
        except OverflowError:
            share = math.nan
        return max(0.0, min(1.0, share)) if math.isfinite(share) else None

    def line(self) -> str:
        """Stage, percentage, time left, count and note; what NaN and huge numbers do not tell is left out."""
        parts = [self.stage]
        for tell in (self._percentage, self._time_left, self._count):
            with suppress(ValueError, OverflowError):
                parts += tell()
        return "  ".join([*parts, self.note]).rstrip()

    def _percentage(self) -> list[str]:
        share = self.share()
        return [] if share is None else [f"{100 * share:.0f} %"]

    def _time_left(self) -> list[str]:
        left, done = self.left, self.done - self._done_before
        if left is None and done > 0:
            left = (time.monotonic() - self._began) * max(0.0, self.total - self.done) / done
        return [f"{timedelta(seconds=round(left))} left"] if self.total > 0 and left is not None else []

    def _count(self) -> list[str]:
        if not self.unit:
            return []
        amounts = (self.done, self.total) if self.total > 0 else (self.done,)
        if self.unit == "B":
            return [" of ".join(decimal(int(n)) for n in amounts)]
        return [" of ".join(f"{n:,.0f}" for n in amounts) + f" {self.unit}"]

    @contextmanager
    def shown(self) -> Iterator["Bar"]:
        """Show it in the meantime."""
        if not (self._visible and self._console.is_terminal):
            if self._visible and self._console.is_jupyter:
                from IPython.display import display  # every kernel has it

                self._cell = display({"text/plain": self.line()}, raw=True, display_id=True)
            yield self
            if self._cell or self._last_line > self._began:
                self._print()
            return
        bar = BarColumn(bar_width=None, table_column=Column(ratio=1))
        self._display = Progress(
            _Line(self), bar, console=self._console, redirect_stdout=False, redirect_stderr=False, expand=True
        )
        self._display.add_task("")
        with suppress(OSError):
            self._display.start()
        try:
            yield self
        finally:
            with suppress(OSError):
                self._display.stop()
            self._display = None


class _Line(ProgressColumn):
    """The line of a bar, cut at the width of the terminal."""

    def __init__(self, bar: Bar) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self.bar = bar

    def render(self, task: Task) -> Text:
        share = self.bar.share()
        task.completed, task.total = share or 0.0, None if share is None else 1.0
        return Text(self.bar.line())


def progress_bar(
    stage: str, total: float = 0.0, unit: str = "", visible: bool = True
) -> AbstractContextManager[Bar]:
    """Show a bar in the meantime; units of "B" are bytes."""
    return Bar(stage, total, unit, visible).shown()


def counted[T](
    items: Iterable[T], stage: str, total: float, unit: str = "", visible: bool = True
) -> Iterator[T]:
    """The items, with a bar that counts them."""
    with progress_bar(stage, total, unit, visible) as bar:
        for item in items:
            yield item
            bar.advance()
