"""Whose turn on the processor it is: the machines of a real cluster have processors of their own, this one has two for all, and perhaps a compiler beside."""
import contextlib
import os


def prefer(pid, nice=-10):
    """Lets the session of this process go before others: the kernel shares the processors between sessions first (autogroups), then within them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
        file.write(str(nice))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)


def never_wait():
    """For an instrument, which must not wait for the processor behind what it measures."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
