"""Each clause of the kit can fail: a backend that breaks just that promise is caught by it."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from toys import BROKEN, DIM, NamesNoAccelerator, Numbered, Stuck, Toy

from reidd import golden
from reidd.engines import Accelerator
from reidd.model import ModelConfig
from reidd.testing import CALLS, BackendContract, Subject, contract_table


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    """A model folder for the toy, whose golden vectors an honest toy made."""
    (tmp_path / "net.toy").write_bytes(b"")
    parameters = {"model_file": "net.toy", "size": [16, 16]}
    document = {"id": "test/toy", "model_parameters": parameters, "reidd": {"dim": DIM}}
    crops = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    batch = golden.batch(crops, ModelConfig(document, base_dir=tmp_path))
    np.savez(tmp_path / "golden.npz", crops=crops, embeddings=Toy().infer(batch))
    return ModelConfig(document | {"reidd": {"golden": "golden.npz", "dim": DIM}}, base_dir=tmp_path)


class TestToy(BackendContract):
    backend_class = Toy

    @pytest.fixture
    def model(self, model):
        return model


def test_every_clause_has_a_backend_that_breaks_it():
    clauses = {name.removeprefix("test_") for name in dir(BackendContract) if name.startswith("test_")}
    assert clauses == set(BROKEN)


@pytest.mark.parametrize(("clause", "broken"), [(clause, kind) for clause, kinds in BROKEN.items() for kind in kinds])
def test_a_broken_backend_fails_its_clause(clause, broken, model, monkeypatch):
    monkeypatch.setenv(CALLS, "50")
    subject = Subject(broken, model, Accelerator.CPU)
    with pytest.raises((AssertionError, ValueError, AttributeError)):
        getattr(BackendContract(), f"test_{clause}")(subject)


def test_an_engine_that_is_compiled_at_each_load_may_round_otherwise(model):
    class Compiled(Numbered):
        made: ClassVar[list[Toy]] = []

        def infer(self, batch):
            return super().infer(batch) * np.float32(1 + 1e-6 * self.made.index(self))

    BackendContract().test_it_survives_being_loaded_twice(Subject(Compiled, model, Accelerator.CPU))


def test_a_model_without_a_file_for_the_backend_is_told_how_to_be_another(model):
    class Compiled(Toy):
        formats = frozenset({"engine"})

    with pytest.raises(AssertionError, match="test/toy has no file in the format engine: set `model_id`, or override"):
        Subject(Compiled, model, Accelerator.CPU).load()


def test_golden_crops_that_are_the_same_give_the_same_rows(model):
    known = golden.read(model)
    twice = {name: values[[0, 1, 1]] for name, values in known._asdict().items()}
    np.savez(model.base_dir / "golden.npz", **twice)
    BackendContract().test_different_crops_give_different_rows(Subject(Toy, model, Accelerator.CPU))


class TestBroken(BackendContract):
    """Run by the test below alone."""

    __test__ = "REIDD_TEST_BROKEN" in os.environ
    backend_class = Stuck

    @pytest.fixture
    def model(self, model):
        return model


def test_the_table_says_which_backend_keeps_which_clause():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "reidd.testing", "-p", "no:cacheprovider", __file__]
    env = {**os.environ, "REIDD_TEST_BROKEN": "1"}
    said = subprocess.run(
        [*command, "-k", "TestToy or TestBroken"], env=env, capture_output=True, text=True, check=False
    )
    assert "  1  Toy on CPU: keeps 12 of 12\n  2  Broken on CPU: keeps 10 of 12\n" in said.stdout
    assert re.search("different crops give different rows +✓  ✗\n", said.stdout)


def test_what_is_not_here_is_not_called_broken():
    *_, last = contract_table({"Stick on EDGE_TPU": {"test_it_is_deterministic": "·"}})
    assert last == "  1  Stick on EDGE_TPU: not ready here"


def subject_of(model, **said):
    """What the kit makes of a toy that says something else of itself."""

    class Contract(BackendContract):
        backend_class = type("Other", (Toy,), said)

    return next(Contract.subject.__wrapped__(Contract(), model, Accelerator.CPU))


def test_an_accelerator_that_is_not_here_is_skipped_with_its_obstacle(model):
    with pytest.raises(pytest.skip.Exception, match="no such thing is plugged in"):
        subject_of(model, obstacle=lambda _: "no such thing is plugged in")


@pytest.mark.parametrize("nothing", [False, ""])
def test_an_obstacle_without_words_is_a_fault_and_no_reason_to_skip(model, nothing):
    with pytest.raises((TypeError, pytest.skip.Exception)) as told:
        subject_of(model, obstacle=lambda _: nothing)
    assert "expected words, or None" in str(told.value)


def test_a_backend_without_accelerators_is_asked_all_the_same():
    class Contract(BackendContract):
        backend_class = NamesNoAccelerator

    asked = []
    metafunc = SimpleNamespace(fixturenames=["accelerator"], parametrize=lambda _, places, **__: asked.extend(places))
    Contract().pytest_generate_tests(metafunc)
    assert asked == [Accelerator.DEFAULT]
