import re
import subprocess
import sys
from pathlib import Path

from atelier.cli import policy
from edge_service.accounts.tiers import Tier
from shared.config import PREFIX


def test_the_reference_is_what_the_code_says(repository: Path, tmp_path: Path):
    written = tmp_path / "reference.md"
    subprocess.run([sys.executable, repository / "docs" / "generate.py", "--to", written], check=True, cwd=tmp_path)
    assert written.read_text() == (repository / "docs" / "reference.md").read_text(), "run `make generate`"


def test_every_variable_the_pages_name_exists(repository: Path):
    known = set(re.findall(rf"`({PREFIX}[A-Z_]+)`", (repository / "docs" / "reference.md").read_text()))
    pages = [repository / "README.md", *(repository / "docs").glob("*.md"), *(repository / "k8s").rglob("*.md")]
    for page in pages:
        named = set(re.findall(rf"{PREFIX}[A-Z][A-Z_]*[A-Z]", page.read_text()))
        assert named <= known, f"{page.name} names {named - known}"


def test_every_variable_that_the_command_line_reads_is_listed_as_its_own(repository: Path):
    section = (repository / "docs" / "reference.md").read_text().partition("### `atelier`")[2].partition("\n## ")[0]
    known = set(re.findall(rf"^\| `({PREFIX}[A-Z_]+)`", section, re.MULTILINE))
    sources = "".join(path.read_text() for path in (repository / "atelier").rglob("*.py"))
    assert known == {*re.findall(rf"environ\.get\(\s*\"({PREFIX}[A-Z_]+)\"", sources), "ATELIER_POLICIES"}


def test_every_policy_is_named_in_its_page_and_help(repository: Path):
    page = (repository / "docs" / "policies.md").read_text()
    for path in (repository / "edge_service" / "policies").glob("*.yaml"):
        assert f"[{path.name}](" in page
        assert f"/{path.name}\n" in page.partition("$ atelier policy check policies\n.../")[2], "the sample output"
        assert path.stem.partition("_")[0].rstrip("s") in str(policy.app.info.help)


def test_every_key_of_a_tier_is_in_the_table_of_its_page(repository: Path):
    page = (repository / "docs" / "policies.md").read_text()
    assert [
        name for name in Tier.model_fields if name != "name" and f"`{name}`" not in page.replace("tiers.NAME.", "")
    ] == []


def test_every_file_the_readme_names_exists(repository: Path):
    links = re.findall(r"\]\(([^)#:]+)\)", (repository / "README.md").read_text())
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_every_target_the_readme_names_exists(repository: Path):
    targets = re.findall(r"`make ([a-z-]+)", (repository / "README.md").read_text())
    makefile = (repository / "Makefile").read_text()
    assert targets
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
