"""Stand-ins for the programs that would change or identify the machine the lab runs on.

Each file here is what one or a few command names mean on a lab host. The lab writes them to a folder that
comes first on the host's PATH; everything else a host runs is the machine's own. They keep their state in
the host's folder and know what they are told by the environment:

    POOLKEEPER_ROOT         the host's file system: prefixed to every absolute path
    POOLKEEPER_LAB_STATE    the host's folder in the lab: `state/` of the stand-ins, `faults/`
    POOLKEEPER_LAB_ADDRESS  the host's own address
    POOLKEEPER_LAB_API      address of the API server
    POOLKEEPER_LAB_DNS_PORT port of the name server
    POOLKEEPER_LAB_CONTROL  name of the lab's abstract socket, told of reboots and of kubelet's start and stop
    POOLKEEPER_LAB_JOIN     where the joiner exchanges its token
    POOLKEEPER_LAB_PATH     the machine's own programs

What a stand-in does not know it refuses by name, with an exit status other than 0.
"""
