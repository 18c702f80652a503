"""Debian's syslog-ng with its destination for AMQP, which waits for no confirms."""

from pathlib import Path

from measured import Command, Program, until
from rabbit import EXCHANGE, KEY

CONFIGURATION = """\
@version: 3.38
options {{ stats-freq(0); log-fifo-size(100000); keep-hostname(yes); use-dns(no); dns-cache(no); }};
source lines {{ {source} flags(no-parse) log-iw-size(10000) log-fetch-limit(1000)); }};
destination broker {{
  amqp(host("127.0.0.1") port({port}) vhost("/") username("guest") password("guest")
    exchange("{exchange}") exchange-declare(no) routing-key("{key}") body("$MESSAGE") persistent(yes)
    value-pairs(key("HOST")) {buffer});
}};
log {{ source(lines); destination(broker); flags(flow-control); }};
"""

BUFFER = 'disk-buffer(reliable(yes) mem-buf-size(33554432) disk-buf-size(1073741824) dir("{folder}"))'

STDIN = "stdin("


def from_file(file: Path, seconds: float | None = None) -> str:
    """Give the source that follows a file, which it looks at after so many seconds; by default it is one."""
    return f'file("{file}"' + ("" if seconds is None else f" follow-freq({seconds})")


def command(root: Path, folder: Path, port: int, source: str, *, spool: bool = False) -> Command:
    """Give what publishes what there is, and goes on waiting for more.

    Args:
        root: the folder that its packages are unpacked in.
        folder: for what it keeps.
        port: the broker's.
        source: where lines come from: STDIN, or what from_file() gives.
        spool: whether messages wait on disk.
    """
    folder.mkdir(parents=True)
    configuration = folder / "syslog-ng.conf"
    configuration.write_text(
        CONFIGURATION.format(
            source=source,
            port=port,
            exchange=EXCHANGE,
            key=KEY,
            buffer=BUFFER.format(folder=folder) if spool else "",
        )
    )
    libraries = sorted({str(file.parent) for file in root.rglob("*.so*")})
    (modules,) = {str(file.parent) for file in root.rglob("libafamqp.so")}
    control = folder / "control"
    words: list[str | Path] = [
        *(root / "usr/sbin/syslog-ng", "--foreground", "--no-caps", "--stderr", "--cfgfile", configuration),
        *("--persist-file", folder / "persist", "--pidfile", folder / "pid", "--control", control),
        *("--module-path", modules),
    ]
    return Command(words, {"LD_LIBRARY_PATH": ":".join(libraries)})


def wait_for_start(folder: Path, started: Program) -> None:
    """Wait until it takes lines."""
    until("syslog-ng starts", (folder / "control").exists, started)
