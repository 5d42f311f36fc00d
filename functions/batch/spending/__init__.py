"""What a job will cost, whether it may, and what it did."""
