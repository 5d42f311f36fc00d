"""Rows that ask for what was asked before, and so need not be sent."""
