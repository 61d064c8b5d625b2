"""Kinds of values of a condition under `where`, inferred without a configuration."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping

from clmethods.errors import ConfigIssue, nearest
from sweeps.definition.space.condition_syntax import (
    ALLOWED,
    ARITHMETIC,
    CALLS,
    KIND_NOUNS,
    ORDERINGS,
    SIGNS,
    WORDS,
    described,
    shown,
)
from sweeps.definition.space.run_fields import KINDS, FieldFacts, kind_of


class KindChecker:
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
                return self.issue("finite numbers", f"`{shown(node)}` is too large.")
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
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                self.expect(left, "number")
                self.expect(right, "number")
                return frozenset({"number"})
            case ast.Compare(left=left, ops=ops, comparators=others):
                for a, comparison, b in zip([left, *others], ops, others, strict=False):
                    self.compare(a, comparison, b)
                return frozenset({"flag"})
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in CALLS:
                return self.call(node, name, arguments)
        return self.issue(ALLOWED, f"`{shown(node)}` is none of these.")

    def name(self, node: ast.expr) -> frozenset[str]:
        """Return the kinds that a field can have."""
        name = ast.unparse(node)
        if name in WORDS:
            return frozenset({kind_of(WORDS[name])})
        if name in self.fields:
            return self.fields[name].kinds
        same = [path for path in self.fields if path.split(".")[-1] == name.split(".")[-1]]
        hint = f"Did you mean {same[0]!r}?" if same else nearest(name, list(self.fields))
        hint = hint or "Enclose texts in quotes."
        constraint = "names of fields that some configuration has, such as `method.rank`"
        return self.issue(constraint, f"`{shown(node)}` is not a field. {hint}")

    def expect(self, node: ast.expr, kind: str) -> None:
        """Add an issue if the node can never be of the kind."""
        kinds = self.kinds(node)
        if kind not in kinds:
            self.issue(
                f"{KIND_NOUNS[kind]} in that place", f"`{shown(node)}` is {described(kinds)}."
            )

    def call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> frozenset[str]:
        """Return the kind of the value of a call."""
        fewest, most = {"min": (2, 9), "max": (2, 9)}.get(name, (1, 1))
        if not fewest <= len(arguments) <= most:
            few = "one argument" if most == 1 else "two or more arguments"
            return self.issue(f"{few} for `{name}`", f"`{shown(node)}` has another number.")
        for argument in arguments:
            if name != "len":
                self.expect(argument, "number")
            elif not self.kinds(argument) & {"list", "text"}:
                self.issue("`len` of a list", f"`{shown(argument)}` has no length.")
        return frozenset({"number"})

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> None:
        """Add an issue if a comparison is impossible or always has the same result."""
        a, b = self.kinds(left), self.kinds(right)
        text = f"{shown(left)} {SIGNS.get(type(op), '?')} {shown(right)}"
        if type(op) in ORDERINGS:
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
            self.issue(ALLOWED, "Use `==` instead of `is`.")
            return
        if not comparable:
            hint = f"`{text}` compares {described(a)} with {described(b)}."
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
