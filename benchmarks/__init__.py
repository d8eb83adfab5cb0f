"""Headline numbers, each as a command that measures against a named reference in the same run."""
