"""The loop: an interrupted run ends where an uninterrupted one does; bad numbers stop it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_data import CONFIG, made_data

from persondet.checkpoint import load_checkpoint
from persondet.data.samples import DataSet
from persondet.errors import InputError, PersondetError
from persondet.networks import build_network, initialise
from persondet.networks.ssd import SSD
from persondet.preprocess import preprocess
from persondet.spec import DetectorSpec
from persondet.training.examples import EpochSampler, normalised, training_loader
from persondet.training.rules import AugmentRule
from persondet.training.run_folder import BEST_FILE, LAST_FILE, LOG_FILE, STATE_FILE
from persondet.training.trainer import Run, train
from persondet.zoo import F38, detector_spec


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return made_data(tmp_path_factory.mktemp("pictures"))


def small() -> tuple[DetectorSpec, SSD]:
    spec = detector_spec(F38, width_mult=0.25)
    network = build_network(spec)
    initialise(network, seed=1)
    return spec, network


def run_of(spec: DetectorSpec, data: DataSet, folder: Path, **changes) -> Run:
    folder.mkdir(exist_ok=True)
    return Run(spec, CONFIG, data, folder, **changes)


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(data: DataSet, tmp_path: Path) -> None:
    spec, network = small()
    train(run_of(spec, data, tmp_path / "whole"), network)

    steps = iter(range(100))
    spec, network = small()
    stopping = run_of(spec, data, tmp_path / "parts", stop=lambda: next(steps) == 1)
    progress = train(stopping, network)
    assert (progress.epoch, progress.batch) == (0, 2)
    _, fresh = small()
    train(run_of(spec, data, tmp_path / "parts"), fresh, resume=True)

    whole, parts = (
        load_checkpoint(tmp_path / name / LAST_FILE).network.state_dict()
        for name in ("whole", "parts")
    )
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name
    last = [log_of(tmp_path / name)[-1] for name in ("whole", "parts")]
    for key in ("classification_loss", "localisation_loss", "step"):
        assert last[0][key] == last[1][key]


def test_the_best_by_the_evaluator_is_kept_and_patience_ends_the_run(
    data: DataSet, tmp_path: Path
) -> None:
    spec, network = small()
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    run = run_of(spec, data, tmp_path / "run", evaluate=lambda net: {"score": next(scores)})
    run = replace(run, config=replace(CONFIG, epochs=5, patience=2))
    progress = train(run, network)
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (3, 1, 0.5)
    assert [record["score"] for record in log_of(run.folder)] == [0.5, 0.4, 0.3]
    assert load_checkpoint(run.folder / BEST_FILE).spec == spec


def test_a_loss_that_is_not_finite_names_the_pictures(data: DataSet, tmp_path: Path) -> None:
    spec, network = small()
    with torch.no_grad():
        network.base_net[18][0].weight[0, 0] = float("nan")
    with pytest.raises(PersondetError, match=r"not finite .*epoch 1, batch 1, images \d.png"):
        train(run_of(spec, data, tmp_path / "run"), network)


def test_nothing_to_resume_and_another_configuration_are_refused(
    data: DataSet, tmp_path: Path
) -> None:
    spec, network = small()
    run = run_of(spec, data, tmp_path / "run")
    with pytest.raises(InputError, match=f"nothing to resume: .*{STATE_FILE}"):
        train(run, network, resume=True)
    train(replace(run, config=replace(CONFIG, epochs=1)), network)
    with pytest.raises(InputError, match="made with another configuration"):
        train(run, network, resume=True)


def test_the_frozen_backbone_does_not_move(data: DataSet, tmp_path: Path) -> None:
    spec, network = small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run = run_of(spec, data, tmp_path / "run")
    train(replace(run, config=replace(CONFIG, epochs=1, freeze_backbone=True)), network)
    for name, value in network.state_dict().items():
        moved = not torch.equal(value, before[name])
        if name.startswith("base_net."):
            assert not moved, name
    assert not torch.equal(
        network.classification_headers[0][3].weight, before["classification_headers.0.3.weight"]
    )


def test_training_sees_pictures_as_inference_does(data: DataSet) -> None:
    spec, _ = small()
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    found = normalised(torch.from_numpy(image)[None], spec)
    np.testing.assert_allclose(found.numpy(), preprocess(image, spec), atol=1e-6)


def test_workers_do_not_change_the_batches(data: DataSet) -> None:
    spec, _ = small()
    first, second = (
        list(training_loader(data, spec, replace(CONFIG, workers=workers))) for workers in (0, 2)
    )
    for a, b in zip(first, second, strict=True):
        assert a.names == b.names and torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels) and torch.equal(a.offsets, b.offsets)


def test_shards_share_out_every_sample() -> None:
    parts = [list(EpochSampler(10, 3, shard, 3)) for shard in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert {index for part in parts for _, index in part} == set(range(10))
    sampler = EpochSampler(10, 3)
    sampler.skip = 4
    assert list(sampler) == list(EpochSampler(10, 3))[4:]


def test_a_mosaic_learns_only_classes_that_all_of_its_pictures_annotate(
    data: DataSet, tmp_path: Path
) -> None:
    """The losses stay finite where a part's class is unknown in the others."""
    spec = detector_spec(F38, width_mult=0.25, class_names=["head", "person"])
    half = [
        replace(sample, labeled_class_ids=(1 + index % 2,), class_ids=sample.class_ids + index % 2)
        for index, sample in enumerate(data.samples)
    ]
    mixed = DataSet("mixed", spec.class_names, tuple(half))
    config = replace(CONFIG, workers=0, augment=AugmentRule(mosaic=1.0))
    for batch in training_loader(mixed, spec, config):
        known = batch.class_known.numpy()
        for labels, row in zip(batch.labels.numpy(), known, strict=True):
            assert row[labels[labels > 0]].all()
        assert known[:, 0].all()
    assert " + " in batch.names[0]
