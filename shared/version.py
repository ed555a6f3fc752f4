"""Which Atelier this is."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The installed version of Atelier, or "0" when it runs from a bare checkout."""
    try:
        return version("atelier")
    except PackageNotFoundError:
        return "0"
