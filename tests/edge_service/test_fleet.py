import asyncio
import contextlib

from chat_service.config import ChatConfig
from chat_service.servicer import ChatWorker
from edge_service.fleet import Fleet, Worker
from shared.pb.atelier.worker.v1 import worker_pb2
from shared.server import Server
from tests.edge_service.test_jobs_end_to_end import SteeredEngine


def known(slots: int, free: int, in_flight: int = 0, accepting: bool = True, worker_type: str = "sdxl") -> Worker:
    worker = Worker("127.0.0.1:1")
    worker.description = worker_pb2.WorkerDescription(worker_type=worker_type, slots=slots)
    worker.status = worker_pb2.WatchStatusResponse(slots=slots, free_slots=free, accepting=accepting)
    worker.in_flight = in_flight
    return worker


def test_a_fleet_made_before_the_event_loop_runs_finds_its_workers():
    # As `python -m edge_service` makes it: a channel made then would belong to no loop, and every call would fail.
    async def connect(address: str, fleet: Fleet) -> bool:
        engine = SteeredEngine()
        config = ChatConfig(model="none", listen=address, drain_seconds=0)
        server = Server(ChatWorker(config, lambda _: engine), config)
        await server.start()
        fleet.workers[0].address = server.address
        fleet.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while not fleet.connected():
                    await asyncio.sleep(0.02)
        found = bool(fleet.connected())
        await fleet.close()
        await server.stop()
        return found

    assert asyncio.run(connect("127.0.0.1:0", Fleet(["127.0.0.1:1"])))


def test_a_slot_that_was_just_given_away_is_not_free_though_the_status_says_so():
    assert known(slots=1, free=1).free == 1
    assert known(slots=1, free=1, in_flight=1).free == 0


def test_a_job_is_not_counted_twice_when_the_status_knows_it_too():
    assert known(slots=4, free=3, in_flight=1).free == 3


def test_jobs_of_other_replicas_count():
    assert known(slots=4, free=1, in_flight=1).free == 1


def test_a_worker_that_drains_or_is_lost_is_not_chosen():
    lost = known(slots=1, free=1)
    lost.status = None
    fleet = Fleet([])
    fleet.workers = [known(slots=1, free=1, accepting=False), lost]
    assert fleet.choose("sdxl") is None


def test_the_freest_worker_of_the_type_is_chosen():
    fleet = Fleet([])
    fleet.workers = [known(4, 1), known(4, 3), known(8, 8, worker_type="wan")]
    assert fleet.choose("sdxl") is fleet.workers[1]
