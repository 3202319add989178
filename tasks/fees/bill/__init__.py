"""The bill of the vendor: how it is read, and how it compares with the fee lines."""
