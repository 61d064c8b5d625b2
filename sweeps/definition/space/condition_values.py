"""Values of a condition under `where` in one configuration."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

from sweeps.definition.space.condition_syntax import (
    ARITHMETIC,
    CALLS,
    ORDERINGS,
    WORDS,
    described,
    shown,
)
from sweeps.definition.space.run_fields import kind_of
from sweeps.errors import SweepsError

Lookup = Callable[[str], Any]
"""Function that returns the value of a field, or raises `KeyError` if it does not exist."""


class UndecidedError(SweepsError):
    """Error for values that an operator does not accept."""


def value_of(node: ast.expr, lookup: Lookup) -> Any:
    """Return the value of a checked expression.

    Raises:
        KeyError: If a field does not exist.
        UndecidedError: If an operator does not accept the values.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            name = ast.unparse(node)
            return WORDS[name] if name in WORDS else lookup(name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [value_of(item, lookup) for item in items]
        case ast.BoolOp(op=op, values=values):
            decisive = isinstance(op, ast.Or)
            return decisive if any(_flag(v, lookup) is decisive for v in values) else not decisive
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _flag(operand, lookup)
        case ast.UnaryOp(operand=operand):
            return -_number(operand, lookup)
        case ast.BinOp(left=left, op=op, right=right):
            try:
                value = ARITHMETIC[type(op)](_number(left, lookup), _number(right, lookup))
            except ZeroDivisionError as error:
                raise UndecidedError(f"`{shown(node)}` divides by zero.") from error
            except OverflowError as error:
                raise UndecidedError(f"`{shown(node)}` is too large.") from error
            if isinstance(value, float) and not math.isfinite(value):
                raise UndecidedError(f"`{shown(node)}` is too large.")
            return value
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others], ops, others, strict=False)
            return all(_compare(a, op, b, lookup) for a, op, b in pairs)
        case ast.Call(func=ast.Name(id="len"), args=[argument]):
            value = value_of(argument, lookup)
            if kind_of(value) not in {"list", "text"}:
                raise _undecided(argument, value)
            return len(value)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return CALLS[name](*(_number(argument, lookup) for argument in arguments))
    raise TypeError(f"not a checked expression: {ast.dump(node)}")


def _flag(node: ast.expr, lookup: Lookup) -> bool:
    value = value_of(node, lookup)
    if not isinstance(value, bool):
        raise _undecided(node, value)
    return value


def _number(node: ast.expr, lookup: Lookup) -> Any:
    value = value_of(node, lookup)
    if kind_of(value) != "number":
        raise _undecided(node, value)
    return value


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, lookup: Lookup) -> bool:
    a, b = value_of(left, lookup), value_of(right, lookup)
    kinds = kind_of(a), kind_of(b)
    match op:
        case ast.Eq():
            return kinds[0] == kinds[1] and bool(a == b)
        case ast.NotEq():
            return kinds[0] != kinds[1] or bool(a != b)
        case ast.In() | ast.NotIn():
            if kinds[1] != "list" and kinds != ("text", "text"):
                raise _undecided(right, b)
            return (a in b) == isinstance(op, ast.In)
    if kinds not in {("number", "number"), ("text", "text")}:
        invalid, value = (right, b) if kinds[0] in {"number", "text"} else (left, a)
        raise _undecided(invalid, value)
    return ORDERINGS[type(op)](a, b)


def _undecided(node: ast.expr, value: object) -> UndecidedError:
    text = shown(node)
    if value is None:
        hint = f"`{text}` is null in a configuration: begin with `{text} == null or`."
        return UndecidedError(hint)
    kind = described(frozenset({kind_of(value)}))
    return UndecidedError(f"`{text}` is {value!r} in a configuration, {kind}.")
