"""Models and data of all kinds are asked for their answers, and nothing of theirs runs unasked."""

import json
import pickle
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from audit_models import Boosted, forest, network, pretrained
from PIL import Image
from safetensors.torch import save_file
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mia_utils.audit import audit
from mia_utils.audit.asked import answers_of
from mia_utils.audit.material import Material, read_material
from mia_utils.audit.models import (
    EstimatorModel,
    HuggingFaceModel,
    ask,
    fitted,
    load_model,
    load_torch,
    load_weights,
    natural_floor,
    output_order,
)
from mia_utils.cli.main import main
from mia_utils.data.pool import Pool
from mia_utils.engine.store import Store
from mia_utils.errors import InputError, InputWarning
from mia_utils.training import TrainConfig


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 3
    return Pool.from_arrays("p", rng.normal(size=(80, 5)) + labels[:, None], labels)


def _weights(path, shape=(5,), classes=3):
    torch.manual_seed(0)
    model = network(shape, classes)
    if path.suffix == ".safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return model.eval()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_give_the_answers_of_the_model_they_came_from(name, pool, tmp_path):
    model = _weights(tmp_path / name)
    got = ask(load_torch("audit_models:network", tmp_path / name, pool), pool)
    with torch.no_grad():
        expected = model(torch.from_numpy(pool.records)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrap", ["state_dict", "module."])
def test_weights_as_trainers_save_them(wrap, pool, tmp_path):
    state = _weights(tmp_path / "w.pt").state_dict()
    if wrap == "module.":
        torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.pt")
    else:
        torch.save({"epoch": 3, wrap: state}, tmp_path / "w.pt")
    assert load_torch("audit_models:network", tmp_path / "w.pt", pool)


class _Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_of_which_a_bit_has_flipped_are_refused(tmp_path):
    torch.save({"a": torch.arange(1000.0)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[len(content) // 2] ^= 128
    (tmp_path / "w.pt").write_bytes(bytes(content))
    with pytest.raises(InputError, match="differs from its checksum"):
        load_weights(tmp_path / "w.pt")


def test_weights_with_code_are_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"
    torch.save({"a": _Runs(mark)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="more than tensors"):
        load_weights(tmp_path / "w.pt")
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(_Runs(mark)))
    with pytest.raises(InputError, match="run code when they are read"):
        load_weights(tmp_path / "m.pkl")
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="not readable as weights"):
        load_weights(tmp_path / "w.safetensors")
    assert not mark.exists()


def test_weights_of_another_model_are_refused_by_name(pool, tmp_path):
    _weights(tmp_path / "w.pt", classes=4)
    with pytest.raises(InputError, match=r"2 of another shape, such as .*\(4"):
        load_torch("audit_models:network", tmp_path / "w.pt", pool)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="4 missing.*1 unknown, such as weight"):
        load_torch("audit_models:network", tmp_path / "w.pt", pool)


@pytest.mark.parametrize(
    "estimator", [forest(), GradientBoostingClassifier(n_estimators=3), LogisticRegression()]
)
def test_classifiers_are_asked_and_fitted_anew(estimator, pool):
    members = np.arange(80) % 2 == 0
    model = fitted(estimator, pool, members, seed=1)
    p = model.estimator.predict_proba(pool.records)
    np.testing.assert_allclose(np.exp(ask(model, pool)), np.maximum(p, 1e-30), rtol=1e-4)
    assert not hasattr(estimator, "classes_")  # what was given is left alone


def test_a_forest_without_a_vote_is_half_a_vote_away(pool):
    members = np.arange(80) % 2 == 0
    assert natural_floor(fitted(forest(), pool, members, 0), pool) == pytest.approx(0.5 / 20)
    smooth = fitted(LogisticRegression(), pool, members, 0)
    assert natural_floor(smooth, pool) == 1e-30


def test_a_classifier_that_knows_names_or_lacks_a_class(pool):
    names = Pool.from_arrays("n", pool.records, pool.labels, ("ant", "bee", "cat"))
    known = names.labels != 1
    model = LogisticRegression().fit(
        names.records[known], np.array(names.classes)[names.labels[known]]
    )
    logits = ask(EstimatorModel(model, names.classes), names)
    assert logits.shape == (80, 3) and (logits[:, 1] < -60).all()
    with pytest.raises(InputError, match="knows the class 'cat'"):
        EstimatorModel(model, ("ant", "bee", "dog"))


def test_a_classifier_that_names_no_classes_is_asked_as_it_is(pool):
    model, estimator = load_model("audit_models:boosted", pool)
    assert model.estimator is estimator
    expected = softmax(pool.records[:, :3], axis=1)
    np.testing.assert_allclose(np.exp(ask(model, pool)), expected, rtol=1e-5)
    with pytest.raises(InputError, match="Boosted cannot be fitted anew"):
        fitted(estimator, pool, np.ones(80, bool), 0)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_probability_of_two_classes_is_that_of_class_1(shape, pool):
    two = Pool.from_arrays("two", pool.records, pool.labels % 2)
    sure = np.where(pool.labels % 2, 0.8, 0.3)
    model = EstimatorModel(Boosted(lambda x: sure[: len(x)].reshape(shape)), two.classes)
    np.testing.assert_allclose(model.probabilities(two.records)[:, 1], sure)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: np.full((len(x), 3), np.nan), "no probabilities"),
        (lambda x: np.full((len(x), 3), 0.5), "do not sum to 1"),
        (lambda x: np.full((len(x), 4), 0.25), r"returned \(80, 4\) for 80 records and 3 classes"),
        (lambda x: [np.full((len(x), 2), 0.5)] * 2, "expected one probability a class"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_is_no_probability_is_refused(answer, words, pool):
    with pytest.raises(InputError, match=words):
        EstimatorModel(Boosted(answer), pool.classes).probabilities(pool.records)


def test_the_steps_of_a_pipeline_get_the_seed(pool):
    made = make_pipeline(StandardScaler(), RandomForestClassifier(5))
    members = np.arange(80) % 2 == 0
    first, again, other = (fitted(made, pool, members, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(ask(first, pool), ask(again, pool))
    assert (ask(first, pool) != ask(other, pool)).any()


def test_a_model_of_another_shape_or_with_nan_is_refused(pool):
    class Answers:
        def __init__(self, value):
            self.value = value

        def logits(self, records):
            return self.value(len(records))

    for value, words in (
        (lambda n: np.zeros((n, 4)), r"returned float64 \(80, 4\)"),
        (lambda n: np.full((n, 3), np.nan), "NaN"),
        (lambda n: 1 / 0, "ZeroDivisionError"),
    ):
        with pytest.raises(InputError, match=words):
            ask(Answers(value), pool)


def test_a_hugging_face_classifier_on_disk(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs mia-utils[huggingface]")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        num_labels=2,
        id2label={0: "dog", 1: "cat"},
        label2id={"dog": 0, "cat": 1},
    )
    model = transformers.ViTForImageClassification(config)
    model.save_pretrained(tmp_path, safe_serialization=True)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessor(size=size).save_pretrained(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    got = HuggingFaceModel(tmp_path, ("cat", "dog")).logits(images)
    inputs = transformers.ViTImageProcessor(size=size)(images=list(images), return_tensors="pt")
    with torch.no_grad():
        expected = model.eval()(**inputs).logits.numpy()[:, ::-1]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    with pytest.raises(InputError, match="has the classes"):
        HuggingFaceModel(tmp_path, ("a", "b", "c"))
    for layers in (
        2,
        0,
    ):  # a layer that transformers would make up, and one that it would leave out
        described = json.loads((tmp_path / "config.json").read_text()) | {
            "num_hidden_layers": layers
        }
        (tmp_path / "config.json").write_text(json.dumps(described))
        if layers:
            with pytest.raises(InputError, match=r"the weights lack vit\.layers\.1"):
                HuggingFaceModel(tmp_path, ("cat", "dog"))
        else:
            with pytest.warns(InputWarning, match=r"the weights hold vit\.layers\.0"):
                HuggingFaceModel(tmp_path, ("cat", "dog"))


def test_reference_models_of_a_hugging_face_folder_are_refused_before_it_is_asked(pool, tmp_path):
    with pytest.raises(InputError, match="Write a factory that returns it with its frozen layers"):
        answers_of(
            str(tmp_path), Material(pool, np.arange(80).astype(str)), np.arange(40), shadows=4
        )


def test_layers_that_were_frozen_stay_frozen_in_reference_models(tmp_path):
    table, _ = _table(tmp_path)
    material = read_material(table)
    model = pretrained(material.pool.shape, 2)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    _, shadows = answers_of(
        "audit_models:pretrained",
        material,
        np.array((tmp_path / "members.txt").read_text().split()),
        weights=tmp_path / "w.safetensors",
        shadows=4,
        config=TrainConfig(epochs=1),
        store=tmp_path / "store",
        jobs=1,
    )
    learned = []
    for name in shadows.names:
        weights = Store(tmp_path / "store").weights(name)
        np.testing.assert_array_equal(weights["1.weight"], model[1].weight.numpy())
        learned.append(weights["3.weight"])
    assert len(learned) == 4 and (learned[0] != learned[1]).any()


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"huggingface|config\.json"):
        HuggingFaceModel(tmp_path, ("a", "b"))


# ---- data ----------------------------------------------------------------------------------------


def _images(root, splits=("",)):
    rng = np.random.default_rng(0)
    for split in splits:
        for name in ("cat", "dog"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(3):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.mark.parametrize("splits", [("",), ("train", "test")])
def test_image_folders(splits, tmp_path):
    material = read_material(_images(tmp_path / "pets", splits))
    assert material.pool.shape == (8, 8, 3) and material.pool.classes == ("cat", "dog")
    assert len(material.pool) == 6 * len(splits)
    assert material.ids[0] == ("cat/0.png" if splits == ("",) else "test/cat/0.png")
    assert read_material(tmp_path / "pets", size=4).pool.shape == (4, 4, 3)


def test_what_is_hidden_in_a_folder_is_no_record_and_a_class_may_be_called_train(tmp_path):
    root = _images(tmp_path / "images")
    (root / "cat/._0.png").write_bytes(b"a resource fork")
    (root / "dog/.DS_Store").write_bytes(b"")
    for name in (".ipynb_checkpoints", "__MACOSX", "train"):
        shutil.copytree(root / "dog", root / name)
    material = read_material(root)
    assert material.pool.classes == ("cat", "dog", "train") and len(material.pool) == 9


def test_links_that_lead_out_of_a_folder_are_refused(tmp_path):
    root = _images(tmp_path / "pets")
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (root / "cat" / "9.png").symlink_to(secret)
    with pytest.raises(InputError, match="leads out of pets"):
        read_material(root)


def test_damaged_images_are_named(tmp_path):
    root = _images(tmp_path / "pets")
    (root / "dog" / "9.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(InputError, match=r"9\.png: damaged"):
        read_material(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no images; expected empty/CLASS"):
        read_material(tmp_path / "empty")


def test_tables_of_features(tmp_path):
    frame = pd.DataFrame({"age": [30, 40], "bmi": [20.5, 30.0], "sex": ["f", "m"]})
    frame = frame.assign(label=["ill", "well"], id=["a", "b"], group_site=["n", "s"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="'sex' holds texts.*--groups sex"):
        read_material(tmp_path / "t.csv")
    got = read_material(tmp_path / "t.csv", groups=["sex"])
    assert got.pool.records.tolist() == [[30, 20.5], [40, 30]] and got.ids.tolist() == ["a", "b"]
    assert set(got.groups) == {"site", "sex"} and got.pool.classes == ("ill", "well")
    np.savez(tmp_path / "t.npz", features=np.zeros((2, 3)), labels=[1, 0])
    assert read_material(tmp_path / "t.npz").pool.shape == (3,)
    np.savez(tmp_path / "i.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[1, 0])
    assert read_material(tmp_path / "i.npz").pool.shape == (4, 4, 1)


@pytest.mark.parametrize("name", ["member", "is_member", "membership"])
def test_a_column_of_members_is_no_feature(name, tmp_path):
    frame = pd.DataFrame({"age": [30, 40, 50], name: [True, False, True], "label": [0, 1, 0]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    material = read_material(tmp_path / "t.csv")
    assert material.pool.records.tolist() == [[30], [40], [50]] and len(material.members) == 3
    np.savez(
        tmp_path / "t.npz", features=np.zeros((2, 3)), labels=[1, 0], **{name: np.array([1, 0])}
    )
    assert read_material(tmp_path / "t.npz").members.tolist() == [1, 0]


def test_a_table_may_say_itself_who_is_a_member(tmp_path, capsys):
    table, members = _table(tmp_path)
    held = set(members.read_text().split())
    frame = pd.read_csv(table, dtype={"id": str})
    frame.assign(member=frame["id"].isin(held)).to_csv(tmp_path / "own.csv", index=False)
    call = ["audit", "--model", "audit_models:forest", "--quiet", "-o", str(tmp_path / "out")]
    call += ["--attacks", "loss"]
    assert main([*call, "--data", str(table), "--members", str(members)]) == 0
    told = capsys.readouterr().out
    assert main([*call, "--data", str(tmp_path / "own.csv")]) == 0
    assert capsys.readouterr().out == told
    assert main([*call, "--data", str(tmp_path / "own.csv"), "--members", str(members)]) == 2
    assert "says itself who is a member" in capsys.readouterr().err
    assert main([*call, "--data", str(table)]) == 2
    assert "a table with a column member" in capsys.readouterr().err


def test_outputs_are_found_by_name_and_by_order_only_with_a_word(recwarn):
    assert output_order(["cat", "dog", "fox"], ["fox", "cat", "dog"], "m") == [2, 0, 1]
    assert output_order(["Cat", "DOG"], ["dog", "cat"], "m") == [1, 0]
    assert output_order(["LABEL_0", "LABEL_1"], ["cat", "dog"], "m") == [0, 1]
    assert output_order(["cat", "dog"], ["0", "1"], "m") == [0, 1] and not recwarn
    with pytest.warns(InputWarning, match="'chien' for 'cat', 'chat' for 'dog'.*--classes"):
        assert output_order(["cat", "dog"], ["chien", "chat"], "m") == [0, 1]
    with pytest.raises(InputError, match="has the classes cat, dog; the data's are a, b, c"):
        output_order(["cat", "dog"], ["a", "b", "c"], "m")


def test_weights_beside_the_folder_of_a_model_are_refused(tmp_path, pool):
    with pytest.raises(InputError, match="--weights w.pt goes with module:function"):
        load_model(str(tmp_path), pool, weights="w.pt")


# ---- from a model to a report --------------------------------------------------------------------


def _table(path):
    cancer = load_breast_cancer()
    frame = pd.DataFrame(cancer.data, columns=[n.replace(" ", "_") for n in cancer.feature_names])
    frame.assign(label=cancer.target_names[cancer.target], id=np.arange(len(frame))).to_csv(
        path / "cancer.csv", index=False
    )
    members = np.random.default_rng(0).permutation(len(frame))[:280]
    (path / "members.txt").write_text("\n".join(map(str, np.sort(members))))
    return path / "cancer.csv", path / "members.txt"


def test_a_forest_is_audited_with_reference_forests(tmp_path, capsys):
    table, members = _table(tmp_path)
    call = ["audit", "--model", "audit_models:forest", "--data", str(table), "--quiet"]
    call += ["--members", str(members), "-o", str(tmp_path / "out")]
    assert main([*call, "--shadows", "4", "--attacks", "loss", "base", "lira"]) == 0
    assert "Whoever can ask the model" in capsys.readouterr().out  # forests know their members
    assert main([*call, "--shadows", "3"]) == 2
    assert "even number" in capsys.readouterr().err


def test_a_network_is_audited_with_reference_networks_of_the_engine(tmp_path):
    table, _members = _table(tmp_path)
    material = read_material(table)
    save_file(network(material.pool.shape, 2).state_dict(), tmp_path / "w.safetensors")
    data, shadows = answers_of(
        "audit_models:network",
        material,
        np.array((tmp_path / "members.txt").read_text().split()),
        weights=tmp_path / "w.safetensors",
        shadows=4,
        config=TrainConfig(epochs=1),
        store=tmp_path / "store",
        jobs=1,
    )
    assert len(shadows) == 4 and shadows.members.sum(axis=0).tolist() == [2] * len(material.pool)
    np.testing.assert_array_equal(data.outputs.ids, shadows.ids)
    report = audit(data, shadows, attacks=["loss", "calibrated"], accept=["answers"])
    assert report.content["references"] == {"models": 4, "online": True}


@pytest.mark.parametrize(
    "options, words",
    [
        (["--model", "audit_models:number"], "returned int"),
        (["--model", "audit_models:missing"], "cannot be imported"),
        (["--model", "cnn"], "module:function"),
        (["--model", "audit_models:network"], "without arguments"),
        ([], "needs a file of answers"),
    ],
)
def test_models_that_are_none_are_refused_in_a_line(options, words, tmp_path, capsys):
    table, members = _table(tmp_path)
    call = ["audit", *options, "-o", str(tmp_path / "out")]
    if options:
        call += ["--data", str(table), "--members", str(members)]
    assert main(call) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert "audit_models" in sys.modules


@pytest.mark.parametrize("names", [(1, 2), (-1, 1), (3, 5)])
def test_labels_that_do_not_count_from_0_are_names(tmp_path, names):
    x, y = load_breast_cancer(return_X_y=True)
    frame = pd.DataFrame(x[:, :4], columns=list("abcd")).assign(label=np.array(names)[y])
    frame.to_csv(tmp_path / "d.csv", index=False)
    material = read_material(tmp_path / "d.csv")
    assert material.pool.classes == tuple(map(str, names))
    np.testing.assert_array_equal(material.pool.labels, y)
    model = LogisticRegression(max_iter=2000).fit(material.pool.records, frame["label"])
    own = EstimatorModel(model, material.pool.classes)
    np.testing.assert_allclose(
        np.exp(own.logits(material.pool.records)), model.predict_proba(material.pool.records)
    )
    anew = fitted(LogisticRegression(max_iter=2000), material.pool, np.arange(y.size) % 2 == 0, 0)
    assert (anew.logits(material.pool.records).argmax(axis=1) == y).mean() > 0.8
    chosen = read_material(tmp_path / "d.csv", classes=[str(n) for n in reversed(names)])
    np.testing.assert_array_equal(chosen.pool.labels, 1 - y)


def test_a_column_without_a_number_is_named(tmp_path):
    (tmp_path / "d.csv").write_text("size,age,label\n1,2,0\n3,,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="column 'age' has no number in record 1 .1 such"):
        read_material(tmp_path / "d.csv")
