"""Reference pictures: from what a job names to objects of the asset store that a worker may read.

A value is the key of an asset of the caller's, or an http(s) URL, which the edge alone fetches. Either way the worker
gets an upload of the caller's: decoded, made anew and stored by the edge. Resolve the reference options and check
the capabilities
first: nothing is fetched for a job that no model could do.
"""

import hashlib
from collections.abc import Sequence

from atelier.contracts.errors import AssetNotFound, InvalidRequest, PermissionDenied, ReferenceUnusable, Violation
from atelier.pb.job.v1 import job_pb2
from edge_service.adapters.http_client import GuardedHttpClient, RequestFailed
from edge_service.adapters.url_guard import UrlGuard
from edge_service.domain.decisions import decide
from edge_service.domain.kinds import WantedReference, WorkerJob, kind_of
from edge_service.references.sandbox import MAX_BYTES, InvalidImage
from edge_service.references.uploads import Source, Uploads
from shared.assets import KEY


class References:
    """Finds, checks or fetches the pictures that jobs name."""

    def __init__(self, uploads: Uploads, http: GuardedHttpClient, url_guard: UrlGuard) -> None:
        self._uploads, self._http, self._url_guard = uploads, http, url_guard

    async def resolve(self, job: WorkerJob, owner: str, permitted: bool) -> None:
        """Fills `references` of a steered job and clears the fields that named the pictures.

        Raises PermissionDenied if the caller's tier has no references, InvalidRequest for what is neither key nor URL,
        AssetNotFound also for a key of another owner, and ReferenceUnusable for what cannot be fetched or is none.
        """
        kind = kind_of(job)
        pictures = kind.wanted_references(job)
        if not pictures:
            return
        if not permitted:
            raise PermissionDenied(f"{pictures[0].field}: your tier does not allow reference pictures")
        self._check(job, pictures)
        found: dict[str, job_pb2.Reference] = {}
        for picture in pictures:
            if picture.value not in found:
                found[picture.value] = await self._found(picture, owner)
            self._place(job, picture, found[picture.value])
        kind.clear_reference_addresses(job)

    def _check(self, job: WorkerJob, pictures: Sequence[WantedReference]) -> None:
        """Checks the text of each, before anything is done for the first."""
        worker_type = kind_of(job).worker_type
        for picture in pictures:
            if _is_url(picture.value):
                self._url_guard.check(f"{worker_type}.{picture.field}", picture.value)
            elif not KEY.fullmatch(picture.value):
                says = "must be the key of an asset of yours, or begin with http:// or https://"
                raise InvalidRequest(Violation(f"{worker_type}.{picture.field}", says))

    async def _found(self, picture: WantedReference, owner: str) -> job_pb2.Reference:
        try:
            async with self._uploads.limiter.slot(owner):
                if not _is_url(picture.value):
                    return await self._uploads.of_key(owner, picture.value)
                data = await self._http.get(picture.value, MAX_BYTES)
                return await self._uploads.keep(Source(owner, hashlib.sha256(data).hexdigest()), data)
        except AssetNotFound as error:
            raise AssetNotFound(f"{picture.field}: {error.message}") from None
        except RequestFailed as error:
            raise ReferenceUnusable(f"{picture.field}: could not be fetched: {error.why}") from None
        except InvalidImage as error:
            raise ReferenceUnusable(f"{picture.field}: this file {error.why}") from None

    def _place(self, job: WorkerJob, picture: WantedReference, reference: job_pb2.Reference) -> None:
        getattr(job.references, picture.place).CopyFrom(reference)  # type: ignore[union-attr]
        if _is_url(picture.value):
            # The host alone: the rest of a URL may be a secret.
            before = f"an address at {self._url_guard.target(picture.value).host}"
            why = "fetched, decoded and stored anew: a worker fetches nothing"
        elif picture.value == reference.key:
            before, why = "an upload", "yours, decoded when it was uploaded"
        else:
            before, why = picture.value, "yours, decoded and stored anew as an upload"
        decide(picture.field, before, reference.key, why)


def _is_url(value: str) -> bool:
    return value.lower().startswith(("http:", "https:"))
