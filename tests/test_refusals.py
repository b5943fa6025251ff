"""Refusals that no other file asks for: each says what was given and what was expected."""

import io
import json
import os
import re
import sys
import zipfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from PIL import Image
from synthetic import gaussian_outputs

from mia_utils import InputError, plots
from mia_utils.__main__ import main
from mia_utils.audit.answers import read_answers
from mia_utils.audit.material import read_material
from mia_utils.audit.models import load_torch, load_weights
from mia_utils.book import notebooks, pairs, pdf
from mia_utils.data import Pool, load_dataset
from mia_utils.data.duplicates import first_copies, near_copies
from mia_utils.data.memory import check_memory
from mia_utils.defenses.masking import rounding, top_k
from mia_utils.evaluation import evaluate, holm
from mia_utils.evaluation.theorems import correctness_accuracy
from mia_utils.experiments import records
from mia_utils.experiments.transfer import transfer
from mia_utils.text import Corpus, TextConfig
from mia_utils.text.canaries import Canary
from mia_utils.text.query import TextModels
from mia_utils.text.read import read_tokens
from mia_utils.training.config import DPConfig
from mia_utils.training.models import build, check_model

TWO = gaussian_outputs(2, 40, seed=0, leak=1.0)
CURVE = pd.DataFrame({"epoch": [1, 1]})


def models_of_two():
    corpus = Corpus.of(["one text", "another"], vocabulary=260)
    return TextModels(corpus, np.ones((2, 2), np.uint8), TextConfig(), ("a", "b"), None)


CALLS = {
    "two and a half classes": (
        lambda: top_k(TWO, 2.5),
        "k=2.5; expected an integer from 1 to the 4 classes",
    ),
    "one and a half decimals": (
        lambda: rounding(TWO, 1.5),
        "decimals=1.5; expected an integer from 1 to 17",
    ),
    "copies of a number": (lambda: first_copies(np.float32(5)), "records is one number; expected"),
    "near copies of rows": (
        lambda: near_copies(np.zeros((2, 3))),
        "images have shape (2, 3); expected (N, H, W, C)",
    ),
    "a rate twice": (
        lambda: evaluate(TWO.logits[..., 0], TWO.members, fprs=(0.5, 0.5)),
        "fprs=(0.5, 0.5); expected different false-positive rates",
    ),
    "no rates": (
        lambda: evaluate(TWO.logits[..., 0], TWO.members, fprs=()),
        "fprs=(); expected different false-positive rates",
    ),
    "p-values beyond 1": (lambda: holm([0.5, 1.5]), "p-values of shape (2,); expected (tests,)"),
    "an accuracy in percent": (
        lambda: correctness_accuracy(99, 0.5),
        "acc_train=99.0; expected accuracies in [0, 1]",
    ),
    "an axis of transfer": (
        lambda: transfer(pd.DataFrame(), "model", "loss"),
        "axis='model'; expected 'architecture' or 'dataset'",
    ),
    "a source for one of two documents": (
        lambda: Corpus(("a", "b"), models_of_two().corpus.tokenizer, ("web",)),
        "1 sources for 2 documents",
    ),
    "a third model of two": (lambda: models_of_two()[2], "model 2 of 2, which count from 0"),
    "a secret in letters": (
        lambda: Canary("The code is {}", "12ab"),
        "secret='12ab'; expected digits",
    ),
    "privacy of texts with copies": (
        lambda: TextConfig(dp=DPConfig(epsilon=1.0, multiplicity=2)),
        "dp: multiplicity and weight_standardisation are for images; leave them out",
    ),
    "dropout in somebody's factory": (
        lambda: build("refused_nets:net", (4, 4, 3), 4, dropout=0.5),
        "dropout=0.5 with 'refused_nets:net': put dropout into your own factory",
    ),
    "answers that are no floats": (
        lambda: check_model("refused_nets:whole", (4, 4, 3), 4),
        "torch.int64 in evaluation mode; expected (2, 4) of floats",
    ),
    "no distributions": (lambda: plots.distributions({}), "plots.distributions got no values"),
    "no curves": (lambda: plots.roc({}), "plots.roc got no curves"),
    "no matrix": (lambda: plots.matrix({}), "plots.matrix got no table, or an empty one"),
    "an empty matrix": (
        lambda: plots.matrix({"a": pd.DataFrame()}),
        "plots.matrix got no table, or an empty one",
    ),
    "an epoch twice": (
        lambda: plots.epoch_curve(CURVE.reindex(columns=["epoch", *EPOCH_COLUMNS])),
        "an epoch is in the table twice; choose the rows of one training",
    ),
    "images of features": (
        lambda: plots.samples(Pool.from_arrays("plain", np.zeros((2, 3)), [0, 1]), [0]),
        "plots.samples('plain', 1 records); expected images",
    ),
    "no images": (
        lambda: plots.samples(load_dataset("digits"), []),
        "plots.samples('digits', 0 records); expected images",
    ),
}
EPOCH_COLUMNS = plots.epoch_curve.__globals__["_COLUMNS"]


