"""One peer's verdicts, in its own environment: reads a count a line, answers seconds a verdict.

    .venv-peers/bin/python benchmarks/peers/verdict.py cedarpy

Each is used as its documentation advises for many decisions under one policy: parsed once, asked
often, with the request's facts handed over for every decision.
"""

from __future__ import annotations

import json
import operator
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from conditions import CONDITIONS, FACTS, literal, nested

Ask = Callable[[], bool]


def plain() -> Ask:
    """Ten comparisons in Python, every one asked."""
    compare = {
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        ">=": operator.ge,
        "in": lambda value, among: value in among,
    }
    rules = [(name, field, compare[sign], value) for name, field, sign, value in CONDITIONS]
    return lambda: all([test(FACTS[field], value) for _, field, test, value in rules])  # noqa: C419 - every one is asked


def cedarpy() -> Ask:
    """Cedar: one permit, and a forbid for each condition that is not true."""
    import cedarpy as cedar

    signs = {"in": "{among}.contains({field})"}
    policies = ["permit(principal, action, resource);"]
    for _, name, sign, value in CONDITIONS:
        field = f"context.{name.replace('.', '_')}"
        # Cedar has no doubles: the amount is in cents.
        shown = literal(int(value * 100) if isinstance(value, float) else value)
        test = signs.get(sign, "{field} {sign} {among}").format(field=field, sign=sign, among=shown)
        policies.append(f"forbid(principal, action, resource) unless {{ {test} }};")
    policy_set = cedar.PolicySet.from_str("\n".join(policies))
    entities = cedar.Entities.from_json_str("[]")
    facts = {
        name.replace(".", "_"): int(value * 100) if isinstance(value, float) else value
        for name, value in FACTS.items()
    }
    request = {
        "principal": 'User::"p"',
        "action": 'Action::"send"',
        "resource": 'Action::"mail"',
        "context": facts,
    }
    return lambda: bool(cedar.is_authorized(request, policy_set, entities).allowed)


def regopy() -> Ask:
    """Open Policy Agent's language as a compiled bundle."""
    from regopy import Input, Interpreter

    lines = ["package guard", "default allow := false", "allow if {"]
    for _, name, sign, value in CONDITIONS:
        among = literal(value) if sign != "in" else f"{{{literal(value)[1:-1]}}}"
        lines.append(f"  input.{name} {sign} {among}")
    lines.append("}")
    rego: Any = Interpreter()
    rego.add_module("guard.rego", "\n".join(lines))
    bundle = rego.build("data.guard.allow")
    facts = nested()

    def ask() -> bool:
        rego.set_input(Input(facts))
        return '"expressions":[true]' in str(rego.query_bundle(bundle)).replace(" ", "")

    return ask


def casbin() -> Ask:
    """Casbin: an attribute model, every policy line a condition over the request."""
    import casbin as pycasbin
    from casbin.model import Model

    model = Model()
    model.load_model_from_text(
        "[request_definition]\nr = facts\n[policy_definition]\np = rule, eft\n"
        "[policy_effect]\ne = !some(where (p.eft == deny))\n"
        "[matchers]\nm = eval(p.rule)\n"
    )
    enforcer = pycasbin.Enforcer(model)
    opposite = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", "in": "not in"}
    for _, name, sign, value in CONDITIONS:
        field = name.replace(".", "_")
        enforcer.add_policy(f"r.facts.{field} {opposite[sign]} {value!r}", "deny")

    class Facts:
        def __init__(self, facts: Mapping[str, Any]) -> None:
            for name, value in facts.items():
                setattr(self, name.replace(".", "_"), value)

    return lambda: bool(enforcer.enforce(Facts(FACTS)))


def agt() -> Ask:
    """The agent-governance toolkit: declarative rules, first match by priority."""
    from agent_os.policies.evaluator import PolicyEvaluator
    from agent_os.policies.schema import (
        PolicyAction,
        PolicyCondition,
        PolicyDocument,
        PolicyOperator,
        PolicyRule,
    )

    opposite = {
        "==": PolicyOperator.NE,
        "!=": PolicyOperator.EQ,
        "<": PolicyOperator.GTE,
        ">=": PolicyOperator.LT,
        "in": PolicyOperator.NOT_IN,
    }
    rules = [
        PolicyRule(
            name=name,
            condition=PolicyCondition(
                field=field.replace(".", "_"),
                operator=opposite[sign],
                value=list(value) if isinstance(value, tuple) else value,
            ),
            action=PolicyAction.DENY,
        )
        for name, field, sign, value in CONDITIONS
    ]
    evaluator = PolicyEvaluator([PolicyDocument(name="guard", rules=rules)])
    facts = {name.replace(".", "_"): value for name, value in FACTS.items()}
    return lambda: evaluator.evaluate(facts).allowed


PEERS: dict[str, tuple[Callable[[], Ask], str | None]] = {
    "plain Python": (plain, None),
    "cedarpy": (cedarpy, "cedarpy"),
    "regopy bundle": (regopy, "regopy"),
    "casbin": (casbin, "casbin"),
    "agent-governance toolkit": (agt, "agent-os-kernel"),
}


def main(name: str) -> None:
    """Prove that it decides as asked, then time as many verdicts as each line says."""
    make, distribution = PEERS[name]
    ask = make()
    assert ask(), f"{name} refuses a customer for whom every condition is true"
    kept, FACTS["signal.open_cases"] = FACTS["signal.open_cases"], 1
    refused = not make()()
    FACTS["signal.open_cases"] = kept
    assert refused, f"{name} permits a customer with an open case"
    print(json.dumps({"version": version(distribution) if distribution else ""}), flush=True)
    for line in sys.stdin:
        count = int(line)
        began = time.perf_counter()
        for _ in range(count):
            ask()
        print(json.dumps((time.perf_counter() - began) / count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
