import pytest


@pytest.fixture(autouse=True)
def prompt_datasets(monkeypatch, tmp_path):
    """`datasets` sleeps 5 s at the end of a shuffled stream, and caches in the home folder."""
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
