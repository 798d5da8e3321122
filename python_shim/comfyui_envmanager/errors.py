"""The exceptions of the reference library, with one sentence and what to do.

EnvManagerError
├── ConfigError          a config that cannot be read
├── WheelNotFoundError   no wheel fits
├── CUDANotFoundError    a wheel needs CUDA, and there is none
├── DependencyError      dependencies that have no solution
├── InstallError         an install that failed
└── WorkerError          what a function of a worker raised, or the worker's own end
"""

from __future__ import annotations

from typing import Any


class EnvManagerError(Exception):
    """`message` is one sentence; `details` says more, and what to do."""

    def __init__(self, message: str, details: str | None = None) -> None:
        self.message, self.details = message, details
        super().__init__(f"{message}\n\n{details}" if details else message)


class ConfigError(EnvManagerError):
    """A config file that cannot be read: `file_path` and `line` say where."""

    def __init__(self, message: str, file_path: str | None = None, line: int | None = None) -> None:
        self.file_path, self.line = file_path, line
        place = f"in {file_path}" + (f" at line {line}" if line else "") if file_path else None
        super().__init__(message, place)


class WheelNotFoundError(EnvManagerError):
    """No wheel fits. `available_combos` are those that do exist."""

    def __init__(
        self,
        package: str,
        version: str | None = None,
        env: Any = None,
        tried_urls: list[str] | None = None,
        reason: str | None = None,
        available_combos: list[str] | None = None,
    ) -> None:
        self.package, self.version, self.env, self.reason = package, version, env, reason
        self.tried_urls, self.available_combos = tried_urls or [], available_combos or []
        name = f"{package}=={version}" if version else package
        lines = [f"For {env}." if env else None, reason, *self.available_combos]
        super().__init__(f"No wheel of {name} fits.", "\n".join(line for line in lines if line) or None)


class CUDANotFoundError(EnvManagerError):
    """A package needs CUDA, and this machine has none."""

    def __init__(self, package: str | None = None) -> None:
        super().__init__(f"{package or 'This package'} needs CUDA, and none was found.", "`comfy-env info` says what this machine has.")


class DependencyError(EnvManagerError):
    """Dependencies that have no solution."""

    def __init__(self, message: str, package: str | None = None, pip_error: str | None = None) -> None:
        self.package, self.pip_error = package, pip_error
        super().__init__(message, pip_error)


class InstallError(EnvManagerError):
    """An install that failed; nothing was changed."""

    def __init__(self, message: str, package: str | None = None, exit_code: int | None = None, stderr: str | None = None) -> None:
        self.package, self.exit_code, self.stderr = package, exit_code, stderr
        super().__init__(message, stderr[-2000:] if stderr else None)


class WorkerError(EnvManagerError):
    """What a function of a worker raised (`worker_traceback` is the worker's), or how its process ended."""

    def __init__(self, message: str, traceback: str | None = None) -> None:
        self.worker_traceback = traceback
        super().__init__(message, traceback)
