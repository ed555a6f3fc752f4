import re
import subprocess
import sys
from pathlib import Path

from shared.config import PREFIX


def test_the_reference_is_what_the_code_says(repository: Path, tmp_path: Path):
    written = tmp_path / "reference.md"
    subprocess.run([sys.executable, repository / "docs" / "generate.py", "--to", written], check=True, cwd=tmp_path)
    assert written.read_text() == (repository / "docs" / "reference.md").read_text(), "run `make generate`"


def test_every_variable_the_pages_name_exists(repository: Path):
    known = set(re.findall(rf"`({PREFIX}[A-Z_]+)`", (repository / "docs" / "reference.md").read_text()))
    launcher = {"ATELIER_CACHE", "ATELIER_EDGE", "ATELIER_EDGE_CA"}  # read by the command line, not by a service
    pages = [repository / "README.md", *(repository / "docs").glob("*.md"), *(repository / "k8s").rglob("*.md")]
    for page in pages:
        named = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*[A-Z]", page.read_text()))
        assert named <= known | launcher, f"{page.name} names {named - known - launcher}"


def test_every_file_the_readme_names_exists(repository: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", (repository / "README.md").read_text())
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_every_target_the_readme_names_exists(repository: Path):
    targets = re.findall(r"`make ([a-z-]+)", (repository / "README.md").read_text())
    makefile = (repository / "Makefile").read_text()
    assert targets
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
