"""How many keys: the number of active keys is part of the plan, and what ends makes room."""

from __future__ import annotations

from tests.support.postgres import wait_until
from tests.support.product import Customer, Key, Product, next_second, written


def full(product: Product) -> tuple[Customer, list[Key]]:
    """A customer on the plan Free, whose five keys are all there may be; the first of them made the others."""
    customer = product.customer("free")
    return customer, [customer.create(f"key {number}") for number in range(2, 6)]


def refusal(customer: Customer) -> dict[str, object]:
    """What is said to one key too many."""
    said: dict[str, object] = customer.request_json(
        "POST", "/v1/keys", {"description": "one too many"}, status=409
    )
    return said


def test_the_sixth_key_is_refused_with_the_ones_i_could_do_without(product: Product) -> None:
    """The refusal names the plan, its limit and its use, and my keys, those first that were never used."""
    customer, keys = full(product)
    said = refusal(customer)
    assert said["code"] == "limit-reached"
    assert (said["plan"], said["limit"], said["used"]) == ("Free", 5, 5)
    candidates = said["candidates"]
    assert isinstance(candidates, list)
    named = [candidate["id"] for candidate in candidates]
    assert [id for id in named if id in {key.id for key in keys}] == [key.id for key in keys]
    assert len(customer.keys()) == 5


def test_revoking_one_makes_room_at_once(product: Product) -> None:
    """The next request finds room, and no more than one key's."""
    customer, keys = full(product)
    customer.revoke(keys[0])
    assert customer.works(customer.create("in its place"))
    assert refusal(customer)["used"] == 5


def test_a_key_that_expires_makes_room_by_itself(product: Product) -> None:
    """I need not clean up: from its expiry on it does not count."""
    customer, keys = full(product)
    customer.revoke(keys[0])
    brief = customer.create("brief", expires_at=written(next_second()))
    assert refusal(customer)["used"] == 5
    wait_until(lambda: not customer.works(brief), "the key expires")
    wait_until(lambda: room(customer) == 1, "its place is free")
    customer.create("in its place")
    assert refusal(customer)["used"] == 5


def test_i_rotate_though_my_plan_is_full(product: Product) -> None:
    """A key in its overlap takes no place, so that replacing a key never waits for room."""
    customer, keys = full(product)
    new = customer.rotate(keys[0], overlap_seconds=3600)
    assert customer.works(keys[0])
    assert customer.works(new)
    assert refusal(customer)["used"] == 5
    customer.revoke(keys[0])
    assert refusal(customer)["used"] == 5


def test_a_lowered_limit_stops_creation_only(product: Product) -> None:
    """My keys go on working; there is room again when I have fewer than the new limit, or another plan."""
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
    """The list and the plan show limit and use, which follow what I do; a plan without a limit shows null."""
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
    """How many more keys there may be."""
    quota = customer.request_json("GET", "/v1/keys")["quota"]
    left: int = quota["limit"] - quota["used"]
    return left
