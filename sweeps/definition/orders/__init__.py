"""Task-order designs: the task orders in which each configuration is trained."""

from sweeps.definition.orders.balance import (
    CountRange,
    StageCost,
    balance_lines,
    carry_over_balance,
    position_balance,
    stage_cost,
)
from sweeps.definition.orders.chains import CHAINS
from sweeps.definition.orders.design_functions import (
    ALL_UP_TO,
    ORDERS,
    OrderFunction,
    latin_square,
    williams,
)
from sweeps.definition.orders.orders_section import BALANCES, MEASURED, OrderDesign, task_names
from sweeps.definition.orders.precedence import Order, Precedence, cycle_of
from sweeps.definition.orders.space_filling import discrepancy

__all__ = [
    "ALL_UP_TO",
    "BALANCES",
    "CHAINS",
    "MEASURED",
    "ORDERS",
    "CountRange",
    "Order",
    "OrderDesign",
    "OrderFunction",
    "Precedence",
    "StageCost",
    "balance_lines",
    "carry_over_balance",
    "cycle_of",
    "discrepancy",
    "latin_square",
    "position_balance",
    "stage_cost",
    "task_names",
    "williams",
]
