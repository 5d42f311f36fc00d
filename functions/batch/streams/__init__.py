"""Lines with their places in a job: packed, spooled, sorted, merged, found again."""
