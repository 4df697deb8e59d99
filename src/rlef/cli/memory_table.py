"""A plan's memory as a table."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlef.train.memory import MemoryPlan


def memory_table(plan: "MemoryPlan") -> list[str]:
    """Returns lines: bytes by part, a column for each phase."""
    names = list(dict.fromkeys(name for phase in plan.phases for name in phase.parts))
    names = [name for name in names if any(phase.parts.get(name) for phase in plan.phases)]
    names.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else 0)
    width = max(map(len, names))
    heads = [max(len(phase.name), 8) for phase in plan.phases]
    rows = [("GB", [phase.name for phase in plan.phases])]
    rows += [
        (name, [gigabytes(phase.parts.get(name, 0)) for phase in plan.phases]) for name in names
    ]
    rows.append(("together", [gigabytes(phase.total) for phase in plan.phases]))
    return [
        f"{name:<{width}}  "
        + "  ".join(f"{cell:>{size}}" for cell, size in zip(cells, heads, strict=True))
        for name, cells in rows
    ]


_ORDER = (
    "policy weights",
    "critic weights",
    "reference weights",
    "optimizer states",
    "gradients",
    "gathered layers",
    "activations",
    "logits",
    "sampler's weights",
    "new weights",
    "keys and values",
    "prompts",
)


def gigabytes(number: int) -> str:
    """Returns bytes in GB, with as many digits as say something."""
    if number == 0:
        return "0"
    if number < 500_000:
        return "<0.001"
    return f"{number / 1e9:.1f}" if number >= 5e7 else f"{number / 1e9:.3f}"
