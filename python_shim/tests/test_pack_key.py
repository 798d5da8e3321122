"""What of a pack's files counts for its description, and what for its code."""

import os

import pytest

from python_shim.wire.pack_key import code_of, code_with, is_same_code, pack_key


@pytest.fixture
def pack(tmp_path):
    """A pack with code in a folder of its own and in one that is linked."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.py").write_text("1")
    folder = tmp_path / "pack"
    (folder / "nodes").mkdir(parents=True)
    for name in ("__init__.py", "nodes/one.py", "styles.csv", "notes.json", "picture.png", "venv/pyvenv.cfg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("1")
    for name in ("logs", "site-packages", ".luts", "shaders", "venv/lib/python3.11/site-packages/torch"):
        (folder / name).mkdir(parents=True)
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(folder, folder / "nodes" / "circle")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "config.json").write_text("1")
    os.symlink(tmp_path / "models", folder / "models")
    return folder


@pytest.mark.parametrize(
    ("name", "code", "key"),
    [
        *[("nodes/one.py", True, True), ("nodes/new.pyc", True, True), ("linked/linked.py", True, True)],
        *[
            ("styles.csv", False, True),
            ("notes.json", False, True),
            ("picture.png", False, True),
            ("shaders/blur.glsl", False, True),
            (".luts/warm.cube", False, True),
            (".luts/code.py", True, True),
            ("site-packages/vendored.py", True, True),
            ("site-packages/vendored.dat", False, True),
            ("models.safetensors", False, True),
            ("logs/choices.json", False, True),
            ("logs/picture.png", False, False),
            ("run.log", False, False),
            ("history.db-wal", False, False),
            (".git/index", False, False),
            (".cache/found.json", False, False),
            ("nodes/__pycache__/one.pyc", False, False),
            ("models/config.json", False, False),
            ("venv/lib/python3.11/site-packages/torch/of_another.py", False, False),
        ],
    ],
)
def test_what_changes_it(pack, name, code, key):
    (pack / name).parent.mkdir(parents=True, exist_ok=True)
    before = code_of(str(pack)), pack_key(str(pack))
    (pack / name).write_text("2")
    assert (code_of(str(pack)) != before[0], pack_key(str(pack)) != before[1]) == (code, key)


def test_of_an_environment_in_a_pack_it_counts_which_packages_it_has(pack):
    before = pack_key(str(pack))
    (pack / "venv/lib/python3.11/site-packages/torch-2.0.dist-info").mkdir()
    assert pack_key(str(pack)) != before


def test_a_model_is_never_read_and_counts_by_size_and_time(pack):
    with (pack / "models.safetensors").open("wb") as file:
        file.truncate(1 << 40)
    before = pack_key(str(pack))
    os.utime(pack / "models.safetensors", (1, 1))
    assert pack_key(str(pack)) != before
    assert pack_key(str(pack)) == pack_key(str(pack))


def test_a_pack_with_too_many_files_is_like_no_other_and_its_code_is_known(pack, monkeypatch):
    monkeypatch.setattr("python_shim.wire.pack_key._MOST", 5)
    assert pack_key(str(pack)) != pack_key(str(pack))
    assert code_of(str(pack)) == code_of(str(pack))


def _class(**facts):
    called = (
        "function",
        "return_types",
        "input_is_list",
        "output_is_list",
        "is_changed",
        "validate_inputs",
        "check_lazy_status",
        "is_async",
    )
    return {"name": "A", "description": "", **dict.fromkeys(called), **facts}


def test_the_same_code_with_other_outputs_is_another_one_and_with_other_words_it_is_not():
    one = code_with("c", [_class(return_types=["INT"])])
    assert is_same_code(one, code_with("c", [_class(return_types=["INT"], description="of today")]))
    assert is_same_code("c", one) and is_same_code(one, "c")
    assert not is_same_code(one, code_with("c", [_class(return_types=["STRING"])]))
    assert not is_same_code(one, "d")
