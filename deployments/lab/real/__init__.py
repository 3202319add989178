"""The lab's real tier: Kubernetes' own programs, built from pinned Go modules, on loopback and without root.

    programs = find(CONTROL_PLANE)                     # from $KUBEBUILDER_ASSETS, from the cache, or built now
    with RealControlPlane(folder, programs) as plane:  # plane.api_url, plane.admin_kubeconfig
        ...

Pins are in `modules/*/go.mod`. The first build takes minutes, all later ones nothing.
"""
