"""What an image of a server packs of a network.yaml, the next one takes without reading YAML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devserver.config.written import read_written
from devserver.errors import ConfigError

TEXT = """network:
  name: Packed
  mods:
    - name: ./wiki
      config: {limit: many}
      versions:
        - {label: next, config: {limit: 3}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_same_bytes_give_the_same_values_and_places(file: Path) -> None:
    """Of a mod and of the line beside it; and what was taken can be packed again."""
    read = read_written(file)
    taken = read_written(file, read_written(file, read.pack()).pack())
    assert taken.config == read.config
    for one, other in zip(taken.config.specs, read.config.specs, strict=True):
        assert one.place_of is not None and other.place_of is not None
        assert one.place_of(("limit",), False) == other.place_of(("limit",), False)


def test_other_bytes_and_values_of_other_code_are_read(file: Path) -> None:
    """Also where the length is the same; and a file that is gone is told."""
    packed = read_written(file).pack()
    assert read_written(file, {**packed, "made_by": ("0",), "config": b"no pickle"}).config.name == "Packed"
    file.write_text(TEXT.replace("Packed", "Edited"), encoding="utf-8")
    assert read_written(file, packed).config.name == "Edited"
    file.write_text(f"{TEXT}# longer\n", encoding="utf-8")
    assert read_written(file, packed).data.endswith(b"# longer\n")
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_written(file, packed)


def test_a_server_imports_neither_models_nor_yaml_before_it_needs_them() -> None:
    """A restart in place does not wait for their imports."""
    tried = (
        "import sys; import devserver.cli.serve, devserver.server.server, devserver.ui.face, devserver.ui.capture\n"
        "print(*sorted({'pydantic', 'yaml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", tried], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
