"""`keystead plans`: a file defines the plans; every error in it is reported with its place."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from keystead.cli.outcome import Exit
from keystead.domain.plan_changes import changes, loosens
from keystead.domain.plans import DEFAULT_PLANS, Limits, Plan
from keystead.domain.policies import Policy
from keystead.domain.rate_limits import RateLimits
from tests.cli.conftest import Keystead, one_engine
from tests.support.terminal import at_terminal

FILE = """
[[plans]]
id = "free"
name = "Free"
[plans.limits]
api_keys = 7
collections = 3
documents = 1000
webhooks = 1
members = 3

[[plans]]
id = "pro"
name = "Pro"
"""


def test_a_file_is_read_in_its_order(keystead: Keystead, tmp_path: Path) -> None:
    """From small to large in the file's order; an omitted limit is unlimited."""
    file = tmp_path / "plans.toml"
    file.write_text(FILE)
    free, pro = keystead("plans", "apply", str(file), "--dry-run", "--json").json["items"]
    assert (free["id"], list(free["limits"].values())) == ("free", [7, 3, 1000, 1, 3])
    assert (pro["name"], set(pro["limits"].values())) == ("Pro", {None})


NAMED = '[[plans]]\nid = "a"\nname = "X"\n'


@one_engine
@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[[plans]]", ["Plan 1 id", "Plan 1 name"]),
        ('[[plans]]\nid = "A b"\nname = "X"', ["Plan 1 id"]),
        ('[[plans]]\nid = "a"\nname = ""', ["Plan 1 name"]),
        (f"{NAMED}price = 5", ["Plan 1 price"]),
        (f"{NAMED}limits = 5", ["Plan 1 limits"]),
        (f"{NAMED}limits.keys = 5", ["Plan 1 limits keys"]),
        (f"{NAMED}limits.api_keys = -1", ["Plan 1 limits api keys"]),
        (f"{NAMED}limits.api_keys = true", ["Plan 1 limits api keys"]),
        (f"{NAMED}limits.members = 1.5", ["Plan 1 limits members"]),
        (f"{NAMED}rate_limits.key_per_minute = 0", ["Plan 1 rate limits key per minute"]),
        (f"{NAMED}policy = {{end_unused_days = 29}}", ["Plan 1 policy end unused days"]),
        (NAMED * 2, ["each id once"]),
    ],
)
def test_every_fault_is_reported_with_its_place(
    keystead: Keystead, tmp_path: Path, text: str, faults: list[str]
) -> None:
    """Invalid values are all refused together, each with its place, and nothing is saved."""
    file = tmp_path / "plans.toml"
    file.write_text(text)
    before = keystead("plans", "list", "--json").json
    refused = keystead("plans", "apply", str(file), "--yes")
    assert (refused.code, refused.out) == (Exit.REFUSED, "")
    assert [fault for fault in faults if fault not in refused.err] == []
    assert keystead("plans", "list", "--json").json == before


@one_engine
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[[plans]]"),
        ("plans = 3", "[[plans]]"),
        ("plans = [3]", "[[plans]]"),
        (f"version = 1\n{NAMED}", "nothing else"),
        ("[[plans]]\nid = free", "line 2"),
    ],
)
def test_a_file_of_something_else_is_wrong_usage(
    keystead: Keystead, tmp_path: Path, text: str, said: str
) -> None:
    """What is not a list of plans, or no TOML, is not sent."""
    file = tmp_path / "plans.toml"
    file.write_text(text)
    refused = keystead("plans", "apply", str(file))
    assert refused.code == Exit.USAGE
    assert said in refused.err


def test_changes_are_listed_one_by_one() -> None:
    """New, changed, removed and reordered plans are a line each; unchanged plans have no line."""
    assert changes(DEFAULT_PLANS, DEFAULT_PLANS) == []
    free, team, scale = DEFAULT_PLANS
    raised = Plan("free", "Free", Limits(7, 3, 1_000, 1, 3))
    lines = changes(DEFAULT_PLANS, [raised, scale, Plan("pro", "Pro", Limits(api_keys=9))])
    assert lines[:2] == ["- team: removed", "~ free: api_keys 5 -> 7"]
    assert lines[2].startswith("+ pro: Pro, api_keys 9, collections unlimited")
    (line,) = changes(DEFAULT_PLANS, [team, free, scale])
    assert line == "~ order: team, free, scale"


