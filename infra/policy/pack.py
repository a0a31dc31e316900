"""The pack: all rules, as policies of the engine, mandatory in production and advisory elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.policy import (
    access,
    compute,
    cost,
    endpoint,
    guardrails,
    naming,
    network,
    registry,
    storage,
    vault,
    workspace,
)
from infra.policy.rule import UNKNOWN, AnyRule, Resource, Rule, StackRule

NOUNS = (workspace, compute, endpoint, storage, vault, registry, network, access, guardrails, cost, naming)
RULES: tuple[AnyRule, ...] = tuple(rule for noun in NOUNS for rule in noun.RULES)
PACKAGE = "azure-native:"
PRODUCTION = "tunestack:production"


def level(configuration: Mapping[str, str]) -> EnforcementLevel:
    """What a violation does to a stack with this configuration: in production it stops `up`, elsewhere it is shown."""
    return EnforcementLevel.MANDATORY if configuration.get(PRODUCTION) == "true" else EnforcementLevel.ADVISORY


def policies() -> list[Policy]:
    """Every rule as a policy of the engine. The level is that of the pack, which the stack decides."""
    return [_resource_policy(rule) if isinstance(rule, Rule) else _stack_policy(rule) for rule in RULES]


def types() -> dict[str, list[str]]:
    """The resource types that each rule is for, as the engine names them."""
    return {rule.name: [PACKAGE + type for type in rule.types] for rule in RULES}


def plain(value: Any) -> Any:
    """A property bag of the engine as plain data, with `UNKNOWN` for what a preview cannot know."""
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(bag: Any, key: Any) -> Any:
    try:
        return plain(bag[key])
    except UnknownValueError:
        return UNKNOWN


def _resource_policy(rule: Rule) -> Policy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            args.resource_type.removeprefix(PACKAGE), args.name, plain(args.props), args.urn, args.opts.protect
        )
        for problem in rule.problems(resource, **_given(rule, args.get_config)):
            report(_message(rule, problem), None)

    return ResourceValidationPolicy(rule.name, rule.asks, validate, config_schema=_schema(rule), **_about(rule))


def _stack_policy(rule: StackRule) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for problem, resource in rule.problems(_stack(args), **_given(rule, args.get_config)):
            report(_message(rule, problem), resource.urn if resource else None)

    return StackValidationPolicy(rule.name, rule.asks, validate, config_schema=_schema(rule), **_about(rule))


def _stack(args: StackValidationArgs) -> list[Resource]:
    return [
        Resource(
            found.resource_type.removeprefix(PACKAGE),
            found.name,
            plain(found.props),
            found.urn,
            found.opts.protect,
            {path: [used.urn for used in uses] for path, uses in found.property_dependencies.items()},
        )
        for found in args.resources
        if found.resource_type.startswith(PACKAGE)
    ]


def _given(rule: AnyRule, configuration: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in configuration().items() if name in rule.options}


def _message(rule: AnyRule, problem: str) -> str:
    return f"{problem}.\nSet {rule.fix}\nAsked by {rule.sources[0].title}"


def _about(rule: AnyRule) -> dict[str, Any]:
    return {"remediation_steps": rule.fix, "url": rule.sources[0].url}


def _schema(rule: AnyRule) -> PolicyConfigSchema | None:
    if not rule.options:
        return None
    return PolicyConfigSchema({name: {**_type(value), "default": value} for name, value in rule.options.items()})


def _type(value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return {"type": "array", "items": {"type": "string"}}
    return {"type": "integer"}
