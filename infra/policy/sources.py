"""Where a rule comes from: PSRule, Azure's built-in and landing-zone policies, AVM modules, documentation."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Source:
    """A public page that asks for what a rule asks for."""

    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.title} ({self.url})"


def psrule(name: str, reference: str = "") -> Source:
    """A rule of PSRule for Azure, by its name and, where its index gives one, its stable reference `AZR-…`."""
    title = f"PSRule {name}, {reference}" if reference else f"PSRule {name}"
    return Source(title, f"https://azure.github.io/PSRule.Rules.Azure/en/rules/{name}/")


def builtin(path: str, guid: str, title: str) -> Source:
    """A built-in Azure policy: its file below `policyDefinitions`, its GUID and its display name."""
    root = "https://github.com/Azure/azure-policy/blob/master/built-in-policies/policyDefinitions"
    return Source(f"Azure policy '{title}' {guid}", f"{root}/{quote(path)}.json")


def landing_zone(name: str) -> Source:
    """A policy of Azure's enterprise-scale landing zones."""
    root = "https://github.com/Azure/Enterprise-Scale/blob/main/src/resources/Microsoft.Authorization/policyDefinitions"
    return Source(f"Azure landing zones {name}", f"{root}/{name}.json")


def avm(module: str, part: str) -> Source:
    """A part (a parameter, a test) of an Azure Verified Module for Bicep."""
    root = "https://github.com/Azure/bicep-registry-modules/blob/main/avm/res"
    file = "tests/e2e/waf-aligned/main.test.bicep" if part == "WAF-aligned test" else "main.bicep"
    return Source(f"AVM {module}, {part}", f"{root}/{module}/{file}")


def learn(repository: str, path: str, title: str) -> Source:
    """A page of Microsoft's documentation, by its file."""
    return Source(f"Microsoft, {title}", f"https://github.com/MicrosoftDocs/{repository}/blob/main/articles/{path}.md")


def azure_ml(page: str, title: str) -> Source:
    """A page of Azure ML's documentation."""
    return learn("azure-ai-docs", f"machine-learning/{page}", title)
