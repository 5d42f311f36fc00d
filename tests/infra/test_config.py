from __future__ import annotations

import pytest

from infra.config import RUNNING_PYTHON, Config, ConfigError


def test_defaults_are_the_documented_ones() -> None:
    assert Config.from_context({}).model_dump() == {
        "stack_name": "Batchdrop",
        "openai_base_url": None,
        "anthropic_base_url": None,
        "vertex_base_url": None,
        "gcs_base_url": None,
        "min_poll_seconds": 30,
        "max_poll_seconds": 600,
        "max_rows_per_shard": None,
        "max_bytes_per_shard": None,
        "max_rounds": 3,
        "split_bytes": 512 * 1024 * 1024,
        "assemble_bytes": 4 * 1024**3,
        "max_gz_bytes": 10 * 1024**3,
        "max_unzipped_bytes": 100 * 1024**3,
        "enqueued_tokens": {},
        "retention_days": 30,
        "index_results": "auto",
        "prices": {},
        "daily_budget_usd": None,
        "monthly_budget_usd": None,
        "output_allowance_tokens": None,
        "lambda_architecture": "arm64",
        "lambda_python": RUNNING_PYTHON,
        "alert_email": None,
    }


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("max_rounds", "5", 5),
        ("split_bytes", "1024", 1024),
        ("daily_budget_usd", "12.50", 12.5),
        ("monthly_budget_usd", "100", 100.0),
        ("enqueued_tokens", '{"openai/gpt-5-mini": 40000000}', {"openai/gpt-5-mini": 40_000_000}),
        ("prices", '{"openai/gpt-5": {"input": 1}}', {"openai/gpt-5": {"input": 1.0}}),
        ("openai_base_url", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("openai_base_url", "", None),
        ("alert_email", "ops@example.com", "ops@example.com"),
        ("stack_name", "Batchdrop-Two", "Batchdrop-Two"),
    ],
)
def test_the_command_line_gives_text(key: str, text: str, value: object) -> None:
    assert getattr(Config.from_context({key: text}), key) == value


def test_cdk_json_gives_json() -> None:
    config = Config.from_context(
        {
            "max_rounds": 5,
            "enqueued_tokens": {"vertex/gemini-2.5-pro": 7},
            "lambda_python": float(RUNNING_PYTHON),
            "alert_email": None,
        }
    )
    assert (config.max_rounds, config.enqueued_tokens) == (5, {"vertex/gemini-2.5-pro": 7})


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("stack_name", "1st", "a letter, then"),
        ("stack_name", "under_score", "a letter, then"),
        ("stack_name", 3, "a letter, then"),
        ("openai_base_url", "api.openai.com", "http:// or https://"),
        ("anthropic_base_url", "ftp://here", "http:// or https://"),
        ("vertex_base_url", "https://", "http:// or https://"),
        ("gcs_base_url", "http://here:port", "http:// or https://"),
        ("min_poll_seconds", "0", "1 to 86400"),
        ("max_poll_seconds", "soon", "1 to 86400"),
        ("max_rows_per_shard", "0", "at least 1"),
        ("max_bytes_per_shard", "-1", "at least 1"),
        ("max_rounds", "11", "1 to 10"),
        ("max_rounds", "2.5", "1 to 10"),
        ("max_rounds", 2.0, "1 to 10"),
        ("max_rounds", True, "1 to 10"),
        ("max_rounds", "true", "1 to 10"),
        ("split_bytes", "512MiB", "at least 1"),
        ("enqueued_tokens", "{", "a JSON object such as"),
        ("enqueued_tokens", "[]", "a JSON object such as"),
        ("enqueued_tokens", '{"gpt-5-mini": 1}', "a JSON object such as"),
        ("enqueued_tokens", {"openai/gpt-5-mini": "many"}, "a JSON object such as"),
        ("retention_days", "0", "1 to 3650"),
        ("index_results", "yes", "auto, on or off"),
        ("index_results", True, "auto, on or off"),
        ("prices", '{"openai/gpt-5": 1}', "dollars per million tokens"),
        ("prices", '{"openai/gpt-5": {"input": -1}}', "dollars per million tokens"),
        ("prices", '{"openai/gpt-5": {}}', "dollars per million tokens"),
        ("output_allowance_tokens", "0", "at least 1"),
        ("daily_budget_usd", "0", "above 0"),
        ("monthly_budget_usd", "NaN", "above 0"),
        ("lambda_architecture", "arm", "arm64 or x86_64"),
        ("lambda_python", "3.10", RUNNING_PYTHON),
        ("lambda_python", "3", RUNNING_PYTHON),
        ("alert_email", "ops", "an e-mail address"),
    ],
)
def test_a_bad_value_is_one_sentence(key: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Config.from_context({key: value})
    sentence = str(raised.value)
    assert sentence.startswith(f"Configuration {key} is ")
    assert str(value).lower() in sentence.lower().replace('\\"', '"').replace("'", '"') or (
        isinstance(value, dict)
    )
    assert allowed in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ({"inptu": 1.0}, "of openai/gpt-5: 'inptu' is no price; there are input, output"),
        ({"output": 1.0}, "of openai/gpt-5: the price of input is missing"),
    ],
)
def test_prices_are_named_strictly(prices: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Config.from_context({"prices": {"openai/gpt-5": prices}})


def test_prices_fit_into_a_functions_environment() -> None:
    many = {f"openai/model-{n}": {"input": 1.0} for n in range(200)}
    with pytest.raises(ConfigError, match=r"prices is \d+ bytes of JSON; allowed are 3000"):
        Config.from_context({"prices": many})


def test_the_poll_range_has_an_order() -> None:
    with pytest.raises(ConfigError, match="min_poll_seconds is 900; allowed is at most"):
        Config.from_context({"min_poll_seconds": "900"})


def test_a_misspelled_key_is_named_with_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"opnai_base_url.*did you mean openai_base_url"):
        Config.from_context({"opnai_base_url": "http://127.0.0.1"})


def test_the_cdks_own_keys_are_left_alone() -> None:
    Config.from_context({"@aws-cdk/core:any": True, "aws:cdk:any": 1, "cli-telemetry": False})


def test_it_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().max_rounds = 4
