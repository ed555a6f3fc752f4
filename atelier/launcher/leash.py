"""Runs a command that must not outlive the launcher: `python leash.py LAUNCHER_PID COMMAND...`.

A launcher that is killed outright can stop no process, so the kernel is asked to. Run by path and without `atelier`,
it costs a few milliseconds; a fork hook in the launcher itself is no choice once gRPC has threads there.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(launcher: int, command: list[str]) -> None:
    """Replaces this process by `command`, which gets SIGTERM when the launcher dies."""
    if sys.platform == "linux":
        # SIGTERM and not SIGKILL: the edge must stop its database, which is no child of the launcher.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:
        sys.exit("the launcher has gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
