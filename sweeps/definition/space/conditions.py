"""Conditions under `where`, written in a small and safe subset of Python expressions."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse
from sweeps.definition.space.run_fields import KINDS, FieldFacts, kind_of

MAX_LENGTH = 1000
"""Maximum length of a condition in characters, which bounds the cost of parsing."""
MAX_DEPTH = 100
"""Maximum depth of the tree of a condition; a sum of n terms has depth n."""
_MAX_SHOWN = 60
"""Maximum length of a part of a condition in a message."""

_ORDERINGS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CALLS: dict[str, Callable[..., Any]] = {"len": len, "min": min, "max": max, "abs": abs}
_WORDS = {"null": None, "true": True, "false": False}  # as YAML spells them
_ALLOWED = (
    "fields, values, ==, !=, <, <=, >, >=, in, not in, and, or, not, +, -, *, /, //, %, "
    + ", ".join(_CALLS)
)
_NOUNS = {"number": "a number", "list": "a list", "flag": "true or false", "mapping": "a mapping"}

Lookup = Callable[[str], Any]
"""Function that returns the value of a field, or raises `KeyError` if it does not exist."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Valid condition of `where`."""

    place: str
    """Key path, such as `where[0]`."""
    text: str
    tree: ast.expr

    def holds(self, lookup: Lookup) -> bool:
        """Return True if a configuration meets the condition or lacks a field of it.

        Raises:
            InvalidConfigError: If values do not allow an answer, such as a comparison with null.
        """
        try:
            return bool(_value(self.tree, lookup))
        except KeyError:
            return True
        except _UndecidedError as error:
            constraint = "a condition that every configuration can decide"
            raise InvalidConfigError(
                [ConfigIssue(self.place, self.text, constraint, str(error))]
            ) from error


class _UndecidedError(Exception):
    """Error for values that an operator does not accept."""


