"""The public names of the Python library `comfyui-envmanager`, over the shim and the worker of this product.

A pack written for that library imports them from here, inside ComfyUI and inside a worker, and works unchanged.
"""

from __future__ import annotations

from .cli import RuntimeEnv, WheelResolver, WheelSource, install, verify_installation
from .decorator import isolated
from .errors import (
    ConfigError,
    CUDANotFoundError,
    DependencyError,
    EnvManagerError,
    InstallError,
    WheelNotFoundError,
    WorkerError,
)
from .workers import (
    PersistentVenvWorker,
    TorchMPWorker,
    VenvWorker,
    Worker,
    WorkerPool,
    get_worker,
    list_workers,
    register_worker,
    shutdown_workers,
)

#: Ends every worker that these names have started.
shutdown_all_processes = shutdown_workers

__all__ = [
    "CUDANotFoundError",
    "ConfigError",
    "DependencyError",
    "EnvManagerError",
    "InstallError",
    "PersistentVenvWorker",
    "RuntimeEnv",
    "TorchMPWorker",
    "VenvWorker",
    "WheelNotFoundError",
    "WheelResolver",
    "WheelSource",
    "Worker",
    "WorkerError",
    "WorkerPool",
    "get_worker",
    "install",
    "isolated",
    "list_workers",
    "register_worker",
    "shutdown_all_processes",
    "shutdown_workers",
    "verify_installation",
]
