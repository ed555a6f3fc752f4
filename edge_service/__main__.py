"""`python -m edge_service`: the edge as a process."""

from edge_service.bootstrap import Edge
from edge_service.config import EdgeConfig
from shared.config import load
from shared.server import run


def main() -> None:
    config = load(EdgeConfig, "edge_service")
    run(Edge(config), config)


if __name__ == "__main__":
    main()
