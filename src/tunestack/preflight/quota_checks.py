"""Checks of quota: cores for training and for the deployment, blue and green at once, and Azure's limits on counts.

The mistake that they are for: a quota error at deployment, after the training was paid. A quota is a credit limit and
no promise that machines are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tunestack import azure_facts
from tunestack.cost import quota
from tunestack.errors import CloudError
from tunestack.preflight.preflight_subject import Finding, Machines, Subject, no_machines, no_settings

_LIVE = "usages of the region, asked now"
_REQUEST = "Ask Azure for more cores (portal, Quotas, Machine Learning), or take a smaller size"


def training_quota(subject: Subject) -> Finding:
    """Cores of the nodes that one run takes at once, of each cluster that it uses."""
    check = "training-quota"
    role = subject.recipe.compute.finetune
    nodes = max(int(subject.planned.number("num_nodes_finetune", 1)), 1)
    machines = {one: subject.machines(one) for one in subject.roles}
    missing = [one for one, found in machines.items() if found is None]
    if missing:
        return no_machines(check, f"play the role '{missing[0]}'")
    wanted = {one: (found, nodes if one == role else 1) for one, found in machines.items() if found}
    tuning = wanted[role][0]
    if nodes > tuning.count:
        said = f"num_nodes_finetune is {nodes}, and {tuning.source} has at most {tuning.count}: it would wait for ever"
        return Finding(check, "error", said, tuning.source, f"pulumi config set {role}Nodes {nodes} && pulumi up")
    needed: dict[str, int] = {}
    for found, count in wanted.values():
        family, cores = _family(subject, found)
        if not cores:
            return _no_cores(check, found.size, "training-size")
        needed[family] = needed.get(family, 0) + count * cores
    own = {family: sum(_held(subject, one, family) for one in wanted) for family in needed}
    return _judged(check, subject, needed, own, f"{nodes} x '{tuning.size}' and what feeds it")


def serving_quota(subject: Subject) -> Finding:
    """Cores of blue plus green, each with Azure's reserve, beside what others use already."""
    check, machines = "serving-quota", subject.serving
    if machines is None:
        return no_settings(check)
    family, cores = _family(subject, machines)
    if not cores:
        return _no_cores(check, machines.size, "serving-size")
    one = quota.of_deployment(machines.size, machines.count, cores)
    own = subject.live.deployed_cores(family) if subject.live else 0
    reserve = "" if quota.reserves(machines.size) else ", this size without reserve"
    said = f"blue plus green of '{machines.size}', each {quota.formula(machines.size, machines.count, cores)}{reserve}"
    return _judged(check, subject, {family: quota.SLOTS * one}, {family: own}, said)


def limits(subject: Subject) -> Finding:
    """Azure's limits on counts: instances, nodes, and endpoints and deployments of subscription and region."""
    check = "limits"
    read = azure_facts.facts()["sources"]["quotas"]["read"]
    source = f"azure_facts.yml, limits, read {read}"
    broken = list(_planned(subject))
    if broken:
        return Finding(check, "error", "; ".join(broken), source, "Ask for less, or have the limit raised")
    if subject.live is None:
        said = "how many endpoints and deployments there are already, only the cloud knows"
        return Finding(check, "not asked", said, source, "Run it online")
    most = azure_facts.facts()["limits"]
    here, found = len(subject.live.deployments), subject.live.counts()
    counted = [("deployments of the endpoint, two more needed", here + quota.SLOTS, most["deployments_of_endpoint"])]
    if found:
        counted.append((f"endpoints in '{subject.region}'", found[0], most["endpoints"]))
        counted.append(
            (f"deployments in '{subject.region}', two more needed", found[1] + quota.SLOTS, most["deployments"])
        )
    over = [f"{count} {what}, of at most {limit}" for what, count, limit in counted if count > limit]
    if over:
        fix = "Delete what is left over: scripts/sweep.py"
        return Finding(check, "error", f"there are {'; '.join(over)}", "resources, asked now", fix)
    if found is None:
        said = "what there is in the subscription may not be counted by you"
        return Finding(check, "warning", said, source, "Have the role Reader on the subscription")
    counts = f"{found[0]} of {most['endpoints']} endpoints and {found[1]} of {most['deployments']} deployments"
    said = f"{counts} are there, as far as you may see"
    return Finding(check, "ok", said, "resources, asked now")


