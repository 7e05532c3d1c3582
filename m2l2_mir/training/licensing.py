"""The licence that trained weights can be passed on under, as it follows from the audio that they heard.

Whether weights are derived from the audio of their training, in the sense of copyright, is not settled. So nothing is
claimed here beyond what the licences of the audio allow: all that bind are named, of licences that one follows from
another the stricter. This is a careful reading, not legal advice.

Conventions
-----------
* Names are SPDX identifiers, joined by AND where each binds for a part of the audio.
* A collection "by file" under several licences counts with all of them.
* CC BY-SA 2.0 and 3.0 let adaptations pass to version 4.0 (their section 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["NOTHING", "WeightsLicence", "hub_identifier", "weights_licence"]

NOTHING = "none recommended"
_RESTRICTED = re.compile(r"\b(?:NC|ND)\b|non-?commercial|no-?deriv|rights reserved|proprietary", re.IGNORECASE)
_GPL = re.compile(r"\bGPL[- ]?v?(\d)(?:\.\d)?(\+|-or-later)?", re.IGNORECASE)
_SHARE_ALIKE = re.compile(r"\bCC[- ]BY[- ]SA[- ]([2-4]\.\d)", re.IGNORECASE)
_FREE = re.compile(r"\bCC[- ]BY[- ]\d\.\d|\bCC0|\b(?:MIT|Expat|BSD|ISC|zlib|Apache)\b|public domain", re.IGNORECASE)
_UNSETTLED = (
    "whether weights are derived from the audio that they heard is not settled, and nothing is claimed beyond what its "
    "licences allow"
)
_HUB = {"CC-BY-4.0": "cc-by-4.0", "CC-BY-SA-4.0": "cc-by-sa-4.0"}


class WeightsLicence(NamedTuple):
    """A recommendation, and why."""

    text: str
    reason: str


def weights_licence(collections: Mapping[str, Mapping[str, Any]]) -> WeightsLicence:
    """Choose the licence of weights.

    Parameters
    ----------
    collections
        By name, with ``licences``: what their authors state, in words such as ``"GPL-2+"`` or ``"CC BY-SA 3.0"``.

    Returns
    -------
    WeightsLicence
        Its text is :data:`NOTHING` where a licence is unknown or forbids use or changes.

    Examples
    --------
    >>> weights_licence({"a": {"licences": ["CC BY-SA 3.0"]}, "b": {"licences": ["MIT"]}}).text
    'CC-BY-SA-4.0'
    >>> weights_licence({"a": {"licences": ["GPL-2+"]}, "b": {"licences": ["CC BY-SA 3.0"]}}).text
    'GPL-2.0-or-later AND CC-BY-SA-3.0, by collection, attribution required'
    """
    stated = {name: ", ".join(facts.get("licences") or ["unknown"]) for name, facts in collections.items()}
    if restricted := [name for name, words in stated.items() if _RESTRICTED.search(words)]:
        return WeightsLicence(
            NOTHING, f"the licence of {', '.join(restricted)} forbids some uses: do not pass the weights on unasked"
        )
    known = (_GPL, _SHARE_ALIKE, _FREE)
    unknown = [name for name, words in stated.items() if not any(form.search(words) for form in known)]
    if unknown or not stated:
        whose = ", ".join(unknown) or "the audio"
        return WeightsLicence(NOTHING, f"the licence of {whose} is not known: find it out before passing them on")
    gpl = {name: _GPL.findall(words) for name, words in stated.items() if _GPL.search(words)}
    versions = sorted({version for words in stated.values() for version in _SHARE_ALIKE.findall(words)})
    if not gpl:
        kind = "share-alike" if versions else "free"
        return WeightsLicence(
            "CC-BY-SA-4.0" if versions else "CC-BY-4.0",
            f"the strictest licence of the audio is {kind} with attribution; {_UNSETTLED}",
        )
    binding = _binding({found for several in gpl.values() for found in several})
    binding += [f"CC-BY-SA-{version}" for version in versions[-1:]]
    several = ", by collection" if len(binding) > 1 else ""
    reason = f"some of the audio is under the GNU General Public License; {_UNSETTLED}"
    if binding[0] == "GPL-2.0-only" and len(binding) > 1:
        names = ", ".join(name for name, found in gpl.items() if ("2", "") in found)
        reason += (
            f"; GPL-2.0-only ({names}) cannot be joined with the others in one derived work: whoever takes weights for "
            "one has to train without it"
        )
    return WeightsLicence(f"{' AND '.join(binding)}{several}, attribution required", reason)


def hub_identifier(text: str) -> str:
    """Name of a licence in the front matter of a card on the Hugging Face Hub.

    >>> hub_identifier("CC-BY-SA-4.0"), hub_identifier("GPL-2.0-only, attribution required")
    ('cc-by-sa-4.0', 'other')
    """
    return _HUB.get(text, "other")


def _binding(found: set[tuple[str, str]]) -> list[str]:
    """Versions of the GPL that bind: "or later" is met by any later one that binds anyway."""
    only = sorted(int(version) for version, later in found if not later)
    least = max((int(version) for version, later in found if later), default=0)
    names = [f"GPL-{version}.0-only" for version in only]
    return names if least <= max(only, default=0) else [*names, f"GPL-{least}.0-or-later"]
