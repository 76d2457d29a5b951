"""Ctrl-C that waits for the end of a step: the first asks to stop, the second stops at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fsar_cli.reporting import Reporter


class StopRequest:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_on_interrupt(reporter: Reporter) -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM set `asked`; a second one raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, the request is never set.
    """
    request = StopRequest()

    def handle(number: int, frame: object) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        reporter.log("stopping after this episode; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
