"""Machines unlike this one, imitated: no affinity, no bf16, no home, a bare locale, odd paths."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from chapters import chapter, save
from conftest import ROOT

from mia_utils.data import Pool, write_archive
from mia_utils.training.device import resolve_precision

ELSEWHERE = """
import os, sys
vars(os).pop("sched_getaffinity", None)  # macOS
import torch
for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
    setattr(torch.cpu, name, lambda: False)  # an older processor
import mia_utils as mia
from mia_utils.cli.main import main

pool = mia.load_dataset("Zoë")
masks = mia.balanced_masks(len(pool), models=4, seed=0)
config = mia.TrainConfig(epochs=5, batch_size=16)
outputs = mia.train(pool, masks, "mlp", config, precision="auto", jobs=2, progress=False)
outputs = mia.Outputs.load(outputs.save("Antworten für später.npz"))
print(mia.evaluate(mia.LossAttack(), outputs).targets[0].auc)
assert mia.Store().record(outputs.names[0])["precision"] == "fp32"
for command in (
    ["store", "verify"],
    ["data", "check", "Zoë"],
    ["audit", "Antworten für später.npz", "--which", "0", "-o", "Bericht über alles"],
    ["run", "Kapitel eins.ipynb", "--out", "ausgeführt.ipynb"],
):
    assert main(command) == 0, command
"""


def test_a_bare_locale_odd_paths_no_home_no_affinity_and_no_bf16(tmp_path):
    """All at once: whatever works here works with each of them."""
    place = tmp_path / "Übung 1 – prüfen"
    data = place / "Daten und Bilder"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    noise = rng.integers(0, 128, (80, 8, 8, 1))
    images = (noise + 100 * labels[:, None, None, None]).astype(np.uint8)
    pool = Pool.from_arrays("Zoë", images, labels, ["Küken", "雪"])
    write_archive(pool, data / "Zoë.npz")
    save(chapter("print('ausgeführt: ✓')"), place / "Kapitel eins.ipynb")
    home = place / "home"
    home.write_text("")  # a file: nobody, not even root, can write below it
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "MIA_"))}
    environment |= {
        "LC_ALL": "C",
        "HOME": str(home),
        "TMPDIR": str(place),
        "PYTHONPATH": str(ROOT),
        **{f"MIA_{n.upper()}": str(place / f"{n} für alle") for n in ("store", "runs", "results")},
        "MIA_DATA": str(data),
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=place,
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert "ausgeführt: ✓" in (place / "ausgeführt.ipynb").read_text("utf-8")
    assert (place / "Bericht über alles").is_dir()


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_bf16_where_the_processor_multiplies_it(native, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: native)
    assert resolve_precision("auto", "cpu") == ("bf16" if native else "fp32")
