"""Samples to training batches: read, augment, resize, match; the same for the same seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from persondet.anchors import anchors_cxcywh_norm
from persondet.boxes import xyxy_from_cxcywh
from persondet.data.samples import DataSet, Sample
from persondet.images import read_image_rgb
from persondet.spec import DetectorSpec
from persondet.training.augment import Example, augmented, mosaic, resized
from persondet.training.config import TrainConfig
from persondet.training.targets import encode, match


@dataclass(frozen=True, eq=False)
class Batch:
    """images: (N, H, W, 3) uint8; labels (N, A) int64; offsets (N, A, 4) float32; class_known
    (N, C) bool; names: of the pictures, for messages."""

    images: torch.Tensor
    labels: torch.Tensor
    offsets: torch.Tensor
    class_known: torch.Tensor
    names: tuple[str, ...]

    def pin_memory(self) -> "Batch":
        return Batch(
            self.images.pin_memory(),
            self.labels.pin_memory(),
            self.offsets.pin_memory(),
            self.class_known.pin_memory(),
            self.names,
        )


def normalised(images: torch.Tensor, spec: DetectorSpec) -> torch.Tensor:
    """(N, H, W, 3) uint8 to the network's float32 (N, 3, H, W), as persondet.preprocess does; in
    memory, channels stay last."""
    mean = torch.tensor(spec.mean_rgb, device=images.device)
    std = torch.tensor(spec.std_rgb, device=images.device)
    return ((images.to(torch.float32) - mean) / std).permute(0, 3, 1, 2)


class TrainingExamples(Dataset):
    """Item (epoch, index) is the index-th sample, augmented with its own seeded generator."""

    def __init__(self, data: DataSet, spec: DetectorSpec, config: TrainConfig) -> None:
        self._samples = data.samples
        self._spec = spec
        self._config = config
        self._anchors = torch.from_numpy(anchors_cxcywh_norm(spec))
        self._anchors_xyxy = xyxy_from_cxcywh(self._anchors.numpy())

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(
        self, item: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
        epoch, index = item
        rng = np.random.default_rng((self._config.seed, epoch, index))
        samples = [self._samples[index]]
        if rng.random() < self._config.augment.mosaic:
            others = rng.integers(len(self._samples), size=3)
            samples += [self._samples[other] for other in others]
        known = np.zeros(self._spec.num_classes, bool)
        known[[0, *set.intersection(*(set(s.labeled_class_ids) for s in samples))]] = True
        example = self._example(samples, rng)
        # In a part of a mosaic a class may be annotated that is not in another.
        example = replace(example, ignore=example.ignore | ~known[example.class_ids])
        labels, offsets = self._targets(example)
        name = " + ".join(sample.image_path.name for sample in samples)
        return example.image_rgb, labels, offsets, known, name

    def _example(self, samples: Sequence[Sample], rng: np.random.Generator) -> Example:
        """One picture, or four as one, at the network's size."""
        size_hw = self._spec.input_size_hw
        examples = [
            augmented(_read(sample), self._config.augment, size_hw, rng) for sample in samples
        ]
        whole = examples[0] if len(examples) == 1 else mosaic(examples, size_hw)
        return resized(whole, size_hw, self._config.min_side_px)

    def _targets(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        height, width = self._spec.input_size_hw
        scale = np.array([width, height, width, height], np.float32)
        boxes = torch.from_numpy(example.boxes_xyxy_px / scale)
        labels, indices = match(
            torch.from_numpy(self._anchors_xyxy),
            boxes,
            torch.from_numpy(example.class_ids),
            torch.from_numpy(example.ignore),
            self._config.match,
        )
        offsets = torch.zeros(len(labels), 4)
        positive = labels > 0
        offsets[positive] = encode(
            boxes[indices[positive]], self._anchors[positive], self._spec.variances
        )
        return labels.numpy(), offsets.numpy()


def _read(sample: Sample) -> Example:
    image_rgb = read_image_rgb(sample.image_path)
    boxes_xyxy_px = sample.boxes_xyxy_px.astype(np.float32)
    return Example(image_rgb, boxes_xyxy_px, sample.class_ids, sample.ignore)


class EpochSampler(Sampler):
    """Shuffled (epoch, index) pairs of one epoch: the same for the same seed, part of `shards`."""

    def __init__(self, count: int, seed: int, shard: int = 0, shards: int = 1) -> None:
        self._count, self._seed, self._shard, self._shards = count, seed, shard, shards
        self.epoch = 0
        self.skip = 0  # items of this epoch that an interrupted run has had

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._count)
        # Every process gets as many: the order is repeated from its start where it does not divide.
        order = np.resize(order, len(self) * self._shards)
        mine = order[self._shard :: self._shards][self.skip :]
        return ((self.epoch, int(index)) for index in mine)

    def __len__(self) -> int:
        return -(-self._count // self._shards)


def training_loader(
    data: DataSet, spec: DetectorSpec, config: TrainConfig, *, shard: int = 0, shards: int = 1
) -> DataLoader:
    """Batches of one epoch after another; set `.sampler.epoch` before each."""
    return DataLoader(
        TrainingExamples(data, spec, config),
        batch_size=max(1, config.batch_size // shards),
        sampler=EpochSampler(len(data.samples), config.seed, shard, shards),
        num_workers=config.workers,
        collate_fn=_collate,
        drop_last=len(data.samples) >= config.batch_size,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_begin_worker,
    )


def _begin_worker(_worker: int) -> None:
    """One thread each; Ctrl-C reaches a terminal's whole group, and only the trainer may act."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _collate(items: Sequence[tuple]) -> Batch:
    *arrays, names = zip(*items, strict=True)
    tensors = [torch.from_numpy(np.stack(array)) for array in arrays]
    return Batch(tensors[0], tensors[1], tensors[2], tensors[3], tuple(names))
