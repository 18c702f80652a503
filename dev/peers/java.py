"""RabbitMQ's own PerfTest, by Maven."""

from pathlib import Path

from .cache import call, once, require

PERF_TEST = "2.22.1"

PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>peers</groupId><artifactId>peers</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>com.rabbitmq</groupId><artifactId>perf-test</artifactId><version>{PERF_TEST}</version></dependency>
  </dependencies>
</project>
"""


def perf_test() -> Path:
    """Give the folder of its jars, for `java -cp FOLDER/* com.rabbitmq.perf.PerfTest`.

    Raises:
        PeerError: Java is missing, or Maven where they are not there yet, or they cannot be fetched.
    """
    require("java", "Java 17 (Debian package: default-jre-headless)")
    return once(f"perf-test-{PERF_TEST}", _fetch) / "jars"


def _fetch(aside: Path) -> None:
    require("mvn", "Maven (Debian package: maven)")
    (aside / "pom.xml").write_text(PROJECT)
    call(["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=jars"], aside)
