"""Compiles conditions written in CEL, and refuses at load what would go wrong in silence.

CEL absorbs errors (`x.missing || true` is true) and compares across types without a word
(`"5" == 5` is false). So a condition is parsed when it is loaded: every field must be declared
and meant for deciding, an optional one must be guarded by `has()`, and both sides of a comparison
must be of one type, and arithmetic must stay within bounds, so that there is no error to absorb.
What is left of CEL is what rules need: fields, literals, comparisons, `in`, arithmetic,
`&& || ! ?:`, and a few functions of text.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cel
from lark import Lark, Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from domain.context import FieldLabel, Use
from domain.errors import ConfigurationError, SafeconductError
from policies.formulas import (
    Both,
    Compared,
    Constant,
    Either,
    Formula,
    Has,
    Not,
    Sign,
    Unknown,
    Value,
    can_be,
)

CONDITION_LENGTH_MAX = 1_000
CONDITION_DEPTH_MAX = 300
FIELD_MAX: Mapping[str, float] = {"int": 2**53, "double": 1e100}
_RESULT_MAX: Mapping[str, float] = {"int": 2**63 - 1, "double": 1e308}

Kind = Literal["string", "int", "double", "bool", "null"]
Spot = Callable[[int], tuple[int, int | None]]
"""Line and column, from 1, of a character of a condition; no column where nobody can tell."""


class RuleFailed(SafeconductError):
    """A condition could not be evaluated; whoever asked must not pass."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Context fields made ready for evaluation; `mistyped` ones are not what they were declared:
    of another type, or absent where they may not be."""

    context: Any
    mistyped: frozenset[str]


class Binder:
    """Makes the named fields ready, once for all conditions of a decision.

    The engine takes a variable in a third of a microsecond and a member of a nested mapping in
    three times that, so a field is a variable of its own: `profile.plan` is `profileDplan`, and
    null where it is absent (`has()` asks for that).
    """

    __slots__ = ("_variables",)

    def __init__(self, labels: Mapping[str, FieldLabel]) -> None:
        self._variables = tuple(
            (name, _variable(name), _TYPED[label.type], label.optional)
            for name, label in labels.items()
        )

    def bind(self, fields: Mapping[str, Any]) -> Bound:
        """The fields that conditions may read; those that are not as declared are named."""
        variables: dict[str, Any] = {}
        mistyped: list[str] = []
        for name, variable, typed, optional in self._variables:
            value = fields.get(name)
            if value is not None:
                value = typed(value)
                if value is None:
                    mistyped.append(name)
            elif not optional:
                mistyped.append(name)
            variables[variable] = value
        return Bound(cel.Context(variables), frozenset(mistyped) if mistyped else _NONE)


@dataclass(frozen=True, slots=True)
class Condition:
    """One compiled condition. `labels` are the declared fields that it reads, `formula` is what it
    says, as far as that can be compared with what another one says."""

    text: str
    place: str
    labels: Mapping[str, FieldLabel]
    program: Any
    binder: Binder
    formula: Formula

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether it is true of these fields, bound for this condition alone."""
        return self.evaluate(self.binder.bind(fields))

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the fields it reads."""
        return tuple(self.labels)

    def evaluate(self, bound: Bound) -> bool:
        """Whether it is true. Raises `RuleFailed` where a field is not of its declared type."""
        if bound.mistyped:
            self._check(bound.mistyped)
        try:
            return self.program.execute(bound.context) is True
        except Exception as error:  # the engine raises several kinds of its own
            raise RuleFailed(f"`{self.text}` failed: {error}", place=self.place) from error

    def _check(self, mistyped: frozenset[str]) -> None:
        wrong = mistyped.intersection(self.labels)
        if wrong:
            name = min(wrong)
            raise RuleFailed(
                f"`{name}` is not {_a(self.labels[name].type)}",
                place=self.place,
                remedy=f"send it as declared at {self.labels[name].place}",
            )


def _variable(name: str) -> str:
    # Declared names are in small letters, so no two of them become one.
    return name.replace(".", "D")


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return value if value.isascii() or _encodable(value) else None


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) <= FIELD_MAX["int"] else None


def _number(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and abs(value) <= FIELD_MAX["double"] else None


_TYPED: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "bool": _truth,
    "int": _whole,
    "double": _number,  # whole numbers are doubles too
}
"""The value as that type, or None where it is not of it."""


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def compile_condition(
    text: str,
    fields: Mapping[str, FieldLabel],
    *,
    shown_as: str,
    line: int,
    spot: Spot | None = None,
    use: Use = "decide",
) -> Condition:
    """Compile and check one condition.

    Args:
        fields: the fields that it may read, by name.
        shown_as: the file it stands in; `line` is where its text begins.
        spot: where in the file a character of the text stands.
        use: what the condition does with the fields.

    Raises:
        ConfigurationError: with the place, what is wrong, and the remedy.
    """
    reader = _Reader(fields, shown_as, spot or _row(text, line), use)
    tree = reader.parse(text)
    said = reader.read(tree, frozenset())
    if said.kind != "bool":
        raise reader.wrong(
            tree, f"the condition is {_a(said.kind)}, not true or false", "compare it"
        )
    if not reader.labels:
        raise reader.wrong(
            tree, "the condition reads no field, so it is always the same", "remove the rule"
        )
    formula = reader.formula(said, tree)
    reader.check(formula, tree)
    try:
        program = cel.compile(reader.flat(text))
    except Exception as error:  # noqa: BLE001 - the engine raises several kinds of its own
        raise reader.wrong(tree, f"the condition does not compile: {error}", "correct it") from None
    labels = dict(sorted(reader.labels.items()))
    return Condition(text, f"{shown_as}:{line}", labels, program, Binder(labels), formula)


def _row(text: str, line: int) -> Spot:
    """Lines alone, for a text that begins on a line and is written out as it is."""
    return lambda offset: (line + text.count("\n", 0, offset), None)


@lru_cache(maxsize=1)
def _parser() -> Lark:
    # cel-python's grammar, without importing that package, which takes 0.2 s.
    found = importlib.util.find_spec("celpy")
    assert found is not None and found.origin is not None
    grammar = (Path(found.origin).parent / "cel.lark").read_text(encoding="utf-8")

    def literal(token: Token) -> Token:
        is_bool = token.value in ("true", "false")
        return Token.new_borrow_pos("BOOL_LIT", token.value, token) if is_bool else token

    return Lark(
        grammar,
        parser="lalr",
        start="expr",
        lexer_callbacks={"IDENT": literal},
        propagate_positions=True,
        maybe_placeholders=False,
        priority="invert",
    )


Node = Tree[Token]
Names = frozenset[str]
_NONE: Names = frozenset()


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


@dataclass(frozen=True, slots=True)
class _Said:
    """What is known of a part: its type, the fields that are there when it is true or false, and
    how large a number it can be at `most`, whatever its sign. Also the `field` it names, the
    `value` it writes out, or the `formula` that it is."""

    kind: Kind
    if_true: Names = _NONE
    if_false: Names = _NONE
    most: float = 0
    field: str | None = None
    value: Value | None = None
    formula: Formula | None = None


_ORDERED = ("relation_lt", "relation_le", "relation_gt", "relation_ge")
_SIGNS: Mapping[str, Sign] = {
    "relation_eq": "==",
    "relation_ne": "!=",
    "relation_lt": "<",
    "relation_le": "<=",
    "relation_gt": ">",
    "relation_ge": ">=",
}
_TURNED: Mapping[Sign, Sign] = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TEXT_FUNCTIONS = ("startsWith", "endsWith", "contains")


class _Reader:
    """Reads one condition's tree: types, presence, declared fields."""

    def __init__(
        self, fields: Mapping[str, FieldLabel], shown_as: str, spot: Spot, use: Use
    ) -> None:
        self._fields = fields
        self._shown_as = shown_as
        self._spot = spot
        self._use = use
        self._spans: list[tuple[int, int, str]] = []
        self._text_read = ""
        self._conjunctions: list[tuple[Node, Formula]] = []
        self.labels: dict[str, FieldLabel] = {}

    def parse(self, text: str) -> Node:
        """The tree, within its limits."""
        self._text_read = text
        if len(text) > CONDITION_LENGTH_MAX:
            raise self._at(
                0, f"the condition is longer than {CONDITION_LENGTH_MAX} characters", "split it"
            )
        try:
            tree: Node = _parser().parse(text)
        except UnexpectedInput as error:
            row = error.line if isinstance(error.line, int) and error.line > 0 else 1
            ended = getattr(getattr(error, "token", None), "type", None) == "$END"
            shown = "" if ended else text.splitlines()[row - 1][max(0, error.column - 1) :][:20]
            found = f"at `{shown}`" if shown.strip() else "at its end"
            at = getattr(error, "pos_in_stream", None)
            offset = len(text.rstrip()) if ended or at is None else at
            raise self._at(
                offset, f"the condition is no CEL: it makes no sense {found}", "correct it"
            ) from None
        except LarkError as error:
            raise self._at(0, f"the condition is no CEL: {error}", "correct it") from None
        if _depth(tree) > CONDITION_DEPTH_MAX:
            raise self._at(0, "the condition is nested too deeply", "split it into several rules")
        return tree

    def flat(self, text: str) -> str:
        """The text that was read, with each field as the variable that it is bound to."""
        for start, end, variable in sorted(self._spans, reverse=True):
            text = f"{text[:start]}{variable}{text[end:]}"
        return text

    def wrong(self, node: Node, cause: str, remedy: str) -> ConfigurationError:
        """An error at a part's place."""
        return self._at(getattr(node.meta, "start_pos", None) or 0, cause, remedy)

    def _at(self, offset: int, cause: str, remedy: str) -> ConfigurationError:
        line, column = self._spot(offset)
        return ConfigurationError(
            cause, place=f"{self._shown_as}:{line}", remedy=remedy, column=column
        )

    def formula(self, said: _Said, node: Node) -> Formula:
        """What a part that is true or false says, as a formula."""
        if said.formula is not None:
            return said.formula
        if said.field is not None:
            return Compared(said.field, "==", (True,))
        if isinstance(said.value, bool):
            return Constant(said.value)
        return Unknown(self._written(node))

    def check(self, formula: Formula, tree: Node) -> None:
        """Refuse a condition that comes out the same whatever the fields hold."""
        if not can_be(formula, True):
            for node, part in self._conjunctions:
                if not can_be(part, True):
                    raise self.wrong(
                        node,
                        f"the condition can never be true: `{self._written(node)}` contradicts "
                        "itself",
                        "correct its bounds, or remove the rule",
                    )
            raise self.wrong(tree, "the condition can never be true", "correct it")
        if not can_be(formula, False):
            raise self.wrong(
                tree, "the condition is always true, so it decides nothing", "remove the rule"
            )

    def _written(self, node: Node) -> str:
        text = self._text_read[node.meta.start_pos : node.meta.end_pos]
        return " ".join(text.split())

    def read(self, node: Node, known: Names) -> _Said:
        """What a part says, where the fields `known` are there."""
        node = _inmost(node)
        match node.data:
            case "expr":
                return self._choice(node, known)
            case "conditionalor":
                return self._either(node, known)
            case "conditionaland":
                return self._both(node, known)
            case "relation":
                return self._relation(node, known)
            case "addition" | "multiplication":
                return self._arithmetic(node, known)
            case "unary":
                return self._unary(node, known)
            case "literal":
                return self._literal(node)
            case "ident" | "member_dot":
                return self._field(node, known)
            case "ident_arg":
                return self._function(node, known)
            case "member_dot_arg":
                return self._method(node, known)
            case _:
                raise self.wrong(
                    node,
                    f"the condition uses {_WORDS.get(node.data, node.data)}",
                    "use fields, literals, comparisons, `in [..]`, `&&`, `||`, `!`",
                )

    def _choice(self, node: Node, known: Names) -> _Said:
        test, yes, no = _trees(node)
        asked = self._boolean(test, known)
        first = self.read(yes, known | asked.if_true)
        second = self.read(no, known | asked.if_false)
        if first.kind != second.kind:
            raise self.wrong(
                node,
                f"one side of `?:` is {_a(first.kind)}, the other {_a(second.kind)}",
                "match them",
            )
        if first.kind == "bool":
            if_so = self.formula(asked, test)
            formula: Formula | None = Either(
                Both(if_so, self.formula(first, yes)), Both(Not(if_so), self.formula(second, no))
            )
        else:
            formula = None
        return _Said(
            first.kind,
            (first.if_true | asked.if_true) & (second.if_true | asked.if_false),
            (first.if_false | asked.if_true) & (second.if_false | asked.if_false),
            max(first.most, second.most),
            formula=formula,
        )

    def _either(self, node: Node, known: Names) -> _Said:
        left, right = _trees(node)
        one = self._boolean(left, known)
        two = self._boolean(right, known | one.if_false)
        formula = Either(self.formula(one, left), self.formula(two, right))
        return _Said(
            "bool", one.if_true & two.if_true, one.if_false | two.if_false, formula=formula
        )

    def _both(self, node: Node, known: Names) -> _Said:
        left, right = _trees(node)
        one = self._boolean(left, known)
        two = self._boolean(right, known | one.if_true)
        formula = Both(self.formula(one, left), self.formula(two, right))
        self._conjunctions.append((node, formula))
        return _Said(
            "bool", one.if_true | two.if_true, one.if_false & two.if_false, formula=formula
        )

    def _boolean(self, node: Node, known: Names) -> _Said:
        said = self.read(node, known)
        if said.kind != "bool":
            raise self.wrong(
                node, f"{_a(said.kind)} stands where true or false is asked", "compare it"
            )
        return said

    def _relation(self, node: Node, known: Names) -> _Said:
        head, right = _trees(node)
        (left,) = _trees(head)
        one = self.read(left, known)
        if head.data == "relation_in":
            items = self._among(right, one.kind, known)
            return _Said("bool", formula=self._found(node, one, items))
        two = self.read(right, known)
        if one.kind != two.kind:
            raise self.wrong(
                node,
                f"{_a(one.kind)} is compared with {_a(two.kind)}, which is never equal",
                _as_kind(one.kind, two.kind),
            )
        if head.data in _ORDERED and one.kind in ("bool", "null"):
            raise self.wrong(node, f"{_a(one.kind)} has no order", "use `==` or `!=`")
        return _Said("bool", formula=self._compared(node, one, _SIGNS[str(head.data)], two))

    def _compared(self, node: Node, one: _Said, sign: Sign, two: _Said) -> Formula:
        if one.value is not None and two.field is not None:
            one, sign, two = two, _TURNED.get(sign, sign), one
        if one.field is None or two.value is None or (one.kind == "string" and sign in _TURNED):
            return Unknown(self._written(node))
        return Compared(one.field, sign, (two.value,), one.kind == "int")

    def _found(self, node: Node, one: _Said, items: Iterable[_Said]) -> Formula:
        values = tuple(item.value for item in items if item.value is not None)
        if one.field is None or len(values) < len(list(items)):
            return Unknown(self._written(node))
        return Compared(one.field, "in", values, one.kind == "int") if values else Constant(False)

    def _among(self, node: Node, kind: Kind, known: Names) -> list[_Said]:
        inner = _inmost(node)
        if inner.data != "list_lit":
            raise self.wrong(node, "`in` is asked of something that is no list", "write `in [..]`")
        items = [item for group in _trees(inner) for item in _trees(group)]
        found = []
        for item in items:
            said = self.read(item, known)
            found.append(said)
            if said.kind != kind:
                raise self.wrong(
                    item,
                    f"{_a(kind)} is looked for among values that are {said.kind}",
                    _as_kind(kind, said.kind),
                )
        return found

    def _arithmetic(self, node: Node, known: Names) -> _Said:
        head, right = _trees(node)
        (left,) = _trees(head)
        one, two = self.read(left, known), self.read(right, known)
        if one.kind != two.kind or one.kind not in ("int", "double"):
            raise self.wrong(
                node, f"arithmetic of {_a(one.kind)} and {_a(two.kind)}", "use numbers of one type"
            )
        return _Said(one.kind, most=self._most(node, str(head.data), one, two, _inmost(right)))

    def _most(self, node: Node, sign: str, one: _Said, two: _Said, divisor: Node) -> float:
        """How large the result can be; CEL would swallow an overflow, or a division by zero."""
        match sign:
            case "addition_add" | "addition_sub":
                most = one.most + two.most
            case "multiplication_mul":
                most = one.most * two.most
            case "multiplication_mod" if one.kind == "double":
                raise self.wrong(node, "`%` is asked of a double", "use whole numbers")
            case _ if divisor.data != "literal" or two.most == 0:
                raise self.wrong(
                    node, "the divisor may be zero", "divide by a number that is written out"
                )
            case _:
                most = one.most / two.most if one.kind == "double" else one.most
        if not most <= _RESULT_MAX[one.kind]:  # nor is NaN
            raise self.wrong(
                node,
                f"the result may be too large for {_a(one.kind)}",
                "use smaller numbers, or declare the fields as doubles",
            )
        return most

    def _unary(self, node: Node, known: Names) -> _Said:
        sign, inner = _trees(node)
        if sign.data == "unary_not":
            said = self._boolean(inner, known)
            formula = Not(self.formula(said, inner))
            return _Said("bool", said.if_false, said.if_true, formula=formula)
        said = self.read(inner, known)
        if said.kind not in ("int", "double"):
            raise self.wrong(node, f"{_a(said.kind)} has no negative", "use a number")
        number = said.value if isinstance(said.value, int | float) else None
        return _Said(said.kind, most=said.most, value=None if number is None else -number)

    def _literal(self, node: Node) -> _Said:
        token = node.children[0]
        assert isinstance(token, Token)
        kinds: dict[str, Kind] = {
            "INT_LIT": "int",
            "FLOAT_LIT": "double",
            "STRING_LIT": "string",
            "MLSTRING_LIT": "string",
            "BOOL_LIT": "bool",
        }
        if token.type not in kinds:
            raise self.wrong(
                node, f"`{token}` is of no type that fields have", "use text, numbers, true, false"
            )
        kind = kinds[token.type]
        return _Said(kind, most=_size(token) if kind in FIELD_MAX else 0, value=_value(token))

    def _field(self, node: Node, known: Names) -> _Said:
        name = _dotted(node)
        label = self._label(node, name)
        if label.optional and name not in known:
            raise self.wrong(node, f"`{name}` may be absent", f"ask first: `has({name}) && ...`")
        self._spans.append((node.meta.start_pos, node.meta.end_pos, _variable(label.name)))
        return _Said(label.type, most=FIELD_MAX.get(label.type, 0), field=name)

    def _label(self, node: Node, name: str | None) -> FieldLabel:
        if name is None:
            raise self.wrong(node, "something other than a field has a member", "name a field")
        label = self._fields.get(name)
        if label is None:
            close = difflib.get_close_matches(name, self._fields, n=1, cutoff=0.6)
            remedy = f"did you mean `{close[0]}`?" if close else "declare it under `fields:`"
            raise self.wrong(node, f"field `{name}` is not declared", remedy)
        if label.category in ("special", "secret") or self._use not in label.uses:
            what = (
                f"it is {label.category}"
                if label.category in ("special", "secret")
                else (f"its uses are {', '.join(label.uses)}")
            )
            raise self.wrong(
                node,
                f"field `{name}` may not be used to {self._use}: {what}",
                f"remove it, or change its label at {label.place or 'its declaration'}",
            )
        self.labels[name] = label
        return label

    def _function(self, node: Node, known: Names) -> _Said:
        name, arguments = str(node.children[0]), _arguments(node)
        if name == "has" and len(arguments) == 1:
            inner = _inmost(arguments[0])
            field = _dotted(inner)
            self._label(inner, field)
            assert field is not None
            asked = f"({_variable(field)} != null)"
            self._spans.append((node.meta.start_pos, node.meta.end_pos, asked))
            return _Said("bool", frozenset((field,)), formula=Has(field))
        raise self.wrong(node, f"`{name}` is no function that is known here", "use `has(field)`")

    def _method(self, node: Node, known: Names) -> _Said:
        subject, name = node.children[0], str(node.children[1])
        arguments = _arguments(node)
        if name not in _TEXT_FUNCTIONS or len(arguments) != 1 or not isinstance(subject, Tree):
            raise self.wrong(
                node,
                f"`{name}` is no function that is known here",
                f"use one of {', '.join(_TEXT_FUNCTIONS)}, with one text",
            )
        self._text(subject, known, name)
        self._text(arguments[0], known, name)
        return _Said("bool", formula=Unknown(self._written(node)))

    def _text(self, node: Node, known: Names, function: str) -> None:
        said = self.read(node, known)
        if said.kind != "string":
            raise self.wrong(node, f"`{function}` is asked of {_a(said.kind)}", "give it a text")


