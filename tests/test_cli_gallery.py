"""Commands about a gallery against a real daemon: enrol, ask, calibrate, mend, save, forget."""

import json
import re

import cv2
import numpy as np
import pytest
from terminal import at_a_terminal

from reidd import keys, places
from reidd.protocol import MAX_FRAME_BYTES

GALLERY, QUERIES = places.sample_folder() / "gallery", places.sample_folder() / "queries"


def test_people_are_added_from_globs_and_identified_from_a_folder(run, client):
    for id in range(1, 7):
        assert run("add", id, f"{GALLERY}/{id}_*.jpg").returncode == 0
    assert client.ids() == [1, 2, 3, 4, 5, 6]
    answers = json.loads(run("identify", QUERIES, "--top-k", 2, "--json").stdout)
    assert len(answers) == 22
    named = [(a["image"].rpartition("/")[2][0], str(a["predictions"][0]["id"])) for a in answers]
    assert sum(true == got for true, got in named) >= 17
    assert [p["rank"] for p in answers[0]["predictions"]] == [1, 2]


def test_the_table_for_people_names_image_id_label_distance_and_verdict(run):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    assert run("label", 1, "Ann").returncode == 0
    shown = run("identify", QUERIES / "1_f0300.jpg").stdout
    assert all(word in shown for word in ("1_f0300.jpg", "Ann", "known", "0."))


def test_the_threshold_for_this_site_is_found_in_its_gallery(run):
    refused = run("calibrate")
    assert (refused.returncode, "ids: 0, its instances: 0; add more" in refused.stderr) == (65, True)
    for id in range(1, 7):
        run("add", id, f"{GALLERY}/{id}_*.jpg")
    told = json.loads(run("calibrate", "--strangers", 0.2, "--json").stdout)
    (chosen,) = (rates for rates in told["rates"] if rates["max_distance"] == told["suggested"])
    assert (told["instances"], told["ids"], told["max_distance"]) == (18, 6, 0.225)
    assert chosen["false_positive"] <= 0.2
    assert chosen["false_negative"] == 0
    shown = run("calibrate").stdout
    assert "18 instances of 6 ids" in shown and "18 instances are too few to tell a share of 1 %" in shown
    assert re.search(r"0\.225 .* now", shown) and re.search(r"--max-distance 0\.\d{3}", shown)
    assert "too few" not in run("calibrate", "--strangers", 0).stdout


def test_no_threshold_is_suggested_that_nobody_is_known_by(run):
    for id in (1, 2):
        run("add", id, f"{GALLERY}/1_*.jpg")
    refused = run("calibrate")
    assert (refused.returncode, "merge" in refused.stderr) == (65, True)
    assert run("calibrate", "--strangers", 1).returncode == 0


def test_a_gallery_of_another_machine_is_calibrated_there(run, tmp_path, monkeypatch):
    keys.write(tmp_path / "cam.key", keys.new(tmp_path / "keys", "cam", [keys.Role.ADMIN]), mode=0o600)
    monkeypatch.setenv("REIDD_KEY", str(tmp_path / "cam.key"))
    refused = run("calibrate", "--endpoint", "tcp://127.0.0.1:9")
    assert (refused.returncode, "where the daemon runs" in refused.stderr) == (65, True)