def parse_condition(text: str, place: str, fields: Mapping[str, FieldFacts]) -> Condition:
    """Return the condition that `text` defines.

    Names, operators and kinds of values are checked without a configuration. A comparison with a
    text that the field can never have is rejected too.

    Raises:
        InvalidConfigError: With all issues of the condition.
    """
    if len(text) > MAX_LENGTH:
        constraint = f"at most {MAX_LENGTH} characters in a condition"
        hint = f"It has {len(text)}. Write several conditions: all of them must be met."
        raise InvalidConfigError([ConfigIssue(place, text, constraint, hint)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "it is nested too deeply"
        constraint = "a condition such as `method.rank <= 16`"
        raise InvalidConfigError(
            [ConfigIssue(place, text, constraint, f"Python reports: {reason}.")]
        ) from error
    if _depth(tree) > MAX_DEPTH:
        constraint = f"at most {MAX_DEPTH} terms or operators inside each other"
        hint = "Write several conditions: all of them must be met."
        raise InvalidConfigError([ConfigIssue(place, text, constraint, hint)])
    checker = _Checker(place, text, fields)
    if "flag" not in checker.kinds(tree):
        checker.issue("a condition, which is true or false", "It is a value: compare it.")
    refuse(dict.fromkeys(checker.issues))
    return Condition(place, text, tree)


def _depth(tree: ast.expr) -> int:
    """Return the depth of a tree, without recursion."""
    depth = 0
    level: list[ast.AST] = [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _shown(node: ast.AST) -> str:
    """Return a part of a condition for messages."""
    text = ast.unparse(node)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


class _Checker:
    """Inference of the kinds of values of an expression; `issues` collects the errors."""

    def __init__(self, place: str, text: str, fields: Mapping[str, FieldFacts]) -> None:
        self.place, self.text, self.fields = place, text, fields
        self.issues: list[ConfigIssue] = []

    def issue(self, allowed: str, hint: str = "") -> frozenset[str]:
        """Add an issue and return all kinds, so that the invalid part is reported once."""
        self.issues.append(ConfigIssue(self.place, self.text, allowed, hint))
        return KINDS

    def kinds(self, node: ast.expr) -> frozenset[str]:
        """Return the kinds that the value of a node can have."""
        match node:
            case ast.Constant(value=float(number)) if not math.isfinite(number):
                return self.issue("finite numbers", f"`{_shown(node)}` is too large.")
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return frozenset({kind_of(node.value)})
            case ast.Name() | ast.Attribute():
                return self.name(node)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                for item in items:
                    self.kinds(item)
                return frozenset({"list"})
            case ast.BoolOp(values=values):
                for value in values:
                    self.expect(value, "flag")
                return frozenset({"flag"})
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.expect(operand, "flag")
                return frozenset({"flag"})
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                self.expect(operand, "number")
                return frozenset({"number"})
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                self.expect(left, "number")
                self.expect(right, "number")
                return frozenset({"number"})
            case ast.Compare(left=left, ops=ops, comparators=others):
                for a, comparison, b in zip([left, *others], ops, others, strict=False):
                    self.compare(a, comparison, b)
                return frozenset({"flag"})
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _CALLS:
                return self.call(node, name, arguments)
        return self.issue(_ALLOWED, f"`{_shown(node)}` is none of these.")

    def name(self, node: ast.expr) -> frozenset[str]:
        """Return the kinds that a field can have."""
        name = ast.unparse(node)
        if name in _WORDS:
            return frozenset({kind_of(_WORDS[name])})
        if name in self.fields:
            return self.fields[name].kinds
        same = [path for path in self.fields if path.split(".")[-1] == name.split(".")[-1]]
        hint = f"Did you mean {same[0]!r}?" if same else nearest(name, list(self.fields))
        hint = hint or "Enclose texts in quotes."
        constraint = "names of fields that some configuration has, such as `method.rank`"
        return self.issue(constraint, f"`{_shown(node)}` is not a field. {hint}")

    def expect(self, node: ast.expr, kind: str) -> None:
        """Add an issue if the node can never be of the kind."""
        kinds = self.kinds(node)
        if kind not in kinds:
            self.issue(
                f"{_NOUNS[kind]} in that place", f"`{_shown(node)}` is {_described(kinds)}."
            )

    def call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> frozenset[str]:
        """Return the kind of the value of a call."""
        fewest, most = {"min": (2, 9), "max": (2, 9)}.get(name, (1, 1))
        if not fewest <= len(arguments) <= most:
            few = "one argument" if most == 1 else "two or more arguments"
            return self.issue(f"{few} for `{name}`", f"`{_shown(node)}` has another number.")
        for argument in arguments:
            if name != "len":
                self.expect(argument, "number")
            elif not self.kinds(argument) & {"list", "text"}:
                self.issue("`len` of a list", f"`{_shown(argument)}` has no length.")
        return frozenset({"number"})

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> None:
        """Add an issue if a comparison is impossible or always has the same result."""
        a, b = self.kinds(left), self.kinds(right)
        shown = f"{_shown(left)} {_SIGNS.get(type(op), '?')} {_shown(right)}"
        if type(op) in _ORDERINGS:
            comparable = bool(a & b & {"number", "text"})
        elif isinstance(op, ast.Eq | ast.NotEq):
            comparable = bool(a & b)
            self.spelling(left, right)
            self.spelling(right, left)
        elif isinstance(op, ast.In | ast.NotIn):
            comparable = "list" in b or ("text" in a and "text" in b)
            for item in right.elts if isinstance(right, ast.List | ast.Tuple) else [right]:
                self.spelling(left, item)
                self.spelling(item, left)
        else:
            self.issue(_ALLOWED, "Use `==` instead of `is`.")
            return
        if not comparable:
            hint = f"`{shown}` compares {_described(a)} with {_described(b)}."
            self.issue("values of one kind on both sides", hint)

    def spelling(self, field: ast.expr, value: ast.expr) -> None:
        """Add an issue if the value is a text that the field can never have."""
        facts = self.fields.get(ast.unparse(field))
        if facts is None or not facts.choices or not isinstance(value, ast.Constant):
            return
        if isinstance(value.value, str) and value.value not in facts.choices:
            choices = sorted(facts.choices)
            hint = nearest(value.value, choices)
            self.issue(f"one of {choices} in a comparison with `{ast.unparse(field)}`", hint)


_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}


def _described(kinds: frozenset[str]) -> str:
    return " or ".join(_NOUNS.get(kind, kind) for kind in sorted(kinds))


def _value(node: ast.expr, lookup: Lookup) -> Any:
    """Return the value of a checked expression."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            name = ast.unparse(node)
            return _WORDS[name] if name in _WORDS else lookup(name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, lookup) for item in items]
        case ast.BoolOp(op=op, values=values):
            decisive = isinstance(op, ast.Or)
            return decisive if any(_flag(v, lookup) is decisive for v in values) else not decisive
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _flag(operand, lookup)
        case ast.UnaryOp(operand=operand):
            return -_number(operand, lookup)
        case ast.BinOp(left=left, op=op, right=right):
            try:
                value = _ARITHMETIC[type(op)](_number(left, lookup), _number(right, lookup))
            except ZeroDivisionError as error:
                raise _UndecidedError(f"`{_shown(node)}` divides by zero.") from error
            except OverflowError as error:
                raise _UndecidedError(f"`{_shown(node)}` is too large.") from error
            if isinstance(value, float) and not math.isfinite(value):
                raise _UndecidedError(f"`{_shown(node)}` is too large.")
            return value
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others], ops, others, strict=False)
            return all(_compare(a, op, b, lookup) for a, op, b in pairs)
        case ast.Call(func=ast.Name(id="len"), args=[argument]):
            value = _value(argument, lookup)
            if kind_of(value) not in {"list", "text"}:
                raise _undecided(argument, value)
            return len(value)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _CALLS[name](*(_number(argument, lookup) for argument in arguments))
    raise TypeError(f"not a checked expression: {ast.dump(node)}")


def _flag(node: ast.expr, lookup: Lookup) -> bool:
    value = _value(node, lookup)
    if not isinstance(value, bool):
        raise _undecided(node, value)
    return value


def _number(node: ast.expr, lookup: Lookup) -> Any:
    value = _value(node, lookup)
    if kind_of(value) != "number":
        raise _undecided(node, value)
    return value


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, lookup: Lookup) -> bool:
    a, b = _value(left, lookup), _value(right, lookup)
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
    return _ORDERINGS[type(op)](a, b)


def _undecided(node: ast.expr, value: object) -> _UndecidedError:
    text = _shown(node)
    if value is None:
        hint = f"`{text}` is null in a configuration: begin with `{text} == null or`."
        return _UndecidedError(hint)
    kind = _described(frozenset({kind_of(value)}))
    return _UndecidedError(f"`{text}` is {value!r} in a configuration, {kind}.")
