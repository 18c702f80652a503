"""What the end of a round, and of all of them, does not let pass."""

import json
import random
from pathlib import Path

import pytest
from soak import rig as module
from soak.__main__ import last_look
from soak.ledger import message
from soak.rig import LOSSES, WORK, Rig


class Parts(Rig):
    """A rig without parts, whose figures are given; what comes late comes when nothing else is under way.

    Attributes:
        figures: what shipper and collector tell.
        late: an id that line 0 comes with once more.
    """

    figures: dict[str, float]
    late = "w-0"

    def _figures(self, *samples: str) -> dict[str, float]:
        if samples == WORK:
            self.arrive(self.late)
        return {sample: self.figures[sample] for sample in samples if sample in self.figures}

    def arrive(self, identity: str) -> None:
        """Have line 0 arrive."""
        event = {"message": message("w", 0), "event": {"id": identity}}
        self.ledger.take(json.dumps(event).encode(), identity)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Give one at the end of a round: the line has arrived."""
    monkeypatch.setattr(module, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(module, "IDLE_SECONDS", 1.5)
    made = Parts(tmp_path, random.Random(0), "")
    made.parts = []
    made.figures = dict.fromkeys((*LOSSES, *WORK), 0)
    made.arrive("w-0")
    return made


def test_all_is_well(rig: Parts) -> None:
    """With each line there and all figures 0 there is nothing to say, of a late repeat with the same id neither."""
    assert rig.check({"w": 1}) == []
    assert last_look(rig) == []
    assert rig.ledger.repeats


def test_late_copy(rig: Parts) -> None:
    """A copy with another id that comes when the last round was decided already is found."""
    rig.late = "v-0"
    assert rig.check({"w": 1}) == []
    assert last_look(rig)[0] == "w 0: has two ids: w-0 and v-0"


@pytest.mark.parametrize("name", LOSSES)
def test_figures(rig: Parts, name: str) -> None:
    """A figure of losses that is not 0 is wrong, and so is one that nobody tells."""
    rig.figures[name] = 1
    assert rig.check({"w": 1}) == [f"{name} is 1"]
    del rig.figures[name]
    with pytest.raises(AssertionError, match="both tell what is lost"):
        rig.check({"w": 1})
    assert "both tell what is lost" in last_look(rig)[0]
