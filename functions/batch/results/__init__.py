"""From finished lines to the files that people get, and the job's end."""
