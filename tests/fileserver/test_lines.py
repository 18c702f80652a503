"""Ganesha's messages in the log."""

import asyncio
import logging

import pytest
from jld_fileserver.lines import Messages, parse


@pytest.mark.parametrize(
    ("line", "level", "text", "component"),
    [
        ("[main] nfs_lift_grace_locked :STATE :EVENT :NFS Server Now NOT IN GRACE", logging.INFO,
         "NFS Server Now NOT IN GRACE", "STATE"),
        ("[svc_4] vfs_open :FSAL :CRIT :open failed: [x] :y", logging.ERROR, "open failed: [x] :y", "FSAL"),
        ("[main] main :NFS STARTUP :FATAL :Fatal errors.", logging.CRITICAL, "Fatal errors.", "NFS STARTUP"),
        ("23/11/2026 12:04:00 : epoch 6b042bb0 : d64faa01388b : nfs-ganesha-10[main] main :MAIN :WARN :Early",
         logging.WARNING, "Early", "MAIN"),
        ("terminate called", logging.INFO, "terminate called", None),
    ],
)  # fmt: skip
def test_parse(line: str, level: int, text: str, component: str | None) -> None:
    """A message's level and text are told, also before the configuration is read and when it is no message."""
    found_level, found_text, extra = parse(line)
    assert (found_level, found_text, extra.get("component")) == (level, text, component)


async def test_log(caplog: pytest.LogCaptureFixture) -> None:
    """The same message is logged once, what is expected not at all, and a line beyond all bounds ends nothing."""
    caplog.set_level(logging.INFO)
    reader = asyncio.StreamReader(limit=200)
    trouble = b"[svc_1] write2 :FSAL :CRIT :No space\n"
    expected = b"[main] __Register_program :DISP :MAJ :Cannot register NFS V4 on TCP\n"
    reader.feed_data(trouble + expected + b"x" * 300 + b"\n" + trouble)
    reader.feed_data(b"[svc_1] write2 :FSAL :CRIT :\xff without an end")
    reader.feed_eof()
    await Messages().log(reader)
    assert [record.getMessage() for record in caplog.records] == ["ganesha: No space", "ganesha: \ufffd without an end"]
