#!/usr/bin/env python3
"""Checks the licence of every Python package that installing ishowtts brings along: permissive ones only."""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

PERMISSIVE = {
    "0bsd",
    "2-clause bsd",
    "3-clause bsd",
    "apache",
    "apache 2.0",
    "apache software",
    "apache-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "isc",
    "mit",
    "mit-0",
    "psf-2.0",
    "python software foundation",
    "unlicense",
    "zlib",
}
"""SPDX identifiers and what older packages write instead, in lower case and without the word licence."""


def closure(name: str) -> dict[str, Distribution]:
    """The package and all that it needs at run time, by normalised name; those for other platforms are absent."""
    found: dict[str, Distribution] = {}
    names = [name]
    while names:
        key = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if key in found:
            continue
        try:
            found[key] = distribution(key)
        except PackageNotFoundError:
            continue
        for line in found[key].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                names.append(requirement.name)
    return found


def licence(package: Distribution) -> str:
    """The SPDX expression, else the classifiers, else the free text, as far as the package tells."""
    fields = package.metadata
    expression: str | None = fields["License-Expression"]
    if expression:
        return expression
    classifiers = [line.split(" :: ")[-1] for line in fields.get_all("Classifier", []) if line.startswith("License ::")]
    if classifiers:
        return " OR ".join(classifiers)
    text: str | None = fields["License"]
    return (text or "none given").splitlines()[0]


def permissive(expression: str) -> bool:
    """Every part of an AND, one part of an OR; an abbreviation in parentheses behind a name says nothing more."""
    plain = re.sub(r"(?<=\w) \([A-Z]+\)|(?i:licen[cs]e)|[()]", "", expression)
    choices = re.split(r"\bOR\b", plain)
    return any(all(part.strip().lower() in PERMISSIVE for part in re.split(r"\bAND\b", choice)) for choice in choices)


def main() -> int:
    packages = closure("ishowtts")
    faults = [
        f"{name} {package.version}: {licence(package)} is not among the licences that may ship"
        for name, package in sorted(packages.items())
        if not permissive(licence(package))
    ]
    if "hibari-tts" not in packages:
        faults.append(
            "ishowtts is not installed here, so its dependencies are not known; run make serve or make test once"
        )
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
