"""`python -m sdxl_service`: the image worker as a process."""

from sdxl_service.config import SdxlConfig
from sdxl_service.servicer import ImageEngine, sdxl_worker
from shared.config import load
from shared.server import run
from shared.worker.engine import OnChange


def main() -> None:
    config = load(SdxlConfig, "sdxl_service")

    def make_engine(on_change: OnChange) -> ImageEngine:
        # Only here, so that --help and a wrong variable do not wait for torch.
        from sdxl_service.engine.engine import SdxlEngine

        return SdxlEngine()

    run(sdxl_worker(config, make_engine), config)


if __name__ == "__main__":
    main()
