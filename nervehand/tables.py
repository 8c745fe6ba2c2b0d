"""Tables of scores for people."""

from __future__ import annotations

from rich.table import Table

from calibration.evaluation import Evaluation


def evaluation_table(found: Evaluation) -> Table:
    """Every score: mean and spread over the orders, beside the best constant and a fit on permuted gestures."""
    order = "recorded order (optimistic)" if found.recorded_order else f"{found.n_orders} shuffled orders"
    title = f"{', '.join(found.sessions)}: {found.n_trials} trials, {found.scored_s:.0f} s scored, {order}"
    table = Table(title=title, title_justify="left")
    table.add_column("score", no_wrap=True)
    for column in ("mean", "spread", "best constant", "permuted"):
        table.add_column(column, justify="right")
    for name, value in found.scores.mean.items():
        if value is None and name not in found.scores.not_scored:
            continue
        table.add_row(
            name,
            _number(value),
            _number(found.scores.spread.get(name)),
            _number(found.chance.best_constant.get(name)),
            _number(found.chance.permuted.get(name)),
        )
    if found.reset is not None:
        for name, value in found.reset.mean.items():
            table.add_row(f"reset_{name}", _number(value), _number(found.reset.spread.get(name)), "", "")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