def _planned(subject: Subject) -> Iterator[str]:
    """What the recipe, the settings and the dials themselves ask for beyond a limit."""
    most = azure_facts.facts()["limits"]
    serving, allowed = subject.serving, int(subject.dials.get("maxInstances") or 0)
    if serving and serving.count > most["instances"]:
        yield f"the deployment asks for {serving.count} instances, and Azure gives at most {most['instances']}"
    if serving and allowed and serving.count > allowed:
        yield f"the deployment asks for {serving.count} instances, and the stack's maxInstances is {allowed}"
    named = len(subject.dials.get("endpoints") or ())
    if named > most["endpoints"]:
        yield f"the stack names {named} endpoints, and Azure gives {most['endpoints']}"
    if not isinstance(subject.estimate, str):
        low = subject.training is not None and subject.training.is_low_priority
        days = most["low_priority_job_days" if low else "job_days"]
        if subject.estimate.hours[1] > days * 24:
            yield f"a run takes up to {subject.estimate.hours[1] / 24:.0f} days, and Azure stops a job after {days}"
    for role in ("cpu", "gpu"):
        nodes = int(subject.dials.get(f"{role}Nodes") or 0)
        if nodes > most["cluster_nodes"]:
            yield f"{role}Nodes is {nodes}, and a cluster has at most {most['cluster_nodes']}"


def _judged(check: str, subject: Subject, needed: dict[str, int], own: dict[str, int], said: str) -> Finding:
    """Cores needed per family against what is free; `own` are cores that this very work holds already."""
    if subject.live is None:
        return _by_dial(check, subject, needed, said)
    try:
        granted = subject.live.quota
    except CloudError as error:
        if error.status != 403:
            raise
        found = _by_dial(check, subject, needed, said)
        reader = "Have the role Reader on the subscription"
        if found.verdict == "ok":
            said = f"{found.reason}; what is used, may not be read by you"
            return replace(found, verdict="warning", reason=said, fix=reader)
        if found.verdict == "error":
            return found
        fix = f"{reader}, or write down what Azure grants the GPUs: dial gpuQuota"
        return Finding(check, "unknown", f"{said}; the quota may not be read by you", _LIVE, fix)
    dedicated = [family for family in needed if family != quota.LOW_PRIORITY]
    if dedicated and quota.key(quota.DEDICATED) in granted:
        needed = {**needed, quota.DEDICATED: sum(needed[family] for family in dedicated)}
        own = {**own, quota.DEDICATED: sum(own.get(family, 0) for family in dedicated)}
    short: list[str] = []
    fine: list[str] = []
    for family, cores in needed.items():
        if quota.key(family) not in granted:
            return Finding(check, "error", f"'{subject.region}' has no quota of the family '{family}'", _LIVE, _REQUEST)
        used, limit = granted[quota.key(family)]
        free = limit - max(used - own.get(family, 0), 0)
        of = "all dedicated cores of the region" if family == quota.DEDICATED else f"'{family}'"
        (fine if cores <= free else short).append(f"{cores} of {of}, where {used} of {limit} are used")
    if short:
        return Finding(check, "error", f"{said}: it takes {'; '.join(short)}", _LIVE, _REQUEST)
    return Finding(check, "ok", f"{said}: it takes {'; '.join(fine)}", _LIVE)


def _by_dial(check: str, subject: Subject, needed: dict[str, int], said: str) -> Finding:
    """Offline the dial `gpuQuota` is all that is known, and that of one family only."""
    granted = int(subject.dials.get("gpuQuota") or 0)
    family = (azure_facts.cores(str(subject.dials.get("gpuSize") or "")) or ("", 0))[0]
    source = f"dial gpuQuota of Pulumi.{subject.stack}.yaml"
    total = " and ".join(f"{cores} cores of '{name}'" for name, cores in needed.items())
    if not granted or family not in needed:
        fix = "Run it online, or write down what Azure grants: pulumi config set gpuQuota CORES"
        return Finding(check, "not asked", f"{said}: it takes {total}; what is granted, no dial says", source, fix)
    if needed[family] > granted:
        fix = f"{_REQUEST}; then: pulumi config set gpuQuota {needed[family]}"
        return Finding(check, "error", f"{said}: it takes {total}, and gpuQuota is {granted}", source, fix)
    others = "; the other family's is not asked here" if len(needed) > 1 else ""
    return Finding(check, "ok", f"{said}: it takes {total}, and gpuQuota is {granted}{others}", source)


def _family(subject: Subject, machines: Machines) -> tuple[str, int]:
    """The quota family that machines count against, and the cores of one; ('', 0) for an unknown size."""
    found = subject.live.family(machines.size) if subject.live else azure_facts.cores(machines.size)
    if found is None:
        return "", 0
    return (quota.LOW_PRIORITY, found[1]) if machines.is_low_priority else found


def _held(subject: Subject, role: str, family: str) -> int:
    """Cores that the cluster of a role holds now: its idle nodes take the next job."""
    machines = subject.machines(role)
    if subject.live is None or machines is None:
        return 0
    own, cores = _family(subject, machines)
    return subject.live.nodes_now(role) * cores if own == family else 0


def _no_cores(check: str, size: str, after: str) -> Finding:
    said = f"how many cores '{size}' has, and of which family, is not known"
    fix = "Ask online, or add it to src/tunestack/azure_facts.yml"
    return Finding(check, "unknown", said, "azure_facts.yml", fix, after)
