"""Key limits: the number of active keys is part of the plan, and keys that end make room."""

from __future__ import annotations

from tests.support.postgres import wait_until
from tests.support.product import Customer, Key, Product, next_second, written


def full(product: Product) -> tuple[Customer, list[Key]]:
    """Create a customer on the plan Free with all five keys; the first one created the others."""
    customer = product.customer("free")
    return customer, [customer.create(f"key {number}") for number in range(2, 6)]


def refusal(customer: Customer) -> dict[str, object]:
    """Return the refusal of one key too many."""
    problem: dict[str, object] = customer.request_json(
        "POST", "/v1/keys", {"description": "one too many"}, status=409
    )
    return problem


def test_the_sixth_key_is_refused_with_the_ones_i_could_do_without(product: Product) -> None:
    """The refusal names the plan, its limit and its use, and the keys, never used ones first."""
    customer, keys = full(product)
    problem = refusal(customer)
    assert problem["code"] == "limit-reached"
    assert (problem["plan"], problem["limit"], problem["used"]) == ("Free", 5, 5)
    candidates = problem["candidates"]
    assert isinstance(candidates, list)
    ids = [candidate["id"] for candidate in candidates]
    assert [id for id in ids if id in {key.id for key in keys}] == [key.id for key in keys]
    assert len(customer.keys()) == 5


def test_revoking_one_makes_room_immediately(product: Product) -> None:
    """The next request has room, for exactly one key."""
    customer, keys = full(product)
    customer.revoke(keys[0])
    assert customer.works(customer.create("in its place"))
    assert refusal(customer)["used"] == 5


def test_a_key_that_expires_makes_room_by_itself(product: Product) -> None:
    """No cleaning up is needed: an expired key does not count."""
    customer, keys = full(product)
    customer.revoke(keys[0])
    brief = customer.create("brief", expires_at=written(next_second()))
    assert refusal(customer)["used"] == 5
    wait_until(lambda: not customer.works(brief), "the key expires")
    wait_until(lambda: room(customer) == 1, "its place is free")
    customer.create("in its place")
    assert refusal(customer)["used"] == 5


def test_i_rotate_though_my_plan_is_full(product: Product) -> None:
    """A key in its overlap takes no place, so replacing a key never waits for room."""
    customer, keys = full(product)
    new = customer.rotate(keys[0], overlap_seconds=3600)
    assert customer.works(keys[0])
    assert customer.works(new)
    assert refusal(customer)["used"] == 5
    customer.revoke(keys[0])
    assert refusal(customer)["used"] == 5


def test_a_lowered_limit_stops_creation_only(product: Product) -> None:
    """Existing keys keep working; there is room again below the new limit, or on another plan."""
    customer, keys = full(product)
    product.set_limit(customer, "free", api_keys=2)
    assert all(customer.works(key) for key in keys)
    assert (refusal(customer)["used"], refusal(customer)["limit"]) == (5, 2)
    for key in keys[:3]:
        customer.revoke(key)
        assert refusal(customer)["limit"] == 2
    customer.revoke(keys[3])
    assert customer.works(customer.create("there is room again"))
    assert refusal(customer)["used"] == 2
    product.set_limit(customer, "scale")
    assert len([customer.create() for _ in range(6)]) == 6


def test_i_see_how_many_are_left_before_i_need_one(product: Product) -> None:
    """The list and the plan show limit and use, which follow each change; without a limit it is null."""
    customer, keys = full(product)
    assert room(customer) == 0
    customer.revoke(keys[0])
    assert room(customer) == 1
    plan = customer.request_json("GET", "/v1/plan")
    assert plan["plan"]["name"] == "Free"
    assert plan["quotas"]["api_keys"] == customer.request_json("GET", "/v1/keys")["quota"]
    product.set_limit(customer, "scale")
    assert customer.request_json("GET", "/v1/plan")["quotas"]["api_keys"] == {
        "limit": None,
        "used": 4,
    }


def room(customer: Customer) -> int:
    """Return how many more keys are possible."""
    quota = customer.request_json("GET", "/v1/keys")["quota"]
    remaining: int = quota["limit"] - quota["used"]
    return remaining
