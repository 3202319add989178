"""Debian packages: apt's lists and what is installed, downloads, installing exact versions.

Programs are POSIX shell; names and versions are quoted. Locks that other programs hold are waited for: apt itself waits
for dpkg's lock (`DPkg::Lock::Timeout`), not for the locks of its lists and archives, and apt-mark waits for none.
"""
