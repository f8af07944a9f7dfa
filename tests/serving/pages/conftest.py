import pytest

from serving.pages.run_index import RunsFolder
from tests.serving.pages.sample_runs import write_empty, write_sample


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A folder of runs that nothing writes to: `sample` and `empty`."""
    runs = tmp_path_factory.mktemp("runs")
    write_sample(runs)
    write_empty(runs)
    return runs


@pytest.fixture
def folder(sample):
    return RunsFolder(sample)
