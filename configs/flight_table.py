"""The flights of one `vla run`: a summary and a table."""

from typing import Any

from rich.table import Table

from vla.evaluation.statistics import wilson_interval


def summarise(flights: list[dict[str, Any]]) -> dict[str, Any]:
    """Successes with their interval, the timing over all flights, and each flight."""
    successes = sum(flight["success"] for flight in flights)
    seconds = sum(flight["seconds"] for flight in flights)
    low, high = wilson_interval(successes, len(flights))
    return {
        "n": len(flights),
        "successes": successes,
        "low": low,
        "high": high,
        "seconds": round(seconds, 2),
        "rate_hz": sum(f["rate_hz"] * f["seconds"] for f in flights) / seconds if seconds else 0.0,
        "lateness_ms": {
            key: max((f["lateness_ms"].get(key, 0.0) for f in flights), default=0.0)
            for key in ("p50", "p99", "max")
        },
        "missed": sum(flight["missed"] for flight in flights),
        "refused": sum(sum(flight["refusals"].values()) for flight in flights),
        "flights": flights,
    }


def tabulate(flights: list[dict[str, Any]]) -> Table:
    """One row per flight."""
    table = Table(title="live control", title_justify="left")
    heads = ("flight", "ended by", "success", "ticks", "rate", "late p99", "missed", "refused")
    for head in heads:
        table.add_column(head)
    for number, flight in enumerate(flights):
        table.add_row(
            str(number),
            flight["reason"],
            "yes" if flight["success"] else "no",
            str(flight["ticks"]),
            f"{flight['rate_hz']:.3f} Hz",
            f"{flight['lateness_ms'].get('p99', 0.0):.2f} ms",
            str(flight["missed"]),
            str(sum(flight["refusals"].values())),
        )
    return table
