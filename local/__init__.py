"""Batchdrop without an account: the embedded cloud, the provider simulator and the demo."""
