"""Ophyd devices over MMCore, with limits that fail closed."""
