"""What a server counts, as Prometheus text (the exposition format, version 0.0.4)."""

from dataclasses import dataclass, fields


@dataclass(kw_only=True, slots=True)
class Metrics:
    """Counters since the start.

    Attributes:
        requests: messages that asked for plans.
        refused: of those, answered with an error.
        late: of those, not finished by their deadline.
        cancelled: of those, whose caller left before the answer.
        dropped_plans: plans made that nobody was waiting for any more.
        batches, plans: calls of the policy, and plans they made.
        inference_seconds: time within the policy.
        clients: callers connected now.
    """

    requests: int = 0
    refused: int = 0
    late: int = 0
    cancelled: int = 0
    dropped_plans: int = 0
    batches: int = 0
    plans: int = 0
    inference_seconds: float = 0.0
    clients: int = 0

    def to_text(self) -> str:
        """One line of type and one of value for each counter."""
        lines = []
        for name in (field.name for field in fields(self)):
            kind = "gauge" if name == "clients" else "counter"
            full = f"vla_serve_{name}" + ("_total" if kind == "counter" else "")
            lines += [f"# TYPE {full} {kind}", f"{full} {getattr(self, name)}"]
        return "\n".join(lines) + "\n"
