"""Small breaks of the product, each of which a test must notice: `python -m tests.mutations`."""
