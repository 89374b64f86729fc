"""The asyncio client does what the other one does, many calls at once."""

import asyncio
import inspect
import threading
import time

import pytest

import reidd
from reidd import aio
from reidd.identifier import Identifier


def run(endpoint, conversation, **options):
    async def main():
        async with aio.Client(endpoint, **options) as client:
            return await asyncio.wait_for(conversation(client), 30)

    return asyncio.run(main())


def test_every_method_of_the_client_can_be_awaited():
    for kind in (Identifier, reidd.Client):
        methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        missing = methods - set(dir(aio.Client)) - {"analytics_endpoint", "audit_pages"}
        assert not missing
    assert inspect.signature(aio.Client.re_id_image) == inspect.signature(reidd.Client.re_id_image)


def test_people_are_named_by_many_calls_at_once(client, shared_daemon, gallery_crops, query_crops):
    async def conversation(awaited):
        await asyncio.gather(*(awaited.add_to_gallery(image, id) for id, image in gallery_crops))
        return await asyncio.gather(*(awaited.re_id_image(image) for _, image in query_crops))

    results = run(shared_daemon.endpoint, conversation)
    assert [r.predictions[0].id for r in results] == [client.re_id_image(i).predictions[0].id for _, i in query_crops]


def test_as_many_calls_are_under_way_as_were_asked_for(shared_daemon):
    together = threading.Barrier(2, timeout=20)  # breaks unless two calls wait at it side by side

    async def conversation(awaited):
        await asyncio.gather(*(awaited._in_thread(lambda _: together.wait()) for _ in range(2)))

    run(shared_daemon.endpoint, conversation, at_once=2)


@pytest.mark.parametrize("at_once", [0, "x"])
def test_how_many_calls_at_once_is_a_count(at_once):
    with pytest.raises(reidd.RequestError, match="at_once is"):
        aio.Client(at_once=at_once)


def test_the_event_loop_goes_on_while_an_answer_is_awaited(client, shared_daemon, image):
    async def conversation(awaited):
        ticks = 0
        asked = asyncio.ensure_future(awaited.extract_features([image] * 64))
        while not asked.done():
            await asyncio.sleep(0)
            ticks += 1
        return ticks

    assert run(shared_daemon.endpoint, conversation) > 100


def test_errors_are_those_of_the_client(client, shared_daemon):
    async def conversation(awaited):
        with pytest.raises(reidd.UnknownIdError):
            await awaited.remove_from_gallery(404)
        with pytest.raises(reidd.ImageError):
            await awaited.re_id_image(b"nonsense")

    run(shared_daemon.endpoint, conversation)


def test_an_absent_daemon_is_said_within_the_timeout(short_folder):
    async def conversation(awaited):
        with pytest.raises(reidd.ConnectionError, match="reidd serve"):
            await awaited.ids()

    started = time.monotonic()
    run(f"ipc://{short_folder}/none.sock", conversation, timeout=0.3)
    assert time.monotonic() - started < 2
    with pytest.raises(reidd.RequestError):
        aio.Client(timeout=0)


def test_events_come_as_an_async_iterator(client, shared_daemon, image):
    async def conversation(awaited):
        async def first():
            return await anext(awaited.watch("labelled"))

        watching = asyncio.ensure_future(first())
        await awaited.add_to_gallery(image, 5)
        while not watching.done():
            await awaited.set_label(5, "Eli")
        return watching.result()

    event = run(shared_daemon.endpoint, conversation)
    assert (event["type"], event["id"], event["label"]) == ("labelled", 5, "Eli")


def test_a_watch_ends_when_nothing_came_for_as_long_as_was_said(client, shared_daemon):
    async def conversation(awaited):
        return [event async for event in awaited.watch("loaded", timeout=0.2)]

    assert run(shared_daemon.endpoint, conversation) == []


def test_a_cancelled_call_leaves_the_client_usable(client, shared_daemon, image):
    async def conversation(awaited):
        asked = asyncio.ensure_future(awaited.extract_features([image] * 64))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return await awaited.ids()

    assert run(shared_daemon.endpoint, conversation) == []


def test_a_call_after_the_close_connects_again(shared_daemon):
    async def conversation(awaited):
        before = await awaited.status()
        await awaited.close()
        return before, await awaited.status()

    before, after = run(shared_daemon.endpoint, conversation)
    assert before.version == after.version
