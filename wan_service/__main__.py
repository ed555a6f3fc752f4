"""`python -m wan_service`: the video worker as a process."""

from shared.config import load
from shared.server import run
from shared.worker.engine import OnChange
from wan_service.config import WanConfig
from wan_service.servicer import VideoEngine, wan_worker


def main() -> None:
    config = load(WanConfig, "wan_service")

    def make_engine(on_change: OnChange) -> VideoEngine:
        # Only here, so that --help and a wrong variable do not wait for torch.
        from wan_service.engine.engine import WanEngine

        return WanEngine()

    run(wan_worker(config, make_engine), config)


if __name__ == "__main__":
    main()
