#!/bin/sh
# nproc: the CPUs of the host, not of the machine the lab runs on.
echo 8
