"""What the admin API may change while the simulator runs."""

from typing import Any, Literal

import msgspec

PROVIDERS = ("openai", "anthropic", "vertex", "gcs")


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    batch_seconds: float = 5.0
    seed: int = 0
    shuffle: bool = True
    revoked_keys: list[str] = []
    require_google_token: bool = False
    out_of_credit: list[Literal["openai", "anthropic", "vertex"]] = []
    credit_error: Literal["billing_error", "invalid_request_error"] = "billing_error"
    """The type under which Anthropic reports an empty balance; both have been seen."""
    closed_models: list[str] = []
    known_models: list[str] = []
    """Names accepted beside those that look like the provider's own."""
    enqueued_token_limits: dict[str, int] = {}
    """Enqueued prompt tokens by model, or by `provider/model`."""
    unknown_input_file_status: Literal[400, 404] = 400
    visible_after_seconds: float = 0.0
    """How long an uploaded OpenAI file is not found by a batch create."""
    prices: dict[str, dict[str, float]] = {}
    """Dollars per million tokens by `provider/model`: input, cached_input, cache_write_5m,
    cache_write_1h, output."""
    cache_minimum_tokens: int = 1024
    cache_5m_seconds: float = 300.0
    cache_1h_seconds: float = 3600.0
    cache_hit_rate: float = 1.0
    """The share of possible cache reads that happen; the provider promises best effort only."""
    anthropic_queue_limit: int | None = None
    """Requests in processing beyond which a create is refused with 429."""
    missing_buckets: list[str] = []
    """Every other bucket exists."""
    vertex_files: int = 3
    """Into how many predictions files a Vertex job's output is split."""
    vertex_partial_state: bool = False
    """Whether a job with failed rows ends as partially succeeded instead of succeeded."""


def changed(settings: Settings, patch: dict[str, Any]) -> Settings:
    """Raises msgspec.ValidationError for an unknown name or a wrong type."""
    return msgspec.convert({**msgspec.structs.asdict(settings), **patch}, Settings, strict=True)
