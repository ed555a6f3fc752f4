"""What the log of a process would tell somebody who reads all of it."""

import pytest


def everything_logged(caplog: pytest.LogCaptureFixture) -> str:
    """The lines, and what they carry besides their words: the log is JSON, with whatever `extra=` names in it."""
    return caplog.text + "".join(str(vars(record)) for record in caplog.records)
