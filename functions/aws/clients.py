"""boto3 clients, one of each for the life of a function, all with time limits and retries."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Every call that goes through here may be repeated: writes are conditional or name what they write.
_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 6},
    max_pool_connections=16,
)


@cache
def client(service: str) -> Any:  # boto3 makes its clients' types at run time
    return boto3.client(service, config=_CONFIG)  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownMemberType, reportUnknownVariableType]
