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
"""

from atelier.client import AsyncClient
from atelier.errors import AtelierError, EdgeUnreachable
from atelier.events import Ended, Event, PreviewStored, Progressed, StatusChanged, TextAdded
from atelier.results import Answer, Asset, File, Job
from atelier.sync_client import Client

__all__ = [
    "Answer",
    "Asset",
    "AsyncClient",
    "AtelierError",
    "Client",
    "EdgeUnreachable",
    "Ended",
    "Event",
    "File",
    "Job",
    "PreviewStored",
    "Progressed",
    "StatusChanged",
    "TextAdded",
]
