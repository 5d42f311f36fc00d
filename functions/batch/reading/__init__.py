"""From an upload to the sources that can be sent."""
