"""This machine, as the embedded cloud and its tools see it: folders, ports, and an environment
without a trace of the user's accounts."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STATE = PROJECT / ".state"

ROOM = 12 << 30
"""Bytes: several clouds may run side by side, and others use the machine as well."""

# Settings of the user's that would change whom the tools talk to or how the server behaves.
_FOREIGN_PREFIXES = (
    "AWS_",
    "CDK_",
    "LAMBDA_",
    "LOCALSTACK_",
    "MINISTACK_",
    "S3_",
    "SFN_",
    "OPENAI_",
    "ANTHROPIC_",
    "GOOGLE_",
    "CLOUDSDK_",
    "BATCHDROP_",
)
_FOREIGN = (
    "AUTH",
    "BIND_HOST",
    "DOCKER_NETWORK",
    "EDGE_PORT",
    "GATEWAY_PORT",
    "LOG_LEVEL",
    "PERSIST_STATE",
    "PYTHONDONTWRITEBYTECODE",  # without byte code each start of the CDK app takes seconds longer
    "PYTHONHOME",
    "PYTHONPATH",
    "SERVICES",
    "STATE_DIR",
    "USE_SSL",
)


def roomy_memory(
    folder: Path = Path("/dev/shm"), info: Path = Path("/proc/meminfo"), room: int = ROOM
) -> Path | None:
    """The folder, if what is written there stays in memory, there is `room` for it, and programs
    may be loaded from it. Functions unpack some gigabytes in small files: to write and to delete
    these takes a disk a minute."""
    try:
        found = os.statvfs(folder)
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    loads = not found.f_flag & getattr(os, "ST_NOEXEC", 0)
    roomy = min(found.f_bavail * found.f_frsize, available) >= room
    return folder if loads and roomy and os.access(folder, os.W_OK) else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def neutral_env() -> dict[str, str]:
    """The user's environment without a trace of an account, and with caches in the project."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN_PREFIXES) and name not in _FOREIGN
    }
    cache = STATE / "cache"
    return kept | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "CDK_HOME": str(cache / "cdk"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(cache / "jsii"),
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20",
        "UV_CACHE_DIR": str(cache / "uv"),
    }


def machine_architecture() -> str:
    """Of Lambda's two: functions run on this machine's interpreter."""
    return "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