def test_plans_are_applied_whole(keystead: Keystead, tmp_path: Path) -> None:
    """Afterwards the plans are those of the file; a dry run prints the same and writes nothing."""
    file = tmp_path / "plans.toml"
    file.write_text(FILE)
    before = keystead("plans", "list", "--json").json["items"]
    rehearsed = keystead("plans", "apply", str(file), "--dry-run")
    assert rehearsed.code == Exit.DONE
    assert keystead("plans", "list", "--json").json["items"] == before
    applied = keystead("plans", "apply", str(file), "--yes")
    assert applied.out == rehearsed.out
    assert "~ free: api_keys 5 -> 7" in applied.out.splitlines()
    after = keystead("plans", "list", "--json").json["items"]
    assert [plan["id"] for plan in after] == ["free", "pro"]
    assert after[0]["limits"]["api_keys"] == 7
    assert after[1]["limits"]["api_keys"] is None
    assert "unlimited" in keystead("plans", "list").out
    assert "Rate limits" not in applied.err
    again = keystead("plans", "apply", str(file), "--json").json
    assert again["changes"] == []


def test_rate_limits_are_of_the_plan(keystead: Keystead, tmp_path: Path) -> None:
    """Rate limits in a file are applied, stored and shown; without any, no column or note mentions them."""
    file = tmp_path / "plans.toml"
    assert "PER MINUTE" not in keystead("plans", "list").out
    file.write_text(f"{FILE}[plans.rate_limits]\nkey_per_minute = 600\n")
    applied = keystead("plans", "apply", str(file), "--yes")
    assert "key_per_minute 600" in applied.out
    assert "Rate limits are off" in applied.err
    (free, pro) = keystead("plans", "list", "--json").json["items"]
    assert free["rate_limits"] == {"workspace_per_minute": None, "key_per_minute": None}
    assert pro["rate_limits"] == {"workspace_per_minute": None, "key_per_minute": 600}
    shown = keystead("plans", "list").out
    assert "KEY PER MINUTE" in shown
    assert "WORKSPACE PER MINUTE" not in shown
    file.write_text(FILE)
    assert (
        keystead("plans", "apply", str(file), "--yes").out
        == "~ pro: key_per_minute 600 -> unlimited\n"
    )


def test_a_policy_is_of_the_plan(keystead: Keystead, tmp_path: Path) -> None:
    """A policy in a file is applied, stored and shown in the differences; left out, it says nothing again."""
    file = tmp_path / "plans.toml"
    file.write_text(f"{FILE}[plans.policy]\nmax_lifetime_days = 90\nrenewal_allowed = false\n")
    applied = keystead("plans", "apply", str(file), "--yes")
    assert "max_lifetime_days 90, renewal_allowed false" in applied.out
    (free, pro) = keystead("plans", "list", "--json").json["items"]
    assert set(free["policy"].values()) == {None}
    assert (pro["policy"]["max_lifetime_days"], pro["policy"]["renewal_allowed"]) == (90, False)
    file.write_text(FILE)
    assert keystead("plans", "apply", str(file)).code == Exit.USAGE
    assert (
        keystead("plans", "apply", str(file), "--yes").out
        == "~ pro: max_lifetime_days 90 -> unset, renewal_allowed false -> unset\n"
    )


def test_a_plan_in_use_does_not_go(keystead: Keystead, tmp_path: Path) -> None:
    """A file without a plan that is in use is refused with the plan's name, and nothing changes."""
    file = tmp_path / "plans.toml"
    file.write_text(FILE.replace('"free"', '"basic"'))
    before = keystead("plans", "list", "--json").out
    refused = keystead("plans", "apply", str(file), "--yes")
    assert refused.code == Exit.REFUSED
    assert "free" in refused.err
    assert keystead("plans", "list", "--json").out == before


