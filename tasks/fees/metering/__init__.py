"""From usage records and a tariff to fee lines; their explanation, their split among groups, and a forecast."""
