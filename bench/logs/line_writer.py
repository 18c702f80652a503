"""Writes lines at a steady pace: `line_writer.py FILE COUNT RATE SIZE`, each with its number and the time."""

import os
import sys
import time

from latency import text


def main() -> None:
    """Write as the arguments say."""
    file, *numbers = sys.argv[1:]
    count, rate, size = map(int, numbers)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        os.write(descriptor, text(number, time.time_ns(), size))


if __name__ == "__main__":
    main()