def test_no_name_takes_a_name_away(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    for command in (("label", 1), ("label", 1, "")):
        assert run("label", 1, "Ann").returncode == 0
        assert "no label now" in run(*command).stdout
        assert client.id_labels() == {}


def test_ids_are_listed_limited_and_removed(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert "; dropped 2 instances now" in run("limit", 2, "drop_oldest").stdout
    assert "dropped" not in run("limit", 2, "drop_redundant").stdout
    run("ttl", "2h", "--id", 2)
    records = json.loads(run("ids", "--json").stdout)
    assert [(r["id"], r["count"], r["ttl_s"]) for r in records] == [(1, 2, None), (2, 2, 7200.0)]
    assert run("remove", 1).returncode == 0
    assert client.ids() == [2]
    assert "2 instances removed; `reidd undo` brings them back" in run("clear", "--yes").stdout
    assert "empty" in run("ids").stdout
    assert json.loads(run("explain", QUERIES / "1_f0300.jpg", "--json").stdout) is None


def test_a_gallery_is_mended(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert "nearest id" in run("explain", QUERIES / "1_f0300.jpg").stdout
    explained = json.loads(run("explain", QUERIES / "1_f0300.jpg", "--json").stdout)
    assert (explained["id"], explained["runner_up"], explained["instances_of_id"]) == (1, 2, 3)
    assert 0 < explained["distance"] < explained["distance"] + explained["margin"] < 1
    assert "now has 6" in run("merge", 2, 1).stdout
    assert "taken back: 3 instances moved to id 1; the gallery has 6 instances of 2 ids" in run("undo").stdout
    assert "of 1 id\n" in run("undo").stdout  # all images of one `add` together
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert run("rename", 2, 5).returncode == run("pin", 5).returncode == 0
    assert [r["pinned"] for r in json.loads(run("ids", "--json").stdout)] == [False, True]
    assert "pinned" in run("ids").stdout
    assert run("unpin", 5).returncode == 0
    instance = client.explain((GALLERY / "1_f0050.jpg").read_bytes()).instance
    assert run("move", instance, 5).returncode == 0
    assert (client.count(1), client.count(5)) == (2, 4)
    assert "ids without a pin or a time of their own live 90m of serving" in run("ttl", "90m").stdout
    assert client.status().ttl_s == 5400
    assert "5400 s of serving" in run("status").stdout
    assert "for ever" in run("ttl", 0).stdout
    assert "30s, 15m, 2h, 7d" in run("ttl", "90").stderr


def test_the_list_of_ids_says_what_is_special_about_how_long_one_is_kept(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    run("pin", 2)
    run("ttl", "2h", "--id", 2)
    of_1, of_2 = (line.strip() for line in run("ids").stdout.splitlines() if line.strip()[:1].isdecimal())
    assert of_1 == "1           3"
    assert of_2.endswith("pinned, lives 7200 s of serving")


def test_a_gallery_is_saved_and_loaded(run, client, tmp_path):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    assert run("save", tmp_path / "g").returncode == 0
    client.clear()
    assert "now has 3" in run("load", tmp_path / "g").stdout
    assert client.count(1) == 3


def test_a_bad_image_among_good_ones_is_named_and_costs_the_others_nothing(run, client, tmp_path):
    good, bad = cv2.imencode(".jpg", np.full((64, 32, 3), 90, np.uint8))[1].tobytes(), b"hello"
    for name, content in (("a.jpg", good), ("b.jpg", bad), ("c.jpg", good)):
        (tmp_path / name).write_bytes(content)
    done = run("add", 5, tmp_path)
    assert done.returncode == 65
    assert "b.jpg" in done.stderr
    assert "1 of 3 images refused" in done.stderr
    assert client.count(5) == 2


def test_a_label_does_nothing_to_a_terminal(run, client, image):
    client.add_to_gallery(image, 5)
    client.set_label(5, "Ann\x1b[2J\nBob")
    for command in (("ids",), ("identify", GALLERY / "1_f0050.jpg"), ("explain", GALLERY / "1_f0050.jpg")):
        shown = run(*command).stdout
        assert "Ann\\x1b[2J\\nBob" in shown
        assert "\x1b[2J" not in shown


@pytest.mark.parametrize("label", ["[/x]", "[red]Ann[/red]", ":bell: Ann"])
def test_a_label_is_shown_as_it_is(run, client, image, label):
    client.add_to_gallery(image, 5)
    assert repr(label) in run("label", 5, label).stdout
    for command in (("ids",), ("identify", GALLERY / "1_f0050.jpg"), ("explain", GALLERY / "1_f0050.jpg")):
        assert f" {label} " in run(*command).stdout


def test_the_name_of_a_file_is_shown_as_it_is_and_does_nothing_to_a_terminal(run, client, image, tmp_path):
    client.add_to_gallery(image, 5)
    good, bad = (tmp_path / f"\x1b[2J[{name}].jpg" for name in "ab")
    good.write_bytes((GALLERY / "1_f0050.jpg").read_bytes())
    bad.write_bytes(b"hello")
    done = run("identify", tmp_path)
    assert "\\x1b[2J[a].jpg" in done.stdout and "\\x1b[2J[b].jpg: image starts" in done.stderr
    explained = run("explain", good).stdout
    assert "\\x1b[2J[a].jpg" in "".join(explained.split())
    assert "\x1b" not in done.stdout + done.stderr + explained


def test_a_file_that_is_too_large_is_named_and_costs_the_others_nothing(run, client, tmp_path):
    (tmp_path / "a.jpg").write_bytes((GALLERY / "1_f0050.jpg").read_bytes())
    with (tmp_path / "b.jpg").open("wb") as hole:
        hole.truncate(MAX_FRAME_BYTES + 1)
    for command in (("add", 5), ("identify",)):
        done = run(*command, tmp_path)
        assert (done.returncode, f"{tmp_path}/b.jpg: has {MAX_FRAME_BYTES + 1} bytes" in done.stderr) == (65, True)
        assert "1 of 2 images refused" in done.stderr
    assert client.count(5) == 1


def test_an_empty_gallery_is_not_cleared_with_words_of_what_undo_brings_back(run):
    done = run("clear")
    assert (done.returncode, "undo" in done.stdout, "empty already" in done.stdout) == (0, False, True)


def test_a_gallery_that_is_to_be_cleared_where_nobody_can_be_asked_stays_and_the_way_without_is_said(run, client):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    done = run("clear")
    assert (done.returncode, "`--yes` does not ask" in done.stderr, client.count()) == (65, True, 3)


def test_no_number_is_broken_in_two_in_40_columns(run, client, shared_daemon, monkeypatch):
    monkeypatch.setenv("REIDD_ENDPOINT", shared_daemon.endpoint)
    for id in (1, 123_456_789):
        run("add", id, f"{GALLERY}/{id % 7}_*.jpg")
        run("label", id, "Ann Miller from next door")
    words = ("identify", QUERIES / "1_f0300.jpg", "--top-k", 2)
    asked = json.loads(run(*words, "--json").stdout)[0]["predictions"]
    shown = at_a_terminal(*words, columns=40).split()
    assert {f"{p['distance']:.3f}" for p in asked} | {str(p["id"]) for p in asked} <= set(shown)


def test_an_image_that_is_refused_leaves_no_empty_table(run, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    assert run("identify", tmp_path / "a.jpg").stdout == ""


def test_an_id_is_forgotten_with_a_receipt_that_the_audit_log_holds(run, client, tmp_path):
    run("add", 1, f"{GALLERY}/1_*.jpg")
    run("add", 2, f"{GALLERY}/2_*.jpg")
    assert run("save", tmp_path / "g").returncode == 0
    receipt = json.loads(run("forget", 1).stdout)
    assert (receipt["forgotten"], receipt["count"], len(receipt["instances"])) == (1, 3, 3)
    assert any("backups" in sentence for sentence in receipt["not_reached"])
    loaded = run("load", tmp_path / "g")
    assert "left out, because they were forgotten here: 1 " in loaded.stderr
    assert client.ids() == [2]
    assert run("load", tmp_path / "g", "--with-forgotten").stderr == ""
    assert client.ids() == [1, 2]
    printed = [json.loads(line) for line in run("audit").stdout.splitlines()]
    assert printed[receipt["sequence"] - 1]["acts"][0]["what"] == "forget"
    assert "whole: " in run("audit", "--verify").stdout
    assert run("audit", "--holds", receipt["hash"]).returncode == 0
    for other in ("0" * 64, ""):
        asked = run("audit", "--holds", other)
        assert (asked.returncode, asked.stdout, "holds no entry" in asked.stderr) == (70, "", True)
