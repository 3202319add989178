"""A month as files: page, CSV, FOCUS export."""
