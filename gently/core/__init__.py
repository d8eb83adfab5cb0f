"""The device layer's own work; `gently.core.data_store` alone is shared with the copilot."""
