"""From sources to batches that have ended: rounds, and one shard's way."""
