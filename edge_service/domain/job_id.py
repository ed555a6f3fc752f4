"""Job ids: `{worker_type}_{job_type}_{timestamp}_{random_suffix}`, such as sdxl_image_high_1734567890_abc123."""

import secrets
import string

ALPHABET = string.ascii_lowercase + string.digits
SUFFIX_LENGTH = 6


def new_job_id(worker_type: str, type_name: str, timestamp: float) -> str:
    """A new id. The worker's name is not repeated where the type already begins with it.

    The suffix makes 2 billion ids a second and type; the database refuses the rare double and the caller draws again.
    """
    name = type_name if type_name.startswith(f"{worker_type}_") else f"{worker_type}_{type_name}"
    suffix = "".join(secrets.choice(ALPHABET) for _ in range(SUFFIX_LENGTH))
    return f"{name}_{int(timestamp)}_{suffix}"
