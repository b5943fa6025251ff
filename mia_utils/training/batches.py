"""The pool as batches: one array, a row gather, normalisation."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch

# ImageNet's channel means and deviations on colour images, as the report's code; their averages on gray.
MEAN = {3: (0.485, 0.456, 0.406), 1: (0.449,)}
STD = {3: (0.229, 0.224, 0.225), 1: (0.226,)}


def on_device(records: np.ndarray, device: str) -> bool:
    """Whether all records lie on the device at once: a memory-mapped pool may exceed memory."""
    if not isinstance(records, np.memmap):
        return True
    return device == "cuda" and records.nbytes < torch.cuda.mem_get_info()[0] // 4


class SharedRows:
    """The records of the last pool on a device, for all threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: np.ndarray | None = None
        self._rows = torch.empty(0)

    def of(self, records: np.ndarray, device: str) -> torch.Tensor:
        """Flat rows (N, values) of `records` (N, ...) on the device."""
        with self._lock:
            if self._records is not records:
                flat = records.reshape(len(records), -1)
                if isinstance(flat, np.memmap):
                    flat = np.array(flat)  # torch warns of memory that it may not write to
                self._rows = torch.from_numpy(flat).to(device)
                self._records = records
                if device == "cuda":  # the threads work on streams of their own
                    torch.cuda.current_stream().synchronize()
            return self._rows


class Loader:
    """Batches out of one array: a row gather, then normalisation, as channels_last.

    Parameters
    ----------
    records, labels : uint8 (N, H, W, C) or float32 (N, D); int64 (N,) or float32 (N, classes)
        May be memory-mapped: a pool beyond memory is gathered by NumPy, batch by batch.
    rows : SharedRows or None
        Where the records are on the device already, or shall be kept for others.
    """

    def __init__(
        self,
        records: np.ndarray,
        labels: np.ndarray,
        device: str,
        rows: SharedRows | None = None,
    ) -> None:
        self.shape = records.shape[1:]
        self._mapped = not on_device(records, device)
        if self._mapped:
            self._lines = records.reshape(len(records), -1)
        else:
            self._rows = (rows or SharedRows()).of(records, device)
        self.labels = torch.from_numpy(np.ascontiguousarray(labels)).to(device)
        self.device = device
        if len(self.shape) == 3:
            channels = self.shape[2]
            mean = torch.tensor(MEAN[channels], device=device)
            deviation = torch.tensor(STD[channels], device=device)
            self._scale, self._shift = 1 / (255 * deviation), mean / deviation

    def __call__(
        self,
        index: torch.Tensor,
        change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Records (B, C, H, W) normalised, or features (B, D) as they are; float32.

        `change` is applied to the images before that, uint8 (B, C, H, W) to the same.
        """
        if self._mapped:
            order = index.cpu().numpy()
            rows = torch.from_numpy(np.ascontiguousarray(self._lines[order])).to(self.device)
        else:
            rows = self._rows.index_select(0, index)
        if len(self.shape) == 1:
            return rows
        pixels = rows.view(-1, *self.shape)
        if change is not None:
            pixels = change(pixels.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        images = pixels.to(torch.float32)
        return images.mul_(self._scale).sub_(self._shift).permute(0, 3, 1, 2)
