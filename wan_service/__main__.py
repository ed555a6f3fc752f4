"""`python -m wan_service`: the video worker as a process."""

from shared.config import load
from shared.server import run
from shared.worker_configs import model_config
from wan_service.config import WanConfig
from wan_service.seam import Engine
from wan_service.servicer import wan_worker


def main() -> None:
    config = load(WanConfig, "wan_service")

    def make_engine() -> Engine:
        # Only here, so that --help and a wrong variable do not wait for torch.
        from wan_service.engine import DiffusersEngine

        return DiffusersEngine(model_config(config))

    run(wan_worker(config, make_engine), config)


if __name__ == "__main__":
    main()
