"""Machines: Debian systems with their own systemd, SSH, containers and kubelet, which join for real.

Linux and root. Everything that the kernel keeps for them (mounts, network namespaces) lives in namespaces of the
lab's own process tree and goes with it; what does not (one network device, control groups) is found by name.
"""
