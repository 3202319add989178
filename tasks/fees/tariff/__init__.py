"""Tariffs: prices as data, what a price is for and how time is counted for it, and the check of a tariff file."""
