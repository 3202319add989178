"""By what a node is accepted: it is the host's own, and it works. Onboarding, upgrades and maintenance use it."""
