"""What the policy for bad annotations dropped or changed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Report:
    """counts: how often, by reason. first: where it happened first, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: object, count: int = 1) -> None:
        """Does nothing for a count of 0."""
        if count:
            self.counts[reason] += count
            self.first.setdefault(reason, str(where))

    def lines(self) -> list[str]:
        """`12 x reason (first: where)`, the most frequent first."""
        return [
            f"{count} x {reason} (first: {self.first[reason]})"
            for reason, count in self.counts.most_common()
        ]


def added(reports: Iterable[Report]) -> Report:
    """A new report with the counts of all."""
    total = Report()
    for report in reports:
        for reason, count in report.counts.items():
            total.add(reason, report.first[reason], count)
    return total