FREE, TEAM, SCALE = DEFAULT_PLANS
BOUND = replace(FREE, policy=Policy(90))
RATED = replace(FREE, rate_limits=RateLimits(key_per_minute=60))
LOOSE: dict[str, tuple[list[Plan], list[Plan]]] = {
    "a plan goes": ([FREE, TEAM], [FREE]),
    "a limit is raised": ([FREE], [replace(FREE, limits=replace(FREE.limits, members=4))]),
    "a limit is left out": ([FREE], [replace(FREE, limits=replace(FREE.limits, members=None))]),
    "a rate is raised": ([RATED], [replace(FREE, rate_limits=RateLimits(key_per_minute=61))]),
    "a rate is left out": ([RATED], [FREE]),
    "a policy is left out": ([BOUND], [FREE]),
    "keys may live longer": ([BOUND], [replace(FREE, policy=Policy(91))]),
    "keys may renew again": ([replace(FREE, policy=Policy(renewal_allowed=False))], [BOUND]),
}
TIGHT: dict[str, tuple[list[Plan], list[Plan]]] = {
    "nothing changes": ([*DEFAULT_PLANS], [*DEFAULT_PLANS]),
    "a plan is new": ([FREE], [FREE, SCALE]),
    "a limit is lowered": ([FREE], [replace(FREE, limits=replace(FREE.limits, members=0))]),
    "a limit is new": ([SCALE], [replace(SCALE, limits=FREE.limits)]),
    "a rate is new": ([FREE], [RATED]),
    "a policy is new": ([FREE], [BOUND]),
    "a policy is stricter": ([BOUND], [replace(FREE, policy=Policy(89, default_lifetime_days=7))]),
    "what a maximum implies is said": ([BOUND], [replace(FREE, policy=Policy(90, True))]),
    "a name and the order change": ([FREE, TEAM], [TEAM, replace(FREE, name="Trial")]),
}


@pytest.mark.parametrize("case", [*LOOSE, *TIGHT])
def test_what_loosens_is_known(case: str) -> None:
    """A removed plan, and a limit that is raised or removed; no other change allows more than before."""
    assert loosens(*(LOOSE | TIGHT)[case]) is (case in LOOSE)


def test_limits_are_loosened_only_on_demand(keystead: Keystead, tmp_path: Path) -> None:
    """Without the option no plan is written: exit code and message name it. Tightening doesn't need it."""
    file = tmp_path / "plans.toml"
    file.write_text(FILE)
    before = keystead("plans", "list", "--json").out
    refused = keystead("plans", "apply", str(file), "--json")
    assert refused.code == Exit.USAGE
    problem = json.loads(refused.err)
    assert problem["code"] == "would-loosen"
    assert {"- scale: removed", "~ free: api_keys 5 -> 7"} <= set(problem["changes"])
    assert "--yes" in keystead("plans", "apply", str(file)).err
    assert keystead("plans", "list", "--json").out == before
    assert keystead("plans", "apply", str(file), "--yes").code == Exit.DONE
    file.write_text(FILE.replace("api_keys = 7", "api_keys = 2"))
    assert keystead("plans", "apply", str(file)).out == "~ free: api_keys 7 -> 2\n"


@one_engine
def test_a_person_is_asked_before_limits_are_loosened(keystead: Keystead, tmp_path: Path) -> None:
    """At a terminal the changes are shown, and only yes applies them."""
    file = tmp_path / "plans.toml"
    file.write_text(FILE)
    for typed, code in (("n\n", Exit.REFUSED), ("y\n", Exit.DONE)):
        ended, shown = at_terminal(os.environ, typed, "plans", "apply", str(file), after="[y/N]")
        assert ended == code
        assert "~ free: api_keys 5 -> 7" in shown.partition("[y/N]")[0]


def test_an_unreadable_file_is_reported(run: Keystead, tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, endless: one line, wrong usage, before any database is opened."""
    (tmp_path / "latin").write_bytes(b"# caf\xe9")
    (tmp_path / "large").write_bytes(b"#" * (1024 * 1024 + 1))
    for name in ("missing", ".", "latin", "large"):
        refused = run("plans", "apply", str(tmp_path / name))
        assert refused.code == Exit.USAGE, name
        assert refused.err.count("\n") == 1
