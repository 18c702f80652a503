"""How far behind the collector is, in bytes and seconds, and how few series tell it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jld_filebeat.lag import STEPS, Lag, Lags
from jld_filebeat.metrics import FURTHEST, Metrics

Follow = Callable[[str], Any]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a clock that stands until its `now` is set."""
    made = SimpleNamespace(now=100.0)
    made.monotonic = lambda: made.now
    monkeypatch.setattr("jld_filebeat.lag.time", made)
    return made


def test_age_of_the_oldest(follow: Follow, logs: Path, clock: Any) -> None:
    """The lag in seconds is the age of the oldest bytes that are not acknowledged, and none when all are."""
    log, table, lags = logs / "app.log", follow(f"plain:{logs}/*.log"), Lags()
    log.write_text("one\n")
    table.ship(acknowledge=False)
    lags.note(table.follower.files)
    clock.now += 10
    with log.open("a") as file:
        file.write("two\n")
    table.follower.scan()
    lags.note(table.follower.files)
    clock.now += 5
    assert lags.tell(table.follower.files) == {str(log): Lag(8, 15)}
    table.follower.files[0].acknowledged = 4
    assert lags.tell(table.follower.files) == {str(log): Lag(4, 5)}
    table.follower.files[0].acknowledged = 8
    assert lags.tell(table.follower.files) == {}


def test_long_behind(clock: Any) -> None:
    """A log that is behind for long costs little memory, and its age stays that of its oldest bytes."""

    class Grown:
        path, size, acknowledged = "/x.log", 0, 0

    file: Any = Grown()
    lags = Lags()
    for _ in range(10_000):
        file.size += 10
        clock.now += 1
        lags.note([file])
    assert lags.tell([file]) == {"/x.log": Lag(100_000, 9_999)}
    assert len(lags._grown[file]) <= 2 * STEPS
    file.acknowledged = 90_000
    (lag,) = lags.tell([file]).values()
    assert 1_000 <= lag.seconds < 2_000


def test_series_are_few() -> None:
    """Of many logs only those furthest behind have series of their own, and a log that has caught up has none."""
    metrics = Metrics()
    metrics.show({f"/{number}.log": Lag(number, number / 10) for number in range(1, 1001)})
    value = metrics.registry.get_sample_value
    assert value("filebeat_lag_bytes") == sum(range(1, 1001))
    assert value("filebeat_lag_seconds") == 100
    assert value("filebeat_log_lag_bytes", {"path": "/1000.log"}) == 1000
    assert value("filebeat_log_lag_seconds", {"path": "/1000.log"}) == 100
    assert value("filebeat_log_lag_bytes", {"path": "/980.log"}) is None
    series = [sample for family in metrics.registry.collect() for sample in family.samples if sample.labels]
    assert len(series) == 2 * FURTHEST
    metrics.show({})
    assert value("filebeat_log_lag_bytes", {"path": "/1000.log"}) is None
    assert value("filebeat_lag_seconds") == 0
