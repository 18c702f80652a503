"""Rounds that would try nothing do not begin."""

import os
import sys
from typing import Any

import pytest
from soak.__main__ import main


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--rounds", "0"), "--rounds 0: should be 1 or more"),
        (("--rounds", "-1"), "--rounds -1: should be 1 or more"),
        (("--mutant", "acknowledge-before-sink"), "'acknowledge-before-sync'"),
        (("--folder", "/nowhere"), "--folder /nowhere: should be a folder"),
    ],
    ids=str,
)
def test_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    """What cannot be done, or would be proof of nothing, is refused with what would be right."""

    def begin(*_: Any) -> None:
        pytest.fail("it begins")

    monkeypatch.setattr(os, "execvp", begin)
    monkeypatch.setattr(sys, "argv", ["soak", *words])
    with pytest.raises(SystemExit) as refusal:
        main()
    assert refusal.value.code == 2
    assert reason in capsys.readouterr().err
