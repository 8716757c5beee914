"""The command line: what each command is called and takes; the work is done elsewhere.

Only what a command needs is imported, where it is needed, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from domain.errors import ConfigurationError, LedgerBroken, SafeconductError
from service.offers import offers
from service.options import At, Audience, By, Json, Reason, Store, Workspace, print_lines
from service.options import who as who_by
from service.terminal import shown

app = typer.Typer(
    name="safeconduct",
    help="One customer event in, one explained decision out. Nothing reaches a customer without "
    "a permit.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
approvals = typer.Typer(help="See and decide what waits for a person.", no_args_is_help=True)
ledger = typer.Typer(help="Check the record.", no_args_is_help=True)
events = typer.Typer(help="See and retry what could not be read.", no_args_is_help=True)
profile = typer.Typer(help="See who somebody is.", no_args_is_help=True)
consent = typer.Typer(help="See what a customer allows.", no_args_is_help=True)
policies = typer.Typer(
    help="Try policies out, look them through, ask them why.", no_args_is_help=True
)
journeys = typer.Typer(help="See, check and draw journeys.", no_args_is_help=True)
suppressions = typer.Typer(help="See, add and lift what is blocked.", no_args_is_help=True)
kill = typer.Typer(help="Stop a channel, tool, journey, team, or all.", no_args_is_help=True)
for name, group in (
    ("approvals", approvals),
    ("ledger", ledger),
    ("events", events),
    ("profile", profile),
    ("consent", consent),
    ("policies", policies),
    ("journeys", journeys),
    ("suppressions", suppressions),
    ("kill", kill),
    ("offers", offers),
):
    app.add_typer(group, name=name, rich_help_panel=None)


@app.command()
def run(
    files: Annotated[
        list[str], typer.Argument(metavar="EVENTS...", help="Files of events; `-` reads stdin.")
    ],
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on dead letters.")] = False,
    reorder: Annotated[
        str, typer.Option("--reorder", help="How late a row may come, such as 5m.")
    ] = "0s",
    at: At = None,
) -> int:
    """Decide about every event of some files: one line each."""
    from service.desk import run_files

    return run_files(
        files, workspace, store, as_json=as_json, strict=strict, reorder=reorder, at=at
    )


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder to make.")],
) -> int:
    """Write a workspace that runs at once."""
    from service.settings import make_workspace

    for line in make_workspace(folder):
        print(line)
    return 0


@app.command()
def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to keep it. [default: nowhere]")
    ] = None,
) -> int:
    """Run the sample journeys: decisions, an explanation, an approval, the ledger."""
    from service.demo import show

    return show(folder)


@app.command()
def explain(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="A decision's id.")],
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    audience: Audience = "auditor",
    grid: Annotated[
        bool, typer.Option("--grid", help="Only which stage and rule stopped each candidate.")
    ] = False,
) -> int:
    """Say why: candidates, scores, every rule asked with what it read, and the outcome."""
    if grid:
        from service.funnels import grid_of

        return print_lines(grid_of(workspace, store, decision, audience, as_json=as_json))
    from service.reports import explanation

    return print_lines(explanation(workspace, store, decision, audience, as_json=as_json))


Since = Annotated[
    str | None,
    typer.Option("--since", help="Decisions from this instant or day on. [default: all]"),
]
OfJourney = Annotated[
    str | None,
    typer.Option("--journey", help="What was considered for one journey. [default: all]"),
]


@app.command()
def funnel(
    workspace: Workspace = None,
    store: Store = None,
    since: Since = None,
    journey: OfJourney = None,
    as_json: Json = False,
) -> int:
    """Show how many candidates each stage let through, and which rules stopped the most."""
    from service.funnels import funnel_lines

    return print_lines(funnel_lines(workspace, store, since, journey, as_json=as_json))


@app.command()
def arbitration(
    workspace: Workspace = None,
    store: Store = None,
    since: Since = None,
    journey: OfJourney = None,
    as_json: Json = False,
) -> int:
    """Show which actions win over which, and how often that hangs on a single factor."""
    from service.funnels import arbitration_lines

    return print_lines(arbitration_lines(workspace, store, since, journey, as_json=as_json))


@app.command()
def decisions(
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", help="Only this person's (an id, or ns:value), merged ones included."
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many.")] = 50,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """List the newest decisions."""
    from service.reports import decision_lines

    return print_lines(decision_lines(workspace, store, profile, limit, as_json=as_json))


Journey = Annotated[
    str | None, typer.Option("--journey", help="Only this journey. [default: all of them]")
]


@app.command()
def learn(
    journey: Journey = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Leave out what was decided before this instant.")
    ] = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Learn from the record what works: a new version of each journey's model."""
    from service.learning import learnt

    return print_lines(learnt(workspace, store, journey, since, at, as_json=as_json))


