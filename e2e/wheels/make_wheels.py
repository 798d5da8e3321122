"""Makes small, honest wheels and a simple index of them: `make_wheels.py TARGET [JSON LIST OF WHEELS]`.

Each wheel holds one module that says which build it is. `tinyops` has a CPU build for the Python that runs this and CUDA builds
for others; `nvdiffrast` has the names that its publisher really uses (`bridge/resolve/testdata/observedWheels.json`), with our module.
"""

import base64
import hashlib
import json
import pathlib
import platform
import sys
import sysconfig
import zipfile

HERE = f"cp{sys.version_info.major}{sys.version_info.minor}"
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def make_wheel(
    folder: pathlib.Path,
    name: str,
    version: str,
    local: str,
    python: str,
    tag: str,
    code: str = "",
    *,
    abi: str = "",
    requires: tuple[str, ...] = (),
    files: int = 0,
    plain_metadata: bool = False,
    extra: dict[str, str] | None = None,
) -> None:
    """Write `name-version+local-python-abi-tag.whl` with a module `name`.

    `files` adds so many modules, `extra` files of these contents (`DATA/` and `INFO/` stand for the wheel's own folders), `plain_metadata`
    leaves the local part out of METADATA, as some publishers do.
    """
    full = f"{version}+{local}" if local else version
    stated = version if plain_metadata else full
    info = f"{name}-{full}.dist-info"
    module = f'"""A stand-in for tests."""\n\n__version__ = "{version}"\nBUILD = "{local}"\n{code}'
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    content = {
        f"{name}/__init__.py": module,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {stated}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: false\nTag: {python}-{abi or python}-{tag}\n",
        **{path.replace("DATA/", f"{name}-{full}.data/").replace("INFO/", f"{info}/"): text for path, text in (extra or {}).items()},
        **{f"{name}/part_{number}.py": f"NUMBER = {number}\nVERSION = {full!r}\n" for number in range(files)},
    }
    rows = [f"{path},{digest(text.encode())},{len(text.encode())}" for path, text in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{full}-{python}-{abi or python}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)


def make_all(folder: pathlib.Path) -> None:
    """The wheels of the sample packs and of the resolver's tests."""
    make_wheel(folder, "tinyops", "0.4.0", "cputorch2.13", HERE, PLATFORM)
    make_wheel(folder, "brokenops", "1.0", "cputorch2.13", HERE, PLATFORM, "import module_that_is_nowhere\n")
    for python in ("cp310", "cp312", "cp313"):
        for cuda, torch in (("cu128", "torch2.8"), ("cu130", "torch2.10")):
            make_wheel(folder, "tinyops", "0.4.0", cuda + torch, python, "win_amd64")
            make_wheel(folder, "tinyops", "0.4.0", cuda + torch, python, "manylinux_2_24_x86_64.manylinux_2_28_x86_64")
    for python in ("cp310", "cp312", "cp313"):
        for cuda, torch in (("cu124", "torch2.4"), ("cu128", "torch2.8")):
            make_wheel(folder, "nvdiffrast", "0.4.0", cuda + torch, python, "win_amd64")
            make_wheel(folder, "nvdiffrast", "0.4.0", cuda + torch, python, "manylinux_2_34_x86_64.manylinux_2_35_x86_64")


def make_index(folder: pathlib.Path, simple: pathlib.Path) -> None:
    """A PEP 503 index of the folder's wheels, with their hashes."""
    names = sorted({path.name.split("-")[0] for path in folder.glob("*.whl")})
    for name in names:
        links = []
        project = name.replace("_", "-")
        for path in sorted(folder.glob(f"{name}-*.whl")):
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            links.append(f'<a href="../../files/{path.name.replace("+", "%2B")}#sha256={sha}">{path.name}</a><br>')
        (simple / project).mkdir(parents=True, exist_ok=True)
        (simple / project / "index.html").write_text("<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>\n")


def make_from(folder: pathlib.Path, specs: list[dict[str, object]]) -> None:
    """Wheels by description; `here` as python and platform is what runs this."""
    for spec in specs:
        own = {"local": "", "python": "py3", "abi": "", "tag": "any", **spec}
        own["python"] = HERE if own["python"] == "here" else own["python"]
        own["tag"] = PLATFORM if own["tag"] == "here" else own["tag"]
        if own["tag"] == "any" and not own["abi"]:
            own["abi"] = "none"
        make_wheel(folder, **own)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    if len(sys.argv) > 2:
        make_from(target / "files", json.loads(sys.argv[2]))
    else:
        make_all(target / "files")
    make_index(target / "files", target / "simple")
    print(f"wheels for {HERE} {PLATFORM} ({platform.python_version()}) in {target}")
