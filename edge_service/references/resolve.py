"""Reference pictures: from what a job names to objects of the asset store that a worker may read.

A value is the key of an asset of the caller's, or an http(s) URL, which the edge alone fetches. Either way the worker
gets an upload of the caller's: decoded, made anew and stored by the edge. Resolve the reference options and check
the capabilities
first: nothing is fetched for a job that no model could do.
"""

import hashlib
from collections.abc import Sequence

from edge_service.adapters.http_client import GuardedHttpClient, RequestFailed
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.job_types import WorkerJob
from edge_service.domain.kinds.wan_references import Wanted
from edge_service.domain.reference_options import clear_addresses, wanted
from edge_service.references.sandbox import MAX_BYTES, PictureRefused
from edge_service.references.uploads import Source, Uploads
from shared.assets import KEY
from shared.errors import AssetNotFound, InvalidRequest, PermissionDenied, ReferenceUnusable, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.job.v1 import job_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2


class References:
    """Finds, checks or fetches the pictures that jobs name."""

    def __init__(self, uploads: Uploads, outgoing: GuardedHttpClient, addresses: UrlGuard) -> None:
        self._uploads, self._outgoing, self._addresses = uploads, outgoing, addresses

    async def resolve(self, job: WorkerJob, owner: str, permitted: bool) -> list[edge_pb2.Decision]:
        """Fills `references` of a steered job and clears the fields that named the pictures.

        Raises PermissionDenied if the caller's tier has no references, InvalidRequest for what is neither key nor URL,
        AssetNotFound also for a key of somebody else's, and ReferenceUnusable for what cannot be fetched or is none.
        """
        pictures = wanted(job)
        if not pictures:
            return []
        if not permitted:
            raise PermissionDenied(f"{pictures[0].field}: your tier does not allow reference pictures")
        self._judge(job, pictures)
        decisions, found = list[edge_pb2.Decision](), dict[str, job_pb2.Reference]()
        for picture in pictures:
            if picture.value not in found:
                found[picture.value] = await self._found(picture, owner)
            decisions.append(self._place(job, picture, found[picture.value]))
        clear_addresses(job)
        return decisions

    def _judge(self, job: WorkerJob, pictures: Sequence[Wanted]) -> None:
        """Judges the text of each, before anything is done for the first."""
        worker = "sdxl" if isinstance(job, sdxl_pb2.SdxlJob) else "wan"
        for picture in pictures:
            if _is_url(picture.value):
                self._addresses.check(f"{worker}.{picture.field}", picture.value)
            elif not KEY.fullmatch(picture.value):
                says = "must be the key of an asset of yours, or begin with http:// or https://"
                raise InvalidRequest(Violation(f"{worker}.{picture.field}", says))

    async def _found(self, picture: Wanted, owner: str) -> job_pb2.Reference:
        try:
            async with self._uploads.limiter.slot(owner):
                if not _is_url(picture.value):
                    return await self._uploads.of_key(owner, picture.value)
                data = await self._outgoing.get(picture.value, MAX_BYTES)
                return await self._uploads.keep(Source(owner, hashlib.sha256(data).hexdigest()), data)
        except AssetNotFound as error:
            raise AssetNotFound(f"{picture.field}: {error.message}") from None
        except RequestFailed as error:
            raise ReferenceUnusable(f"{picture.field}: could not be fetched: {error.why}") from None
        except PictureRefused as error:
            raise ReferenceUnusable(f"{picture.field}: this file {error.why}") from None

    def _place(self, job: WorkerJob, picture: Wanted, reference: job_pb2.Reference) -> edge_pb2.Decision:
        assert isinstance(job, sdxl_pb2.SdxlJob | wan_pb2.WanJob)
        getattr(job.references, picture.place).CopyFrom(reference)
        decision = edge_pb2.Decision(field=picture.field, to=reference.key)
        if _is_url(picture.value):
            # The host alone: the rest of a URL may be a secret.
            setattr(decision, "from", f"an address at {self._addresses.target(picture.value).host}")
            decision.why = "fetched, decoded and stored anew: a worker fetches nothing"
        elif picture.value == reference.key:
            setattr(decision, "from", "an upload")
            decision.why = "yours, decoded when it was uploaded"
        else:
            setattr(decision, "from", picture.value)
            decision.why = "yours, decoded and stored anew as an upload"
        return decision


def _is_url(value: str) -> bool:
    return value.lower().startswith(("http:", "https:"))