NETS = """
from torch import nn

class Whole(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)).round().long()

def net(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

def whole(shape, classes):
    return Whole(48, classes)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "refused_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("refused_nets", None)


@pytest.mark.parametrize("case", CALLS)
def test_what_has_no_meaning_is_refused_by_name(case, nets):
    call, said = CALLS[case]
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not plt.get_fignums(), "a figure was begun before what is drawn was looked at"


def test_a_machine_that_does_not_tell_its_memory_refuses_nothing(monkeypatch):
    with pytest.raises(InputError, match="the pool takes .* GB, this machine has .*; less"):
        check_memory(2**60, "the pool", "less")
    monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    check_memory(2**60, "the pool", "less")


# ---- files ----


def test_a_broken_block_of_exif_does_not_make_an_image_damaged(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        image = Image.fromarray(pixels)
        image.save(tmp_path / label / "1.png", exif=b"Exif\x00\x00no TIFF" if label == "b" else b"")
    read = read_material(tmp_path).pool.records
    np.testing.assert_array_equal(read, [pixels, pixels])


def test_two_columns_of_labels_that_differ_are_refused_and_equal_ones_read(tmp_path):
    path, one = tmp_path / "answers.npz", TWO.select(models=[0])
    given = {"logits": one.logits[0], "members": one.members[0], "labels": one.labels}
    np.savez(path, **given, y=(one.labels + 1) % 4)
    with pytest.raises(InputError, match=r"answers.npz: labels and y differ; keep one of them"):
        read_answers(path)
    np.savez(path, **given, y=one.labels)
    np.testing.assert_array_equal(read_answers(path).outputs.labels, one.labels)


@pytest.mark.parametrize("held", [[torch.ones(2)], {"epoch": 3}, torch.ones(2)])
def test_weights_that_are_no_tensors_by_name_are_refused(held, tmp_path):
    torch.save(held, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="weights.pt: expected tensors by name, as model.state_d"):
        load_weights(tmp_path / "weights.pt")


def test_weights_of_another_model_are_refused_with_what_does_not_fit(tmp_path):
    pool = load_dataset("digits")
    state = build("mlp", pool.shape, 10).state_dict()
    name, *_, last = state
    state[name] = state[name][:, :3].contiguous()
    state["head.extra"] = state.pop(last)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="weights.pt does not fit mlp for .* and 10 classes") as e:
        load_torch("mlp", tmp_path / "weights.pt", pool)
    for told in (
        f"1 missing, such as {last}",
        "1 unknown, such as head.extra",
        f"such as {name} (",
    ):
        assert told in str(e.value)


def test_an_array_of_a_format_to_come_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "new.npz", "w") as archive:
        for name in ("images", "labels"):
            buffer = io.BytesIO()
            np.save(buffer, np.zeros((4, 2, 2), np.uint8) if name == "images" else np.arange(4) % 2)
            data = bytearray(buffer.getvalue())
            data[6] = 9  # the version's first number
            archive.writestr(f"{name}.npy", bytes(data))
    with pytest.raises(InputError, match=r"has an array format of version \(9, 0\)"):
        load_dataset("new", tmp_path)


def test_an_image_that_is_damaged_is_named(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / label / "1.png")
    whole = (tmp_path / "b/1.png").read_bytes()
    (tmp_path / "b/1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"b/1.png: damaged \(.+\); replace it, or take it out"):
        read_material(tmp_path)


def test_a_column_of_tokens_that_is_unknown_is_refused_with_the_way_out(tmp_path):
    table = pd.DataFrame(
        {"document": [0, 0, 1, 1], "log_prob": -1.0, "member": [1, 1, 0, 0], "site": [2, 2, 3, 3]}
    )
    table.to_csv(tmp_path / "tokens.csv", index=False)
    with pytest.raises(InputError, match=r"unknown 'site'; .*--groups site if it groups documents"):
        read_tokens(tmp_path / "tokens.csv")
    found = read_tokens(tmp_path / "tokens.csv", groups=["site"])
    assert [str(site) for site in found.groups["site"]] == ["2", "3"]


def test_signals_of_too_many_targets_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RUN_BYTES", 1000)
    with pytest.raises(InputError, match=r"signals of r1 take [\d,]+ bytes; at most 1,000 a run"):
        records._save_signals(tmp_path / "r1.npz", TWO)
    assert not list(tmp_path.iterdir())


def test_a_notebook_that_was_edited_by_itself_is_named(tmp_path):
    source = notebooks.chapters(ROOT)[0].with_suffix(".md")
    (tmp_path / source.name).write_text(source.read_text("utf-8"), "utf-8")
    (paired,) = pairs.sync(tmp_path)
    assert pairs.sync(tmp_path) == []
    content = notebooks.read(paired)
    notebooks.code_cells(content)[0]["source"] += "\nedited = True"
    paired.write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=f"{paired.name} was edited: .*give --discard"):
        pairs.sync(tmp_path)
    assert "edited = True" in paired.read_text("utf-8")
    assert pairs.sync(tmp_path, discard=True) == [paired]
    assert "edited = True" not in paired.read_text("utf-8")


def test_a_browser_that_prints_nothing_is_quoted(tmp_path):
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho no display >&2\n")
    browser.chmod(0o755)
    with pytest.raises(InputError, match=r"browser did not print .*page.html: no display$"):
        pdf.print_page(str(browser), tmp_path / "page.html", tmp_path / "page.pdf")


# ---- command lines ----


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "audit answers.npz --model cnn --data d --members m",
            "answers.npz and --model: give answers or a model, not both",
        ),
        (
            "plan --shape 32 32 --classes 10 --records 100",
            "--shape 32 32; expected H W C for images, or one number",
        ),
    ],
)
def test_command_lines_that_contradict_themselves_are_refused(line, said, capsys):
    assert main(line.split()) == 2
    assert said in capsys.readouterr().err
