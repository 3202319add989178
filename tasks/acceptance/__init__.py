"""The proof that a node is the host's own and works. Onboarding, upgrades, maintenance and audits use it."""
