"""Is what was said supported, and where exactly? Pure: no model, no store, no clock."""
