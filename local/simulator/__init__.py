"""A simulator of OpenAI's, Anthropic's and Google's batch services, over HTTP on loopback.

Run it with `python -m local.simulator`. It keeps its own books (see `ledger`), so that a test can
ask the provider's side what was answered, how often, and what was left behind.
"""
