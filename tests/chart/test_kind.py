"""`make test-kind` where it cannot run: one line says why, and what stands in."""

from pathlib import Path

import pytest
from tests.chart import kind


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str, code: int) -> None:
    (folder / name).write_text(f"#!/bin/sh\nexit {code}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("docker", "reason"), [(None, "there is no docker on the PATH"), (1, "no Docker engine runs"), (0, "there is no kubectl on the PATH")],
)  # fmt: skip
def test_without_docker_it_says_so_in_one_line(
    path: Path, capsys: pytest.CaptureFixture[str], docker: int | None, reason: str
) -> None:
    if docker is not None:
        program(path, "docker", docker)
    assert kind.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert reason in line
    assert "make test-chart" in line
