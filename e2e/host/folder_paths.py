"""Folders, under the names of ComfyUI's `folder_paths.py`. `--base-directory` says where they are."""

import os
import sys


def _base():
    if "--base-directory" in sys.argv:
        return os.path.abspath(sys.argv[sys.argv.index("--base-directory") + 1])
    return os.path.dirname(os.path.realpath(__file__))


base_path = _base()
models_dir = os.path.join(base_path, "models")
_folders = {name: os.path.join(base_path, name) for name in ("output", "input", "temp", "user")}
folder_names_and_paths = {"custom_nodes": ([os.path.join(base_path, "custom_nodes")], set())}


def get_folder_paths(name):
    """The folders of a kind."""
    return list(folder_names_and_paths[name][0])


def add_model_folder_path(name, path):
    """One more folder of a kind of model file."""
    paths, _ = folder_names_and_paths.setdefault(name, ([], set()))
    if path not in paths:
        paths.append(path)


def get_filename_list(name):
    """Every file in the folders of a kind. Raises KeyError for an unknown kind."""
    return sorted(file for path in folder_names_and_paths[name][0] if os.path.isdir(path) for file in os.listdir(path))


def _getter(name):
    return lambda: _folders[name]


def _setter(name):
    def set_folder(path):
        _folders[name] = path

    return set_folder


get_output_directory, set_output_directory = _getter("output"), _setter("output")
get_input_directory, set_input_directory = _getter("input"), _setter("input")
get_temp_directory, set_temp_directory = _getter("temp"), _setter("temp")
get_user_directory, set_user_directory = _getter("user"), _setter("user")
