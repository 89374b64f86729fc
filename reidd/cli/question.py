"""One question of the demo, and its answer."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from reidd.results import ReIdentificationResults


class Question(NamedTuple):
    """One query crop, who it truly is (0 for a stranger), and what the daemon said."""

    path: Path
    true_id: int
    answer: "ReIdentificationResults"
    nearest: list[tuple[Path, int, float]]
    """The gallery crops nearest to it, one per id: file, id, distance."""

    @property
    def right(self) -> bool:
        """Whether the nearest id is the true one; for a stranger, whether the verdict is "unknown"."""
        if self.true_id == 0:
            return str(self.answer.verdict) == "unknown"
        return self.answer.predictions[0].id == self.true_id
