"""Which deployment answers the next request: a deterministic weighted choice.

Smooth weighted round robin: of any 100 requests in a row with weights 90 and 10 exactly 10 go to the second, spread
evenly, so that a canary step of few requests shows what it says.
"""

from __future__ import annotations

from collections.abc import Mapping


class Balance:
    """Remembers per key (an endpoint) where the choice stands; new weights begin anew."""

    def __init__(self) -> None:
        self._current: dict[str, tuple[dict[str, int], dict[str, int]]] = {}

    def pick(self, key: str, weights: Mapping[str, int]) -> str | None:
        """The name whose turn it is, or None when no weight is above zero."""
        wanted = {name: weight for name, weight in weights.items() if weight > 0}
        if not wanted:
            self._current.pop(key, None)
            return None
        known, current = self._current.get(key, (None, None))
        if current is None or known != wanted:
            current = dict.fromkeys(wanted, 0)
            self._current[key] = (wanted, current)
        for name, weight in wanted.items():
            current[name] += weight
        chosen = max(current, key=lambda name: current[name])
        current[chosen] -= sum(wanted.values())
        return chosen

    def is_turn(self, key: str, percent: int) -> bool:
        """Whether this request is one of the `percent` in a hundred, spread evenly."""
        return self.pick(key, {"yes": percent, "no": 100 - percent}) == "yes"
