"""An application written for the published API runs after changing only its import."""

import subprocess
import sys
import textwrap

from reidd import places

APPLICATION = """
import sys
import cv2
import reidd as edgeiq

def main(gallery, queries):
    re_identifier = edgeiq.ReIdentification("reidd/person")
    re_identifier.load(engine=edgeiq.Engine.DNN)
    re_identifier.set_per_id_gallery_limit(count=100, drop_method="drop_random")
    print("Engine: {}".format(re_identifier.engine))
    print("Accelerator: {}".format(re_identifier.accelerator))
    print("Model: {}".format(re_identifier.model_id))
    print("Labels: {}".format(re_identifier.labels))
    for path in gallery:
        frame = cv2.copyMakeBorder(cv2.imread(path), 20, 20, 30, 30, cv2.BORDER_CONSTANT)
        _id = int(path.rpartition("/")[2].split("_")[0])
        person_crop = frame[20:-20, 30:-30, :]
        re_identifier.add_to_gallery(person_crop, _id)
    right = 0
    for path in queries:
        new_id = re_identifier.re_id_image(cv2.imread(path))
        right += new_id.predictions[0].id == int(path.rpartition("/")[2].split("_")[0])
    print("right: {}".format(right))

main(sys.argv[1].split(","), sys.argv[2].split(","))
"""


def test_the_published_application_runs_unchanged(tmp_path):
    program = tmp_path / "app.py"
    program.write_text(textwrap.dedent(APPLICATION))
    sample = places.sample_folder()
    gallery = ",".join(map(str, sorted((sample / "gallery").glob("*.jpg"))))
    queries = ",".join(map(str, sorted((sample / "queries").glob("[1-6]_*.jpg"))))
    done = subprocess.run(
        [sys.executable, program, gallery, queries], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[:4] == ["Engine: DNN", "Accelerator: CPU", "Model: reidd/person", "Labels: None"]
    assert int(lines[4].removeprefix("right: ")) >= 17
