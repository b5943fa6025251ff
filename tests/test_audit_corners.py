"""What an audit seldom meets: each is refused by name, or measured as it should be."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import torch
from audited import answers
from PIL import Image

from mia_utils import InputError
from mia_utils.audit import AuditData, audit
from mia_utils.audit.answers import read_answers
from mia_utils.audit.asked import answers_of
from mia_utils.audit.checks import CHECKS, check
from mia_utils.audit.gate import Limit
from mia_utils.audit.language import asked_token_data
from mia_utils.audit.material import Material, read_material
from mia_utils.audit.measure import _sums
from mia_utils.audit.models import EstimatorModel, HuggingFaceModel, load_weights
from mia_utils.audit.page import _data_uri
from mia_utils.audit.scores import RECIPES, _unfit
from mia_utils.audit.tables import read_array, read_table
from mia_utils.audit.traces import LossLog
from mia_utils.data import Pool

pytestmark = pytest.mark.filterwarnings("ignore::mia_utils.errors.InputWarning")
ONE = answers(records=200)
FEATURES = Pool.from_arrays("plain", np.arange(12.0).reshape(6, 2), np.arange(6) % 2)


# ---- answers ----


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"groups": ["a", "b"]}, r"groups are \['a', 'b'\]; expected a mapping"),
        ({"groups": {"site": [1, 2]}}, r"site has shape \(2,\); expected one a record, \(200,\)"),
        ({"names": ["a"]}, r"names has shape \(1,\)"),
        ({"traces": np.zeros((1, 200))}, r"losses have shape \(1, 200\); expected \(epochs >= 2"),
        ({"traces": np.zeros((3, 20))}, r"losses have shape \(3, 20\)"),
        ({"traces": np.zeros(200)}, r"losses have shape \(200,\)"),
        ({"features": np.zeros((3, 2))}, "features have 3 rows; expected 200"),
        ({"features": 1.0}, "features have no rows"),
    ],
)
def test_what_is_not_one_a_record_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        AuditData.of(ONE, **given)


def _archive(path, **arrays):
    given = {"logits": ONE.logits[0], "labels": ONE.labels, "members": ONE.members[0]}
    np.savez(path, **given | arrays)
    return path


def test_an_array_of_groups_is_read_as_groups(tmp_path):
    site = np.where(np.arange(200) < 50, "north", "south")
    found = read_answers(_archive(tmp_path / "a.npz", groups=site)).groups
    assert list(found) == ["group"] and found["group"].tolist() == site.tolist()


@pytest.mark.parametrize("one_hot", [False, True])
def test_classes_in_another_order_move_answers_and_labels_alike(one_hot, tmp_path):
    labels = np.eye(4)[ONE.labels] if one_hot else ONE.labels
    path = _archive(tmp_path / "a.npz", labels=labels, classes=np.array(list("abcd")))
    same, moved = (read_answers(path, classes=list(order)).outputs for order in ("abcd", "dbca"))
    np.testing.assert_array_equal(same.logits, read_answers(path).outputs.logits)
    np.testing.assert_array_equal(moved.logits, same.logits[..., [3, 1, 2, 0]])
    np.testing.assert_array_equal(moved.labels, np.array([3, 1, 2, 0])[same.labels])
    with pytest.raises(InputError, match="has the classes a, b, c, d; expected a, b, c, e"):
        read_answers(path, classes=list("abce"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 2**32}, "seed=4294967296; expected an integer.* below"),
        ({"rates": ()}, "rates are empty; expected false-positive rates"),
        (
            {"shadows": answers(records=200, classes=3, models=4, balanced=True)},
            "has 4 classes, the",
        ),
        ({"attacks": ["lira"]}, "LiRA.*: needs reference models"),
    ],
)
def test_audits_that_measure_nothing_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        audit(ONE, **options)


# ---- checks ----


def test_probabilities_that_are_certain_are_told():
    p = np.full((200, 4), 1e-9)
    p[np.arange(200), ONE.labels] = 1 - 3e-9
    p[100:] = np.exp(ONE.logits[0, 100:]) / np.exp(ONE.logits[0, 100:]).sum(1, keepdims=True)
    sure = ONE.replace(logits=np.log(p)[None].astype(np.float32))
    (note,) = [
        f.found
        for f in check(AuditData.of(sure, scale="probabilities"), None)[0]
        if "probabilities" in f.found
    ]
    assert "(50% of the answers are certain to seven digits)" in note


@pytest.mark.parametrize("classes", [4, 40])
def test_near_copies_are_found_among_few_classes_and_many(classes):
    outputs = answers(records=600, classes=classes)
    inside, outside = (np.flatnonzero(kind) for kind in (outputs.members[0], ~outputs.members[0]))
    logits, labels = outputs.logits.copy(), outputs.labels.copy()
    logits[0, outside[:7]] = logits[0, inside[:7]] + 1e-7
    labels[outside[:7]] = labels[inside[:7]]
    found = check(AuditData.of(outputs.replace(logits=logits, labels=labels)))[0]
    (told,) = [f.found for f in found if f.name == "duplicates"]
    assert told.startswith("7 of 300 non-members have answers next to a member's")


def test_reference_models_without_known_non_members_are_not_compared_by_accuracy():
    """Every record that is no member of the target was one of all reference models."""
    shadows = answers(records=200, models=4, seed=3)
    theirs = shadows.replace(members=np.broadcast_to(~ONE.members, shadows.members.shape).copy())
    wrong = theirs.replace(logits=-theirs.logits)  # far less accurate, if anybody looked
    found = check(AuditData.of(ONE), wrong, accept=tuple(CHECKS))[0]
    assert not [f for f in found if "records it has not seen" in f.found]
    looked = shadows.replace(logits=-shadows.logits)
    found = check(AuditData.of(ONE), looked, accept=tuple(CHECKS))[0]
    assert [f for f in found if "records it has not seen" in f.found]


# ---- measuring ----


@pytest.mark.parametrize(("size", "count"), [(50, 2), (45, 2), (30, 2), (20, 10), (5, 5)])
def test_sums_are_of_different_ranks(size, count):
    """Few of many are drawn with repeats that are mended: no sum may hold a rank twice."""
    ranks = 2.0 ** np.arange(size)  # the binary digits of a sum are the ranks in it
    sums = _sums(ranks, count, 4000, np.random.default_rng(0))
    assert {int(total).bit_count() for total in sums} == {count}
    held = np.mean([[int(total) >> k & 1 for k in range(size)] for total in sums], axis=0)
    assert np.abs(held - count / size).max() < 5 * np.sqrt(0.25 / 4000)


def test_a_limit_on_epsilon_is_held_against_what_is_proven():
    report = audit(answers(records=2000, leak=3.0), attacks=["loss"], records=False)
    (row,) = report.content["attacks"]
    proven = row["epsilon"]["low_all"]
    assert proven > 0
    over, under = report.against([Limit("epsilon", proven / 2), Limit("epsilon", proven * 2)])
    assert over.failed and over.lower == proven and not under.failed


def test_a_leak_in_one_group_alone_is_told_as_such():
    quiet = answers(records=3000)
    site = np.where(np.arange(3000) % 10 == 0, "b", "a")
    logits = quiet.logits.copy()
    hit = (site == "b") & quiet.members[0]
    logits[0, hit, quiet.labels[hit]] += 1.0
    data = AuditData.of(quiet.replace(logits=logits), groups={"site": site})
    report = audit(data, attacks=["loss"], records=False)
    said = " ".join(report.content["verdict"]["sentences"])
    assert said.startswith("Over all records no leak was proven, but in 1 of 6 groups one was")


def test_pictures_of_one_channel_are_shown_as_grey():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert _data_uri(grey[..., None]) == _data_uri(grey)
    assert _data_uri(np.repeat(grey[..., None], 3, axis=2)).startswith("data:image/png;base64,")


@pytest.mark.parametrize(("epochs", "kept"), [(None, 3), ((1, 3), 2)])
def test_losses_are_kept_after_every_epoch_or_after_some(epochs, kept):
    log = LossLog(np.array([0, 1]), epochs)
    for epoch in (1, 2, 3):
        log(epoch, np.array([[0.0, 0.0], [0.0, float(epoch)]]))
    assert log.losses.shape == (kept, 2) and (np.diff(log.losses[:, 1]) < 0).all()


# ---- records and models ----


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def _csv(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (
            lambda p: _npz(p / "a.npz", images=np.zeros((2, 4, 4, 3))),
            {},
            "holds images; expected l",
        ),
        (lambda p: _npz(p / "a.npz", labels=[0, 1]), {}, "expected labels and one of images and"),
        (lambda p: _csv(p / "a.csv", x=[1, 2]), {}, "has the columns x; expected also label"),
        (lambda p: _csv(p / "a.csv", label=[0, 1], x=[1, 2]), {"groups": ["y"]}, "no column 'y'"),
        (lambda p: _csv(p / "a.csv", label=[0, 1]), {}, "has no column of features beside label"),
        (lambda p: _csv(p / "a.csv", label=[0, 1], id=[5, 5], x=[1, 2]), {}, r"ids .* or repeat"),
        (lambda p: _csv(p / "a.csv", label=[0, 1], x=[1, np.inf]), {}, r"a\.csv: "),
    ],
)
def test_records_that_cannot_be_asked_about_are_refused(make, options, said, tmp_path):
    with pytest.raises(InputError, match=said):
        read_material(make(tmp_path), **options)


def test_an_archive_says_what_its_classes_are_called(tmp_path):
    path = _npz(tmp_path / "a.npz", features=np.eye(2), labels=[0, 1], classes=["cat", "dog"])
    assert read_material(path).pool.classes == ("cat", "dog")
    assert read_material(path, classes=["x", "y"]).pool.classes == ("x", "y")


def test_images_of_two_sizes_are_refused_and_other_files_passed_over(tmp_path):
    for label, side in (("a", 4), ("b", 6)):
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / label / "1.png")
        (tmp_path / label / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"b/1\.png: 6 x 6 pixels, the first image has 4 x 4"):
        read_material(tmp_path)
    assert read_material(tmp_path, size=4).ids.tolist() == ["a/1.png", "b/1.png"]


def test_a_mask_of_another_length_is_refused(monkeypatch):
    material = Material(FEATURES, np.arange(6).astype(str))
    with pytest.raises(InputError, match=r"members .*4.* 6"):
        answers_of("nobody:asks", material, np.ones(4, bool))


@pytest.mark.parametrize(
    ("name", "said"), [("none.pt", "no such file; expected weights"), ("a.pkl", "run code when")]
)
def test_files_that_are_no_weights_are_refused(name, said, tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"x")
    with pytest.raises(InputError, match=said):
        load_weights(tmp_path / name)


def test_weights_of_old_torch_which_have_no_checksums_are_read(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights(tmp_path / "a.pt")["w"], torch.ones(2))


@pytest.mark.parametrize("questions", [[[0, 1], [0, 1]], [np.arange(2), np.arange(3)], np.eye(2)])
def test_a_classifier_of_several_labels_at_once_is_refused(questions):
    with pytest.raises(InputError, match="answers several questions at once"):
        EstimatorModel(Namespace(classes_=questions), ("a", "b"))


def test_an_image_classifier_that_is_asked_about_rows_says_so(tmp_path):
    model = HuggingFaceModel.__new__(HuggingFaceModel)
    with pytest.raises(InputError, match="needs images, not rows of features"):
        model.logits(np.zeros((2, 3)))


# ---- files ----


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"1", "expected one array, in a file that ends in .npy, .txt or .csv"),
        ("a.csv", b"1,2\n", "several columns; expected one"),
        ("a.txt", b"\n\n", "is empty; expected one value a line"),
        ("a.npy", b"no array", "not a readable array"),
    ],
)
def test_files_that_hold_no_one_array_are_refused(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_array(tmp_path / name)


def test_a_file_of_members_may_name_its_column_or_not(tmp_path):
    (tmp_path / "named.csv").write_text("member\n1\n0\n")
    (tmp_path / "bare.csv").write_text("1\n0\n")
    for name in ("named.csv", "bare.csv"):
        assert read_array(tmp_path / name).tolist() == [1, 0]


def test_files_too_large_to_be_read_whole_are_refused(tmp_path, monkeypatch):
    from mia_utils.audit import tables

    monkeypatch.setattr(tables, "_TEXT", 4)
    (tmp_path / "a.txt").write_text("1\n0\n1\n")
    with pytest.raises(InputError, match="6 bytes; expected at most 4"):
        read_array(tmp_path / "a.txt")
    frame = pd.DataFrame({"label": [0, 1], "logit_0": [0.5, 1.0], "logit_1": [1.5, 1.0]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name, said in (("a.csv", "GB; expected at most"), ("a.parquet", "GB unpacked; expected")):
        with pytest.raises(InputError, match=f"{said}.*write the answers as .npy"):
            read_table(tmp_path / name, largest=5)


def test_two_columns_of_members_that_differ_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("label,member,member,logit_0,logit_1\n0,1,0,1,2\n1,0,1,2,3\n")
    with pytest.raises(InputError, match=r"a\.csv: the column 'member' is there twice"):
        read_answers(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"label": [0, 1], "logits": [[1.0, 2.0], [1.0]]}), "differ in length"),
        (pd.DataFrame({"label": [0, 1], "logits": [[1.0, 2.0], None]}), "differ in length"),
        (pd.DataFrame({"label": []}), "holds no record"),
    ],
)
def test_tables_without_a_value_a_record_are_refused(frame, said, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=said):
        read_table(tmp_path / "a.parquet")


def test_truth_values_of_a_table_stay_truth_values(tmp_path):
    frame = pd.DataFrame({"member": pd.array([True, False], dtype="boolean")})
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet")["member"].dtype == bool


# ---- documents and reference models ----


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.md": b"x"}, "no .txt file; expected one a document"),
        ({"a.txt": b"\xff\xff"}, "a file is no UTF-8 text"),
    ],
)
def test_folders_without_documents_are_refused(files, said, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        asked_token_data("no model", tmp_path)


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"id": ["a"]}, {}, "holds id; expected a column text"),
        ({"text": ["a b"]}, {"groups": ["site"]}, "has no column 'site'; it holds text"),
        ({"text": ["a b"]}, {}, "which documents are members"),
    ],
)
def test_tables_of_documents_that_lack_something_are_refused(columns, options, said, tmp_path):
    with pytest.raises(InputError, match=said):
        asked_token_data("no model", _csv(tmp_path / "a.csv", **columns), **options)


def test_reference_models_that_do_not_suffice_are_told_attack_by_attack():
    half = np.arange(200) < 100
    everywhere = answers(records=200, models=4, seed=1).replace(
        members=np.ones((4, 200), bool), evaluated=np.ones((4, 200), bool)
    )
    nowhere = everywhere.replace(members=np.zeros((4, 200), bool))
    for shadows, name, said in (
        (everywhere, "lira", "no record has two reference models that did not hold it"),
        (nowhere, "similarity", "needs reference models that held each record"),
        (nowhere, "learned_shadow", "the reference models held none of these records"),
    ):
        known = half if shadows is nowhere else ~half & half
        assert said in _unfit(name, RECIPES[name], shadows, False, known)
    assert _unfit("lira", RECIPES["lira"], nowhere, False, half) is None
