"""Installing and resolving, through `comfy-env`: one engine for the panel, the command line and Python."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from ._package import part
from .errors import ConfigError, CUDANotFoundError, DependencyError, EnvManagerError, InstallError, WheelNotFoundError


def run(arguments: list[str], cwd: str | None = None) -> tuple[int, dict[str, Any]]:
    """`comfy-env … --json`: exit code and answer. Raises EnvManagerError if there is no Node or no built bridge."""
    places = part("shim.places")
    node = places.built() or places.find_node()
    if not isinstance(node, str):
        raise EnvManagerError(node.message, node.hint)
    command = [node, str(places.BRIDGE), *arguments, "--json", "--interpreter", sys.executable]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", cwd=cwd, check=False)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        raise EnvManagerError(f"comfy-env ended with exit code {done.returncode}.", done.stderr[-2000:]) from None


def _printable(text: str) -> str:
    """Text without anything that a terminal would obey."""
    return str(part("wire.errors").printable(text))


def _raise(code: int, answer: dict[str, Any]) -> None:
    error: dict[str, Any] = answer.get("error") or {"code": "INTERNAL", "message": f"comfy-env ended with exit code {code}.", "hint": ""}
    text, hint, details = _printable(error["message"]), _printable(error.get("hint", "")), error.get("details") or {}
    if error["code"] == "NO_WHEEL" or code == 3:
        raise WheelNotFoundError(details.get("requirement", "a package"), reason=f"{text} {hint}")
    if error["code"] in ("CONFIG_SYNTAX", "CONFIG_INVALID"):
        raise ConfigError(text, details.get("file"), details.get("line"))
    if error["code"] == "TEMPLATE_VARIABLE" and "cuda" in text:
        raise CUDANotFoundError(details.get("requirement"))
    if error["code"] == "UV_FAILED":
        raise DependencyError(text, pip_error=hint)
    raise InstallError(text, exit_code=code, stderr=hint)


def install(
    config: str | pathlib.Path | None = None,
    mode: str = "inplace",
    node_dir: str | pathlib.Path | None = None,
    log_callback: Callable[[str], None] | None = None,
    dry_run: bool = False,
    verify_wheels: bool = False,
) -> bool:
    """Install what a pack's config asks for: into this Python with a snapshot (`inplace`), or into an environment of its own (`isolated`).

    torch and what hangs on it are never changed. Raises FileNotFoundError, ConfigError, WheelNotFoundError, InstallError.
    """
    say = log_callback or print
    if config is not None and not pathlib.Path(config).is_absolute():
        config = pathlib.Path(node_dir or pathlib.Path.cwd()) / config
    folder = pathlib.Path(config).parent if config is not None else pathlib.Path(node_dir or pathlib.Path.cwd())
    if config is not None and not pathlib.Path(config).is_file():
        raise FileNotFoundError(f"There is no config {config}.")
    how = ["--in-place", "--yes"] if mode == "inplace" else []
    code, answer = run(["install", "--pack", str(folder), *how, *(["--dry-run"] if dry_run else [])])
    if code != 0:
        _raise(code, answer)
    plan = answer["plan"]
    for entry in plan["add"]:
        say(_printable(f"{'would install' if dry_run else 'installed'} {entry['name']} {entry['version']}"))
    for entry in plan["change"]:
        say(_printable(f"{'would change' if dry_run else 'changed'} {entry['name']} {entry['from']} to {entry['to']}"))
    if not plan["add"] and not plan["change"]:
        say("Everything is there.")
    return True


def verify_installation(packages: list[str], log: Callable[[str], None] = print) -> bool:
    """Whether each package can be imported here, by the modules that its distribution brings."""
    metadata = importlib.import_module("importlib.metadata")
    modules: dict[str, list[str]] = {}
    for module, owners in metadata.packages_distributions().items():
        for owner in owners:
            modules.setdefault(owner.lower().replace("_", "-"), []).append(module)
    good = True
    for package in packages:
        name = package.split("[")[0].lower().replace("_", "-")
        names = [module for module in modules.get(name, [name.replace("-", "_")]) if not module.startswith("_")]
        try:
            importlib.import_module(names[0] if names else name)
            log(f"  {package}: OK")
        except ImportError as error:
            log(f"  {package}: FAILED ({error})")
            good = False
    return good


@dataclasses.dataclass
class RuntimeEnv:
    """What wheels are chosen by. Versions without labels; `None`: there is none."""

    os_name: str
    platform_tag: str
    python_version: str
    python_short: str
    cuda_version: str | None
    cuda_short: str | None
    torch_version: str | None
    torch_short: str | None
    torch_mm: str | None
    gpu_name: str | None = None
    gpu_compute: str | None = None

    @classmethod
    def detect(cls, torch_version: str | None = None) -> RuntimeEnv:
        """This machine and this Python, by `comfy-env info`."""
        code, answer = run(["info", *(["--torch", torch_version] if torch_version else [])])
        if code != 0:
            _raise(code, answer)
        known, gpus = answer["variables"], answer["fingerprint"]["gpus"]
        return cls(
            os_name=known["os"],
            platform_tag=known["platform"],
            python_version=known["python_version"],
            python_short=known["py_short"],
            **{name: known.get(name) for name in ("cuda_version", "cuda_short", "torch_version", "torch_short", "torch_mm")},
            gpu_name=gpus[0]["name"] if gpus else None,
            gpu_compute=gpus[0]["compute"] if gpus else None,
        )

    def as_dict(self) -> dict[str, str]:
        """Variables of URL templates."""
        known = {
            "os": self.os_name,
            "platform": self.platform_tag,
            "python_version": self.python_version,
            "py_version": self.python_version,
        }
        known["py_short"] = self.python_short
        for name in ("cuda_version", "cuda_short", "torch_version", "torch_short", "torch_mm"):
            value = getattr(self, name)
            if value is not None:
                known[name] = value
        return known

    def __str__(self) -> str:
        parts = [f"Python {self.python_version}", f"CUDA {self.cuda_version}" if self.cuda_version else "CPU"]
        parts += [f"PyTorch {self.torch_version}"] if self.torch_version else []
        return ", ".join([*parts, self.platform_tag])


@dataclasses.dataclass
class WheelSource:
    """Where wheels come from: a URL template. An empty `packages` serves all."""

    name: str
    url_template: str
    packages: list[str] = dataclasses.field(default_factory=list)

    def supports(self, package: str) -> bool:
        """Whether it has that package."""
        return not self.packages or package.lower() in [known.lower() for known in self.packages]


class WheelResolver:
    """Finds the wheel of a package for an environment: overrides first, then sources, then the known publishers."""

    def __init__(self, sources: list[WheelSource] | None = None, overrides: dict[str, str] | None = None) -> None:
        self.sources, self.overrides = sources or [], {name.lower(): url for name, url in (overrides or {}).items()}

    def resolve(self, package: str, version: str, env: RuntimeEnv, verify: bool = False) -> str:
        """The wheel's URL, with every variable filled. Raises WheelNotFoundError, which says what does exist."""
        override = self.overrides.get(package.lower())
        templates = [override] if override else [source.url_template for source in self.sources if source.supports(package)]
        wanted = {"python": env.python_version, "torch": env.torch_version, "cuda": env.cuda_version, "platform": env.platform_tag}
        options = [text for name, value in wanted.items() if value for text in (f"--{name}", value)]
        options += [text for template in templates for text in ("--source", template)]
        code, answer = run(["resolve", f"{package}=={version}", *options, *([] if verify else ["--no-verify"])])
        results = answer.get("results")
        if not results:
            _raise(code, answer)
        found = answer["results"][0]
        if found.get("url"):
            return str(found["url"])
        combos = [" ".join(f"{key} {value}" for key, value in combo.items() if value) for combo in found.get("available", [])]
        reason = (found.get("error") or {}).get("message") or "No source has one for this combination."
        tried = [entry["url"] for entry in found.get("rejected", []) if entry.get("url")]
        raise WheelNotFoundError(package, version, env, tried, reason, combos)

    def resolve_all(self, packages: dict[str, str], env: RuntimeEnv, verify: bool = False) -> dict[str, str]:
        """Package → URL, for package → version."""
        return {package: self.resolve(package, version, env, verify) for package, version in packages.items()}
