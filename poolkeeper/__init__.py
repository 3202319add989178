"""poolkeeper as one import package: `poolkeeper.flows`, `poolkeeper.tasks` and `poolkeeper.deployments`.

The three folders lie beside this one, and are linked here: see `docs/adr/0001-one-import-package.md`.
"""
