"""Runs one program of a module of stand-ins: `python run.py units systemctl is-active kubelet`.

The module is imported and not run, so that Python keeps it compiled. Hosts call these programs by the hundred, so what
they import counts: the modules import what is heavy only where it is used.
"""

import sys

if __name__ == "__main__":
    here, module, name, *arguments = sys.argv
    sys.path.insert(0, here.rpartition("/poolkeeper/deployments/")[0])
    imported = __import__(f"poolkeeper.deployments.lab.standins.{module}", fromlist=["PROGRAMS"])
    sys.exit(imported.PROGRAMS[name](arguments))
