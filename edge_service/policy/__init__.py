"""What people tune, as data: the YAML files of `policies/`, each with a pydantic model as its schema.

policy(name, Model)   the content of a file; ask anew for each request, for it changes
current().version     which version of all files that is, a hash

Each RPC sees one version from beginning to end, whatever is taken meanwhile: `holding` in `snapshot.py` sees to it, and
`held()` does the same for other work.

`registry.py` lists the files, `folder.py` says where they lie, `reloading.py` takes what people change.
"""

from edge_service.policy.mistakes import Mistake, PolicyRefused
from edge_service.policy.schema import Strict, refused
from edge_service.policy.snapshot import Snapshot, current, held, policy

__all__ = ["Mistake", "PolicyRefused", "Snapshot", "Strict", "current", "held", "policy", "refused"]
