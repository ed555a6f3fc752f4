"""The list of mutants fits the code: what each changes is still there. `python -m benchmarks.mutants` runs them."""

from pathlib import Path

import pytest

from benchmarks.mutants import TESTS, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_has_something_to_change_and_a_test_that_notices(mutant: Mutant, repository: Path):
    assert mutant.applied(repository) != (repository / mutant.file).read_text()
    for name in mutant.tests:
        file, _, function = name.partition("::")
        assert f"def {function}" in (repository / TESTS / file).read_text()


def test_the_documentation_lists_every_mutant(repository: Path):
    documented = (repository / "docs/chaos.md").read_text()
    assert [mutant.name for mutant in mutants() if f"| {mutant.name} |" not in documented] == []