_WORDS: Mapping[str, str] = {
    "member_index": "an index",
    "member_object": "an object",
    "map_lit": "a map",
    "list_lit": "a list on its own",
    "dot_ident": "a leading dot",
    "dot_ident_arg": "a leading dot",
}
_TRANSPARENT = frozenset(
    (
        "expr",
        "conditionalor",
        "conditionaland",
        "relation",
        "addition",
        "multiplication",
        "unary",
        "member",
        "primary",
        "paren_expr",
    )
)


def _inmost(node: Node) -> Node:
    """The part itself, without the grammar's layers around it."""
    while node.data in _TRANSPARENT and len(node.children) == 1:
        (inner,) = node.children
        if not isinstance(inner, Tree):
            break
        node = inner
    return node


def _trees(node: Node) -> list[Node]:
    return [child for child in node.children if isinstance(child, Tree)]


def _arguments(node: Node) -> list[Node]:
    groups = [child for child in _trees(node) if child.data == "exprlist"]
    return _trees(groups[0]) if groups else []


def _dotted(node: Node) -> str | None:
    """The dotted name that a part spells, or None where it is something else."""
    parts: list[str] = []
    while True:
        node = _inmost(node)
        if node.data == "ident":
            parts.append(str(node.children[0]))
            return ".".join(reversed(parts))
        if node.data != "member_dot" or not isinstance(node.children[0], Tree):
            return None
        parts.append(str(node.children[1]))
        node = node.children[0]


def _depth(tree: Node) -> int:
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in _trees(node)]
    return deepest


def _size(number: Token) -> float:
    """The number that a literal writes, without its sign."""
    text = number.lstrip("-").lower()
    if number.type == "FLOAT_LIT":
        return float(text)
    return int(text, 16 if text.startswith("0x") else 10)


def _value(literal: Token) -> Value | None:
    """What a literal writes out; None for a text that takes more than its quotes off to know."""
    match literal.type:
        case "BOOL_LIT":
            return str(literal) == "true"
        case "INT_LIT":
            return int(literal, 16 if "x" in literal.lower() else 10)
        case "FLOAT_LIT":
            return float(literal)
        case "STRING_LIT" if literal[0] in "'\"" and "\\" not in literal:
            return str(literal[1:-1])
        case _:
            return None


def _as_kind(wanted: Kind, given: Kind) -> str:
    if {wanted, given} == {"double", "int"}:
        return "write whole numbers with a point where the field is a double: `20.0`"
    return f"make both {_a(wanted)}"


def merged(conditions: Iterable[Condition]) -> dict[str, FieldLabel]:
    """The fields that several conditions read, to be bound once."""
    return {name: label for condition in conditions for name, label in condition.labels.items()}
