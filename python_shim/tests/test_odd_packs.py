"""Node packs with odd names and odd files."""

import os
import threading

import pytest

from python_shim.shim.saved import pack_file
from python_shim.wire.pack_key import pack_key


# the same in bridge/serve/packFile.test.ts
@pytest.mark.parametrize(
    ("pack", "name"),
    [
        ("ComfyUI-Easy-Use", "ComfyUI-Easy-Use"),
        ("a_b.c", "a_b.c"),
        ("__proto__", "__proto__"),
        ("ComfyUI-中文节点", "~97d9b965242467ea60ab628e80f56ef0"),
        ("pack\udcff", "~09511277b0fc8536bb9719bd78b81aba"),
        ("../evil", "~d25c8ca00e439389804d232be5fa2765"),
        (".hidden", "~18eae0b559f01698769ab387bad94898"),
        ("CON", "~00831bf9bbb8e2d86cde58aa0e81e880"),
        ("com1.x", "~78e793d816e93aed6d830103e1c12daf"),
        ("x\n", "~cb21f0a0201dcca261b9b1082fb7c095"),
        ("x" * 200, "~1b81f791414c08a831b946bb72efbc95"),
    ],
)
def test_files_of_a_pack_have_a_name_that_is_safe(pack, name):
    assert pack_file(pack) == name


@pytest.mark.skipif(os.name == "nt", reason="no named pipes in folders")
def test_a_key_is_made_without_waiting_for_a_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "requirements.txt")
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "folder.txt").mkdir()
    keys = []
    thread = threading.Thread(target=lambda: keys.append(pack_key(str(tmp_path), "")), daemon=True)
    thread.start()
    thread.join(10)
    assert keys == [pack_key(str(tmp_path), "")] if keys else False
