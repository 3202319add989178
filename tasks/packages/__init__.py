"""Packages of a host: which versions there are, which it gets, fetching them ahead, installing exactly these.

Patch waves, onboarding, upgrades and providers import it; it knows neither Nodes' versions nor providers.

- `versions.py`, `runtimes.py`: pure rules, the same for every package manager.
- `errors.py`: what keeps packages from being fetched or installed.
- `scripts.py`: a script as a unit on the host, and following it to its end.
- `apt/`: everything that apt and dpkg do. Another package manager is a package beside it with the same modules.
"""
