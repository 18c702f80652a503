"""What is done to the parts, and when: dealt like cards, so that each comes as often as the others."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from .rig import Rig

LATEST_SECONDS = 2.0
"""When in its round a disturbance begins at the latest."""

LENGTHS_SECONDS = (0.3, 2.5)
"""How long it is there."""

Act = Callable[[], object]


class Disturbance(NamedTuple):
    """Something that gets in the way.

    Attributes:
        name: what it is.
        begin: does it.
        end: takes it back.
    """

    name: str
    begin: Act
    end: Act


class Turn(NamedTuple):
    """What happens at a moment of a round.

    Attributes:
        at: seconds since the round began.
        name: what it is.
        act: does it.
    """

    at: float
    name: str
    act: Act


def all_of(rig: Rig) -> list[Disturbance]:
    """List what can be done to a rig."""
    # Of their own: how much of it they take depends on what happens, and the order of rounds is not to.
    chance = random.Random(rig.chance.random())
    found = [Disturbance("alarm-broker", lambda: rig.broker.watermark(0), lambda: rig.broker.watermark(0.4))]
    for part in rig.parts:
        found.append(Disturbance(f"kill-{part.name}", part.kill, part.start))
        found.append(Disturbance(f"pause-{part.name}", part.pause, part.go_on))
    for component in (rig.shipper, rig.collector):
        name = component.name
        found.append(Disturbance(f"power-{name}", partial(component.cut_power, chance), component.power_on))
        found.append(Disturbance(f"fill-{name}", partial(rig.fill, name), partial(rig.free, name)))
    for name, wire in (("collector", rig.to_collector), ("broker", rig.to_broker)):
        found.append(Disturbance(f"reject-{name}", partial(wire.cut, chance, "REJECT"), wire.mend))
        found.append(Disturbance(f"drop-{name}", partial(wire.cut, chance, "DROP"), wire.mend))
    return sorted(found)


def deal(disturbances: list[Disturbance], chance: random.Random) -> Iterator[list[Disturbance]]:
    """Give those of each round, two to four: shuffled, and shuffled anew when not enough are left."""
    deck: list[Disturbance] = []
    while True:
        count = min(chance.randint(2, 4), len(disturbances))
        if len(deck) < count:
            deck = chance.sample(disturbances, len(disturbances))
        yield deck[:count]
        del deck[:count]


def turns(dealt: list[Disturbance], chance: random.Random) -> list[Turn]:
    """Say when each begins and ends, in the order of time."""
    found = []
    for disturbance in dealt:
        begin = chance.uniform(0.2, LATEST_SECONDS)
        end = begin + chance.uniform(*LENGTHS_SECONDS)
        found.append(Turn(begin, disturbance.name, disturbance.begin))
        found.append(Turn(end, f"end of {disturbance.name}", disturbance.end))
    return sorted(found, key=lambda turn: turn.at)
