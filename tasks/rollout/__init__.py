"""Disruptive changes carried across a pool: forecast, plan, leases, waves, recovery. Knows no provider."""
