"""Check of the clusters that a run uses: they are there, and Azure has not given up on them."""

from __future__ import annotations

from tunestack.preflight.preflight_subject import Finding, Subject

_WELL = ("Succeeded", "Creating", "Updating")


def state(subject: Subject) -> Finding:
    """The cluster of each role that the recipe uses; which sizes they have is for other checks."""
    live = subject.live
    if live is None:
        return Finding(
            "clusters", "not asked", "whether the clusters are up, only the cloud knows", "", "Run it online"
        )
    flaws, found = [], []
    for role in subject.roles:
        name, body = live.cluster_name(role), live.cluster_body(role)
        if not name:
            flaws.append(f"no cluster plays the role '{role}'")
        elif body is None:
            flaws.append(f"cluster '{name}' does not exist")
        elif body["properties"].get("provisioningState") not in _WELL:
            flaws.append(f"cluster '{name}' is in state '{body['properties'].get('provisioningState')}'")
        elif body["properties"].get("computeType") != "AmlCompute":
            flaws.append(f"compute '{name}' is not a cluster")
        else:
            found.append(f"'{name}' for {role}")
    if flaws:
        fix = "Bring the stack up with `pulumi up`, or change the dials of the cluster"
        return Finding("clusters", "error", "; ".join(flaws), "computes, asked now", fix)
    return Finding("clusters", "ok", f"there are {' and '.join(found)}", "computes, asked now")
