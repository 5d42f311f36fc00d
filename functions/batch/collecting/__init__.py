"""From the answers of a batch to lines that are finished, and rows that go again."""
