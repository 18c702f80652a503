"""RabbitMQ's own PerfTest, from Maven: what a broker can take of one producer that waits for confirms."""

import re
import subprocess
from pathlib import Path

from collector_broker import EXCHANGE, KEY, QUEUE

VERSION = "2.22.1"

LEAST_RATES = 4
"""What it prints, one a second, before an average means anything."""

PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId><artifactId>bench</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>com.rabbitmq</groupId><artifactId>perf-test</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""


class PerfTest:
    """The program.

    Args:
        folder: where its parts are put, once.
    """

    def __init__(self, folder: Path) -> None:
        self._jars = folder / f"perf-test-{VERSION}"
        if not self._jars.exists():
            aside = folder / "perf-test.new"
            aside.mkdir(parents=True, exist_ok=True)
            (aside / "pom.xml").write_text(PROJECT)
            command = ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
            subprocess.run(command, cwd=aside, check=True)
            aside.rename(self._jars)

    def run(self, port: int, *, kind: str, window: int, size: int, seconds: int) -> float:
        """Publish for some time, and give the confirmed messages a second.

        Args:
            port: the broker's.
            kind: the queue's type.
            window: messages on their way at the same time.
            size: bytes of a message.
            seconds: for how long.
        """
        command = [
            *("java", "-cp", f"{self._jars / 'jars'}/*", "com.rabbitmq.perf.PerfTest"),
            *("--uri", f"amqp://guest:guest@127.0.0.1:{port}/%2f", "--id", "bench"),
            *("--producers", "1", "--consumers", "0", "--confirm", str(window), "--size", str(size)),
            *("--flag", "persistent", "--flag", "mandatory", "--exchange", EXCHANGE, "--type", "topic"),
            *("--queue", QUEUE, "--routing-key", KEY, "--predeclared", "--time", str(seconds)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # Its own average has the first second, the start of its machine, and the last, of which there is a part.
        rates = [float(rate.replace(",", "")) for rate in re.findall(r"confirmed: ([\d.,]+) msg/s", done.stdout)]
        if len(rates) < LEAST_RATES:
            raise RuntimeError(f"PerfTest: {done.stdout[-1000:]}{done.stderr[-1000:]} ({kind})")
        return sum(rates[1:-1]) / len(rates[1:-1])


SYSLOG_NG = """\
@version: 3.38
options {{ stats-freq(0); log-fifo-size(100000); keep-hostname(yes); use-dns(no); }};
source lines {{ file("{lines}" flags(no-parse) log-iw-size(10000) log-fetch-limit(1000)); }};
destination broker {{
  amqp(host("127.0.0.1") port({port}) vhost("/") username("guest") password("guest")
    exchange("{exchange}") exchange-declare(no) routing-key("{key}") body("$MESSAGE") persistent(yes)
    value-pairs(key("HOST")));
}};
log {{ source(lines); destination(broker); flags(flow-control); }};
"""


class SyslogNg:
    """Debian's syslog-ng with its destination for AMQP, unpacked into a folder; it waits for no confirms.

    Args:
        folder: where its parts are put, once.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder / "syslog-ng"
        if not self._root.exists():
            aside = folder / "syslog-ng.new"
            aside.mkdir(parents=True, exist_ok=True)
            names = ["syslog-ng-core", "syslog-ng-mod-amqp"]
            words = ["apt-get", "install", "--simulate", "--no-install-recommends", *names]
            found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            needed = re.findall(r"^Inst (\S+)", found, re.MULTILINE)
            subprocess.run(["apt-get", "download", "--quiet", *(needed or names)], cwd=aside, check=True)
            for package in aside.glob("*.deb"):
                subprocess.run(["dpkg", "--extract", package, aside], check=True)
            aside.rename(self._root)

    def start(self, folder: Path, port: int, lines: Path) -> subprocess.Popen[bytes]:
        """Publish the lines of a file, and go on waiting for more.

        Args:
            folder: for what it keeps.
            port: the broker's.
            lines: the file.
        """
        configuration = folder / "syslog-ng.conf"
        configuration.write_text(SYSLOG_NG.format(lines=lines, port=port, exchange=EXCHANGE, key=KEY))
        libraries = sorted({str(file.parent) for file in self._root.rglob("*.so*")})
        (modules,) = {str(file.parent) for file in self._root.rglob("libafamqp.so")}
        command = [
            *(self._root / "usr/sbin/syslog-ng", "--foreground", "--no-caps", "--stderr"),
            *("--cfgfile", configuration, "--persist-file", folder / "persist", "--pidfile", folder / "pid"),
            *("--control", folder / "control", "--module-path", modules),
        ]
        with (folder / "syslog-ng.log").open("wb") as log:
            return subprocess.Popen(
                list(map(str, command)), env={"LD_LIBRARY_PATH": ":".join(libraries)}, stdout=log, stderr=log
            )
