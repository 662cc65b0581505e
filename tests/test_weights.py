"""The weights that are shipped: what they are, and that they find what their cards say."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.model_info import info_of_file
from persondet.checkpoint import load_checkpoint
from persondet.cli import cli
from persondet.images import read_image_rgb
from persondet.models import resolve_model
from persondet.sidecar import read_sidecar, sha256_of
from runtime.backend import open_backend
from runtime.detector import Detector

CARDS = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
MAX_BYTES = 15_000_000
# name: class, network, parameters as the specification counts them
SHIPPED = {
    "head": ("head", "mb2-ssd-lite-f38", 2_750_864),
    "person": ("person", "mb2-ssd-lite-f38-person", 3_031_900),
}
# model, test split, and AP50 that its card gives
FIGURES = [
    ("head", "scut_head_b"),
    ("person", "coco_person"),
    ("person", "voc_person"),
]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_what_it_is_said_to_be(name: str) -> None:
    class_name, network, parameters = SHIPPED[name]
    path = resolve_model(name)
    assert path.stat().st_size < MAX_BYTES
    checkpoint = load_checkpoint(path)
    assert checkpoint.spec.network == network
    assert checkpoint.spec.class_names == ("background", class_name)
    assert checkpoint.training["config"]["seed"] == 0
    assert info_of_file(path).figures.parameters == parameters
    sidecar = read_sidecar(path)
    assert sidecar is not None and sidecar["artefact"]["sha256"] == sha256_of(path)
    assert sha256_of(path) in CARDS, "docs/models.md records another file"


def test_the_astronaut_is_found(astronaut: Path) -> None:
    """By her head and by her body, and each about where it is."""
    picture = read_image_rgb(astronaut)
    for name, inside in (("head", (225, 115)), ("person", (225, 300))):
        found = Detector(open_backend(resolve_model(name)))(picture)
        assert len(found) >= 1, name
        left, top, right, bottom = found.boxes_xyxy_px[0]
        assert left < inside[0] < right and top < inside[1] < bottom, name


def test_a_model_is_used_by_its_name(astronaut: Path) -> None:
    result = CliRunner().invoke(cli, ["detect", "head", str(astronaut)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "1 head" in result.stdout


@pytest.mark.parametrize(("name", "split"), FIGURES)
def test_the_card_says_what_is_measured(
    name: str, split: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = shared_data / split / "test.json"
    arguments = [name, "--data", str(data), "--images-root", str(shared_data), "--json"]
    result = CliRunner().invoke(cli, ["evaluate", *arguments], catch_exceptions=False)
    record = json.loads(result.stdout)
    row = re.search(rf"\| `{name}` \| {split}/test \|[^|]*\| ([0-9.]+) \|", CARDS)
    assert row, f"docs/models.md has no figure of {name} on {split}/test"
    assert record["ap50"] == pytest.approx(float(row[1]), abs=0.006)
