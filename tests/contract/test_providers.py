"""What the workflow relies on at each provider: one suite, over the real adapters.

Each talks to the simulator with its own SDK, over HTTP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from functions.batch.errors import (
    AccountBlocked,
    Missing,
    OverCapacity,
    ProviderError,
    Throttled,
    Unavailable,
    Unconfirmed,
)
from functions.batch.lines import field_map
from functions.batch.model import (
    Answer,
    BatchState,
    Group,
    ProviderFile,
    ProviderObject,
    Shard,
    Tag,
    now,
)
from functions.batch.ports import Dialect, Provider
from functions.batch.shard_files import key_of, row_id
from functions.providers.anthropic.client import AnthropicProvider
from functions.providers.anthropic.client import make_client as anthropic_client
from functions.providers.anthropic.dialect import AnthropicDialect
from functions.providers.openai.client import OpenAIProvider
from functions.providers.openai.client import make_client as openai_client
from functions.providers.openai.dialect import OpenAIDialect
from functions.providers.vertex import storage
from functions.providers.vertex.client import VertexProvider
from functions.providers.vertex.client import make_client as vertex_client
from functions.providers.vertex.dialect import VertexDialect
from local.cloud import free_port
from local.simulator.answers import digest
from tests.support import anthropic_lines, lines
from tests.support.simulator import Simulator, simulator
