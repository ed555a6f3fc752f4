"""Atelier: images, videos and chat from your own machines.

    import atelier

    with atelier.Client() as client:
        job = client.image("a red fox in the snow", num_images=3, seed=7)
        for event in job:
            print(event)
        for file in job.result():
            print(file.save("out/"), file.metadata["seed"])

        print(client.chat("Why is the sky blue?").text)

`AsyncClient` has the same methods for asyncio. Errors are in `atelier.errors`.
`verify_webhook` tells whether a callback really came from your edge.
"""

from atelier.client import AsyncClient
from atelier.errors import AtelierError, EdgeUnreachable
from atelier.events import (
    AttemptFailed,
    Ended,
    Event,
    PlaceChanged,
    PreviewStored,
    Progressed,
    StatusChanged,
    TextAdded,
)
from atelier.results import Answer, Asset, Estimate, Expected, File, Job, StoredAsset
from atelier.sync_client import Client
from atelier.webhooks import InvalidSignature, WebhookEvent
from atelier.webhooks import verify as verify_webhook

__all__ = [
    "Answer",
    "Asset",
    "AsyncClient",
    "AtelierError",
    "AttemptFailed",
    "Client",
    "EdgeUnreachable",
    "Ended",
    "Estimate",
    "Event",
    "Expected",
    "File",
    "InvalidSignature",
    "Job",
    "PlaceChanged",
    "PreviewStored",
    "Progressed",
    "StatusChanged",
    "StoredAsset",
    "TextAdded",
    "WebhookEvent",
    "verify_webhook",
]