@app.command()
def outcomes(
    journey: Journey = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Say what came of each journey, by arm, and its uplift against the holdout."""
    from service.learning import came_of_it

    return print_lines(came_of_it(workspace, store, journey, at, as_json=as_json))


@approvals.command("list")
def approvals_list(
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """List what waits for a person."""
    from service.reports import approval_lines

    return print_lines(approval_lines(workspace, store, at, everything=everything, as_json=as_json))


@approvals.command("approve")
def approvals_approve(
    approval: Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval's id.")],
    by: By = None,
    reason: Reason = "",
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Say yes: the guard is asked anew, and what it permits is done."""
    from service.desk import decide_approval

    return decide_approval(
        workspace, store, approval, "approve", who_by(by), reason, at, as_json=as_json
    )


@approvals.command("reject")
def approvals_reject(
    approval: Annotated[str, typer.Argument(metavar="APPROVAL", help="An approval's id.")],
    by: By = None,
    reason: Reason = "",
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Say no: nothing is done, and what was reserved is given back."""
    from service.desk import decide_approval

    return decide_approval(
        workspace, store, approval, "reject", who_by(by), reason, at, as_json=as_json
    )


@ledger.command("verify")
def ledger_verify(workspace: Workspace = None, store: Store = None, as_json: Json = False) -> int:
    """Check every row against its chain; exit with 1 at the first broken one."""
    from service.reports import verification

    return print_lines(verification(workspace, store, as_json=as_json))


@ledger.command("prune")
def ledger_prune(
    workspace: Workspace = None, store: Store = None, as_json: Json = False, at: At = None
) -> int:
    """Let go of decisions whose date has come; a signed tombstone stands for them."""
    from service.rights import prune_record

    return print_lines(prune_record(workspace, store, at, as_json=as_json))


@ledger.command("recompute")
def ledger_recompute(
    workspace: Workspace = None, store: Store = None, as_json: Json = False
) -> int:
    """Decide every recorded decision again; exit with 1 where one comes out otherwise."""
    from service.reports import recomputation

    return print_lines(recomputation(workspace, store, as_json=as_json))


@events.command("dead")
def events_dead(
    everything: Annotated[bool, typer.Option("--all", help="Retried ones too.")] = False,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """List what could not be read, and why."""
    from service.reports import dead_lines

    return print_lines(dead_lines(workspace, store, everything=everything, as_json=as_json))


@events.command("retry")
def events_retry(
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[LETTER...]", help="Their ids. [default: all]")
    ] = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Read dead letters again, after the workspace or the program was mended."""
    from service.desk import retry_letters

    return retry_letters(workspace, store, letters or [], at, as_json=as_json)


Scope = Annotated[
    str, typer.Argument(metavar="SCOPE", help="all, channel:C, tool:T, journey:J or team:T.")
]


Who = Annotated[
    str,
    typer.Argument(metavar="WHO", help="A profile's id, or ns:value such as email:a@x.example."),
]


@profile.command("show")
def profile_show(
    who: Who,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Show a person's identifiers and where each came from, traits and consents."""
    from service.portraits import portrait

    return print_lines(portrait(workspace, store, who, as_json=as_json))


Another = Annotated[str, typer.Argument(metavar="OTHER", help="The other one, in the same ways.")]


@profile.command("merge-preview")
def profile_merge_preview(
    who: Who,
    other: Another,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Show what it would be for two people to be one; nothing changes."""
    from service.mergers import merge_preview

    return print_lines(merge_preview(workspace, store, who, other, at, as_json=as_json))


@profile.command("merge")
def profile_merge(
    who: Who,
    other: Another,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Rule that two people are one, whatever their identifiers say."""
    from service.mergers import rule

    said = {"by": who_by(by), "reason": reason}
    return print_lines(
        rule(workspace, store, who, other, at, together=True, **said, as_json=as_json)
    )


@profile.command("unmerge")
def profile_unmerge(
    who: Who,
    other: Another,
    preview: Annotated[bool, typer.Option("--preview", help="Show it; change nothing.")] = False,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Rule that two fragments of one person are two people, and share out what was said."""
    from service.mergers import rule, unmerge_preview

    if preview:
        return print_lines(unmerge_preview(workspace, store, who, other, at, as_json=as_json))
    said = {"by": who_by(by), "reason": reason}
    return print_lines(
        rule(workspace, store, who, other, at, together=False, **said, as_json=as_json)
    )


Received = Annotated[
    str | None, typer.Option("--received", help="When it came in: the clock. [default: now]")
]
Turn = Annotated[Literal["on", "off"], typer.Argument(help="on or off.")]


@profile.command("export")
def profile_export(
    who: Who,
    audience: Audience = "customer",
    reason: Reason = "",
    by: By = None,
    received: Annotated[
        str | None,
        typer.Option("--received", help="When the person asked; with it a receipt is kept."),
    ] = None,
    workspace: Workspace = None,
    store: Store = None,
    at: At = None,
) -> int:
    """Print everything held on a person, as one JSON document."""
    from service.rights import Asked, export

    asked = Asked(who_by(by), reason, received, at)
    return print_lines(export(workspace, store, who, audience, asked))


@profile.command("erase")
def profile_erase(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing changes.")] = False,
    reason: Reason = "",
    by: By = None,
    received: Received = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Erase a person: what goes, what is kept, why and until when."""
    from service.rights import Asked, erase

    asked = Asked(who_by(by), reason, received, at)
    return print_lines(erase(workspace, store, who, asked, yes=yes, as_json=as_json))


@profile.command("object")
def profile_object(
    who: Who,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="To this purpose. [default: to all of them]")
    ] = None,
    reason: Reason = "",
    by: By = None,
    received: Received = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Keep a person's objection: it holds at every address, present and future."""
    from service.rights import Asked, object_

    asked = Asked(who_by(by), reason, received, at)
    return print_lines(object_(workspace, store, who, purpose, asked, as_json=as_json))


@profile.command("restrict")
def profile_restrict(
    who: Who,
    turn: Turn,
    reason: Reason = "",
    by: By = None,
    received: Received = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Keep a person's data and use them for nothing but what must be done; or use them again."""
    from service.rights import Asked, restrict

    asked = Asked(who_by(by), reason, received, at)
    return print_lines(restrict(workspace, store, who, turn, asked, as_json=as_json))


@profile.command("rectify")
def profile_rectify(
    who: Who,
    traits: Annotated[
        list[str], typer.Argument(metavar="TRAIT=VALUE...", help="What is right, as of now.")
    ],
    reason: Reason = "",
    by: By = None,
    received: Received = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Put a person's traits right."""
    from service.rights import Asked, rectify

    asked = Asked(who_by(by), reason, received, at)
    return print_lines(rectify(workspace, store, who, traits, asked, as_json=as_json))


@profile.command("hold")
def profile_hold(
    who: Who,
    turn: Turn,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Keep a person's data from being erased (a legal hold), or no longer."""
    from service.rights import Asked, hold

    asked = Asked(who_by(by), reason, None, at)
    return print_lines(hold(workspace, store, who, turn, asked, as_json=as_json))


@profile.command("prune")
def profile_prune(
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Destroy what was kept of erased people until a date that has come."""
    from service.rights import prune

    return print_lines(prune(workspace, store, at, as_json=as_json))


@profile.command("requests")
def profile_requests(
    only_open: Annotated[bool, typer.Option("--open", help="Only what is not done.")] = False,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """List what people asked about their data, what came of it, and when it is due."""
    from service.rights import listed

    return print_lines(listed(workspace, store, only_open=only_open, as_json=as_json))


@profile.command("proposals")
def profile_proposals(
    who: Annotated[
        str | None,
        typer.Argument(metavar="[WHO]", help="Only pairs with this person. [default: everybody]"),
    ] = None,
    min_probability: Annotated[
        float, typer.Option("--min-probability", min=0.0, max=1.0, help="Tell no less likely pair.")
    ] = 0.5,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Show who may be one person with whom, and what speaks for it; nothing is merged."""
    from service.proposals import proposed

    return print_lines(proposed(workspace, store, who, min_probability, as_json=as_json))


@consent.command("show")
def consent_show(
    who: Who,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Show what the ledger answers now, by brand, channel, purpose and address, and why."""
    from service.portraits import consent_answers

    return print_lines(consent_answers(workspace, store, who, at, as_json=as_json))


@consent.command("unsubscribe")
def consent_unsubscribe(
    token: Annotated[str, typer.Argument(help="The token in a message's `List-Unsubscribe`.")],
    get: Annotated[
        bool, typer.Option("--get", help="Only show what it is about, as a visited page would.")
    ] = False,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Answer a one-click unsubscribe: nothing more of that kind goes to that address."""
    from service.subscriptions import Method, unsubscribe

    method: Method = "GET" if get else "POST"
    return print_lines(unsubscribe(workspace, store, token, method, at, as_json=as_json))


Source = Annotated[str, typer.Option("--source", help="Whose list it is; kept with every line.")]


@consent.command("set")
def consent_set(
    who: Who,
    grant: Annotated[bool, typer.Option("--grant", help="They agreed.")] = False,
    deny: Annotated[bool, typer.Option("--deny", help="They said no, or took a yes back.")] = False,
    objects: Annotated[
        bool, typer.Option("--object", help="They object: at every address and on every channel.")
    ] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Asked; not confirmed yet.")] = False,
    channel: Annotated[
        str | None, typer.Option("--channel", help="On this channel. [default: a no: on all]")
    ] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="To this purpose. [default: a no: to all]")
    ] = None,
    topic: Annotated[str | None, typer.Option("--topic", help="Only this topic.")] = None,
    brand: Annotated[
        str | None, typer.Option("--brand", help="Of this brand. [default: the workspace's]")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="At this address. [default: a yes: the newest; a no: all]"),
    ] = None,
    wording: Annotated[str | None, typer.Option("--wording", help="The words agreed to.")] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", help="When a yes ends, as RFC 3339.")
    ] = None,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Write down what a person said, and show what the ledger answers then."""
    from service.consents import Scope, chosen, set_consent

    value = chosen(grant=grant, deny=deny, objects=objects, pending=pending)
    scope = Scope(channel, purpose, topic, brand, address)
    evidence = {
        "wording": wording,
        "expires_at": expires_at,
        "reason": reason or None,
        "by": who_by(by),
    }
    return print_lines(
        set_consent(workspace, store, who, value, scope, evidence, at, as_json=as_json)
    )


@consent.command("import")
def consent_import(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="CSV with a header, JSON lines or an array; `-` reads stdin."
        ),
    ],
    source: Source = "import",
    by: Annotated[
        str | None, typer.Option("--by", help="Who imports it; kept with every line.")
    ] = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on dead letters.")] = False,
    at: At = None,
) -> int:
    """Write lists of consents into the ledger; a yes in them never undoes a no."""
    from service.consents import import_lists

    summary, code = import_lists(
        files, workspace, store, source=source, by=by, at=at, as_json=as_json, strict=strict
    )
    print_lines(summary)
    return code


@consent.command("export")
def consent_export(
    who: Annotated[
        str | None,
        typer.Argument(metavar="[WHO]", help="Only this person's records. [default: everybody's]"),
    ] = None,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="A record a line, instead of one array.")
    ] = False,
    workspace: Workspace = None,
    store: Store = None,
) -> int:
    """Print the ledger as consent records after ISO/IEC TS 27560."""
    from service.consent_records import exported

    return print_lines(exported(workspace, store, who, json_lines=json_lines))


@policies.command("test")
def policies_test(workspace: Workspace = None, as_json: Json = False) -> int:
    """Judge the cases beside the policies; exit with 1 where one comes out otherwise."""
    from service.policy_files import test_lines

    lines, code = test_lines(workspace, as_json=as_json)
    print_lines(lines)
    return code


@policies.command("check")
def policies_check(workspace: Workspace = None, as_json: Json = False) -> int:
    """Look for what the policies say in vain; exit with 1 where there is something."""
    from service.policy_files import check_lines

    lines, code = check_lines(workspace, as_json=as_json)
    print_lines(lines)
    return code


@policies.command("explain")
def policies_explain(
    profile: Annotated[
        str, typer.Option("--profile", help="A profile's id, or ns:value such as email:a@x.example")
    ],
    action: Annotated[str, typer.Option("--action", help="An action of `actions.yaml`.")],
    journey: Annotated[
        str | None, typer.Option("--journey", help="As part of this one. [default: its only one]")
    ] = None,
    properties: Annotated[
        list[str] | None,
        typer.Option("--property", help="NAME=VALUE of the event that would bring it up."),
    ] = None,
    audience: Audience = "auditor",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Say why an action is possible for somebody, or why not, and when; nothing is done."""
    from service.questions import Asked, answered

    asked = Asked(profile, action, journey, properties or [], audience, who_by(by), at)
    return print_lines(answered(workspace, store, asked, as_json=as_json))


@journeys.command("list")
def journeys_list(
    workspace: Workspace = None, store: Store = None, as_json: Json = False, at: At = None
) -> int:
    """List who is on each journey, who owns it, and by when it is to be reviewed."""
    from service.journeys import list_lines

    return print_lines(list_lines(workspace, store, at, as_json=as_json))


@journeys.command("show")
def journeys_show(
    journey: Annotated[str, typer.Argument(metavar="JOURNEY", help="A file of `journeys/`.")],
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Say what a journey's file means, and how many customers are on it."""
    from service.journeys import show_lines

    return print_lines(show_lines(workspace, store, journey, at, as_json=as_json))


@journeys.command("check")
def journeys_check(workspace: Workspace = None, as_json: Json = False, at: At = None) -> int:
    """Look for what the journeys say in vain; exit with 1 where there is something."""
    from service.journeys import check_lines

    lines, code = check_lines(workspace, at, as_json=as_json)
    print_lines(lines)
    return code


@journeys.command("draw")
def journeys_draw(
    named: Annotated[
        list[str] | None, typer.Argument(metavar="[JOURNEY...]", help="Which. [default: all]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="A file to write. [default: print it]")
    ] = None,
    workspace: Workspace = None,
) -> int:
    """Draw what begins journeys, what they may do and how they end, as SVG."""
    from service.journeys import draw_lines

    return print_lines(draw_lines(workspace, named or [], output))


@suppressions.command("list")
def suppressions_list(
    who: Annotated[
        str | None,
        typer.Argument(metavar="[WHO]", help="Only what blocks this person. [default: everybody]"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ended and lifted ones too.")] = False,
    audience: Audience = "auditor",
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """List what is blocked, for whom, since when and why."""
    from service.suppressions import listed

    return print_lines(
        listed(workspace, store, who, audience, at, everything=everything, as_json=as_json)
    )


@suppressions.command("add")
def suppressions_add(
    who: Who,
    target: Annotated[
        Literal["person", "address", "domain"], typer.Option("--target", help="What to block.")
    ] = "person",
    address: Annotated[
        str | None, typer.Option("--address", help="The address, or one of the domain.")
    ] = None,
    brand: Annotated[
        str | None, typer.Option("--brand", help="For this brand. [default: for all]")
    ] = None,
    channels: Annotated[
        list[str] | None, typer.Option("--channel", help="On this channel. [default: on all]")
    ] = None,
    blocks: Annotated[
        Literal["marketing", "offers_and_marketing", "all_but_mandatory", "all"],
        typer.Option("--blocks", help="What is blocked."),
    ] = "marketing",
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", help="When it ends, as RFC 3339.")
    ] = None,
    shown_to: Annotated[
        list[str] | None, typer.Option("--shown-to", help="Who may know of it. [default: all]")
    ] = None,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Block a person, an address or a domain, whatever was consented to."""
    from service.suppressions import Wanted, add

    wanted = Wanted(
        target,
        address,
        brand,
        channels or (),
        blocks,
        reason,
        expires_at,
        shown_to or (),
        who_by(by),
    )
    return print_lines(add(workspace, store, who, wanted, at, as_json=as_json))


@suppressions.command("lift")
def suppressions_lift(
    suppression: Annotated[str, typer.Argument(metavar="SUPPRESSION", help="Its id.")],
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """End a suppression, where an operator may: not a spam complaint, nor an erasure's."""
    from service.suppressions import lift

    return print_lines(lift(workspace, store, suppression, who_by(by), reason, at, as_json=as_json))


@kill.command("on")
def kill_on(
    scope: Scope,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    at: At = None,
) -> int:
    """Stop a scope from the next dispatch on; without --by, whoever is logged in may."""
    from service.desk import stop

    return stop(workspace, store, scope, reason, who_by(by), at, operator=who_by(None))


@kill.command("off")
def kill_off(
    scope: Scope,
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Let a scope go on, once a second person has asked for it; what it held is asked again."""
    from service.desk import restart

    return restart(workspace, store, scope, reason, who_by(by), at, as_json=as_json)


@kill.command("list")
def kill_list(
    scope: Annotated[
        str | None, typer.Argument(metavar="[SCOPE]", help="Only this one. [default: all]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Past ones too.")] = False,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """List what is stopped."""
    from service.reports import switch_lines

    return print_lines(
        switch_lines(workspace, store, scope, everything=everything, as_json=as_json)
    )


PACKAGES = ("agents", "domain", "evals", "policies", "profiles", "store", "tools", "traces")


def check_packages() -> None:
    """Refuse to run with somebody else's `agents` or `tools` on the path instead of our own."""
    home = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        where = Path(found.origin).resolve().parent.parent if found and found.origin else None
        if where != home:
            raise ConfigurationError(
                f"the package `{package}` is not this program's own",
                place=str(where or package),
                remedy="install safeconduct in an environment of its own: `make setup`",
            )


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0; 2 for usage or configuration; 1 for dead letters or a broken ledger."""
    try:
        check_packages()
        code = app(args=arguments, prog_name="safeconduct", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        print(
            "safeconduct: interrupted; what had begun is settled at the next start", file=sys.stderr
        )
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SafeconductError as error:
        print(shown(f"safeconduct: {error}"), file=sys.stderr)
        return 1 if isinstance(error, LedgerBroken) else 2
    except Exception as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()  # the command's words are off: typer says where
        return int(getattr(error, "exit_code", 2))


def console() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    console()
