"""What applications do, for mypy to look at: `make check` fails when a type of ours stands in their way."""

import asyncio
from contextlib import aclosing, closing

import numpy as np
import numpy.typing as npt

import reidd
import reidd.aio


def in_process(image: npt.NDArray[np.uint8], track: np.int64) -> reidd.ReIdentificationResults:
    identifier = reidd.ReIdentification("reidd/person")
    identifier.load(engine=reidd.Engine.DNN, accelerator=reidd.Accelerator.DEFAULT)
    identifier.set_per_id_gallery_limit(count=100, drop_method="drop_random")
    identifier.add_to_gallery(image, track)
    identifier.add_to_gallery([image, b"a file"], id=int(track))
    identifier.remove_from_gallery(track)
    identifier.colors = [[255, 0, 0]]
    nearest: float = identifier.get_distances(image, [image]).min()
    results = identifier.re_id_image(image, 3, True, True, max_distance=nearest)
    identifier.publish_analytics(results, tag="door", camera=1)
    return results


def mistyped() -> None:
    reidd.ReIdentifcation("reidd/person")  # type: ignore[attr-defined]  # mypy has to find this


def watched(client: reidd.Client) -> int | None:
    with closing(client.watch("identified", timeout=1)) as events:
        return next(events)["seq"] if client.count(np.int64(1)) else None


async def at_once(images: list[npt.NDArray[np.uint8]]) -> list[str]:
    async with reidd.aio.Client() as client:
        tasks = [asyncio.create_task(client.re_id_image(image)) for image in images]
        ids, count = await asyncio.gather(client.ids(), client.count())
        async with aclosing(client.watch()) as events:
            first = await asyncio.wait_for(events.__anext__(), 1)
        return [f"{first['seq']}: {(await task).predictions[0].id} of {ids}, {count}" for task in tasks]
