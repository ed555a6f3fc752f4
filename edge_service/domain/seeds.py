"""Seeds: what a request names is kept, 0 too; what it leaves out is drawn from a real source and reported."""

import secrets

from edge_service.domain.partial_job import WorkerJob
from shared.errors import InvalidRequest, Violation
from shared.pb.atelier.edge.v1 import edge_pb2
from shared.pb.atelier.sdxl.v1 import sdxl_pb2
from shared.pb.atelier.wan.v1 import wan_pb2

SEEDS = 2**31


def draw_seeds(job: WorkerJob, decisions: list[edge_pb2.Decision]) -> None:
    """Sets every seed of the job. Raises InvalidRequest for seeds that are not one per image."""
    if isinstance(job, wan_pb2.WanJob) and not job.sampling.HasField("seed"):
        job.sampling.seed = secrets.randbelow(SEEDS)
        decisions.append(edge_pb2.Decision(field="sampling.seed", to=str(job.sampling.seed), why="drawn at random"))
    if isinstance(job, sdxl_pb2.SdxlJob):
        _draw_image_seeds(job, decisions)


def _draw_image_seeds(job: sdxl_pb2.SdxlJob, decisions: list[edge_pb2.Decision]) -> None:
    config, seeds = job.config, job.sampling.seeds
    if seeds and len(seeds) != config.num_images:
        description = f"must have one seed per image ({config.num_images}), got {len(seeds)}"
        raise InvalidRequest(Violation("sdxl.sampling.seeds", description))
    if seeds:
        config.seed = seeds[0]
        decisions.append(edge_pb2.Decision(field="config.seed", to=str(seeds[0]), why="first of sampling.seeds"))
        return
    if not config.HasField("seed"):
        config.seed = secrets.randbelow(SEEDS)
        decisions.append(edge_pb2.Decision(field="config.seed", to=str(config.seed), why="drawn at random"))
    seeds.extend((config.seed + index) % SEEDS for index in range(config.num_images))
    to = ", ".join(str(seed) for seed in seeds)
    decisions.append(edge_pb2.Decision(field="sampling.seeds", to=to, why="config.seed + index of the image"))
