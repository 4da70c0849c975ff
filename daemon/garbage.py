"""Python's garbage collector, kept away from what is here to stay.

A full collection looks through every object there is. Of a daemon nearly all of them came with its modules and go with
the process, and looking through them takes 50 to 125 ms, in which the loop answers nobody (measured under load; 2 ms
without them). While the modules are being loaded, collecting is an eighth of the start.
"""

from __future__ import annotations

import gc


def wait() -> None:
    """Collect nothing until ``keep_loaded`` or ``go_on``."""
    gc.disable()


def keep_loaded() -> None:
    """Collect, but never look again at what is in memory now. To be said after loading much; from any thread."""
    gc.freeze()
    gc.enable()


def go_on() -> None:
    gc.enable()
