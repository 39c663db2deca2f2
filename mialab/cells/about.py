"""The cells that look at another one: they are of its data and repetition."""

from __future__ import annotations

from typing import Any

from mialab.engine.store import Config


class About(Config):
    """A cell about another, which is its field `target` unless a subclass says otherwise."""

    target: Any

    @property
    def about(self) -> Any:
        """The cell that is looked at."""
        return self.target

    @property
    def data(self) -> str:
        """The name of the data set."""
        name: str = self.about.data
        return name

    @property
    def seed(self) -> int:
        """The repetition."""
        number: int = self.about.seed
        return number
