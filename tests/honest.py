"""An honest client in a process of its own: asks who is on an image until its input ends, and prints what it saw.

`python tests/honest.py ENDPOINT [KEY]` prints a line when it begins, and then JSON: seconds of each answer, and
whatever was wrong with one.
"""

import json
import select
import sys
import time

from subjects import crops

import reidd


def main() -> None:
    _, image = crops("gallery")[0]
    seconds, wrong = [], []
    with reidd.Client(sys.argv[1], timeout=5, key=next(iter(sys.argv[2:]), None)) as client:
        client.add_to_gallery(image, 1)
        print("asking", flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            started = time.perf_counter()
            try:
                named = client.re_id_image(image).predictions[0].id
            except reidd.ReiddError as error:
                named = f"{error.code}: {error}"
            seconds.append(time.perf_counter() - started)
            if named != 1:
                wrong.append(named)
    print(json.dumps({"seconds": seconds, "wrong": wrong}))


if __name__ == "__main__":
    main()
