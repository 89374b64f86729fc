"""Preprocessing is OpenCV's, both engines agree, and the mirror counts as the docs say."""

import io
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from reidd import distances, places
from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError, ConfigError
from reidd.features import Extractor, preprocess
from reidd.golden import cosines, read
from reidd.model import Extras, ModelConfig
from reidd.plugins import Registry

SAMPLES = sorted(places.sample_folder().glob("*/*.jpg"))


def model_with(tmp_path: Path, **parameters) -> ModelConfig:
    (tmp_path / "net.onnx").write_bytes(b"")
    document = {"id": "test/net", "model_parameters": {"model_file": "net.onnx", "size": [64, 128], **parameters}}
    return ModelConfig(document, base_dir=tmp_path)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("swaprb", [False, True])
@pytest.mark.parametrize(
    ("mean", "scalefactor"), [([0, 0, 0], 1), ([104, 117, 123], 1), ([127.5, 127, 126], 1 / 127.5)]
)
@pytest.mark.parametrize("shape", [(128, 64), (57, 131), (300, 90), (128, 128)])
def test_preprocessing_equals_blob_from_image(tmp_path, crop, swaprb, mean, scalefactor, shape):
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    model = model_with(tmp_path, crop=crop, swaprb=swaprb, mean=mean, scalefactor=scalefactor)
    expected = cv2.dnn.blobFromImage(image, scalefactor, (64, 128), mean, swaprb, crop)
    np.testing.assert_allclose(preprocess(image, model)[None].transpose(0, 3, 1, 2), expected, rtol=1e-5, atol=1e-4)


def test_std_divides_each_channel(tmp_path):
    image = np.full((128, 64, 3), 100, np.uint8)
    model = model_with(tmp_path)
    model.extras = Extras(std=(1.0, 2.0, 4.0))
    assert preprocess(image, model)[0, 0].tolist() == [100, 50, 25]


@pytest.fixture(scope="module")
def extractors():
    model, registry = ModelConfig.from_model_id("reidd/person"), Registry()
    pairs = [(Engine.DNN, Accelerator.CPU), (Engine.TFLITE, Accelerator.CPU)]
    loaded = [Extractor.load(model, *pair, registry=registry) for pair in pairs]
    yield loaded
    for extractor in loaded:
        extractor.close()


def test_both_engines_agree_on_every_sample(extractors):
    crops = [cv2.imread(str(path)) for path in SAMPLES]
    one, other = (extractor.features(crops) for extractor in extractors)
    assert len(crops) == 40
    assert cosines(one, other).min() >= 0.999


def test_the_mirror_is_normalised_summed_and_normalised_again(extractors):
    image = cv2.imread(str(SAMPLES[0]))
    plain, mirror = (extractors[0].features([i], flip_horizontal=False) for i in (image, image[:, ::-1].copy()))
    np.testing.assert_allclose(extractors[0].features([image]), distances.unit(plain + mirror), atol=1e-4)


def test_a_feature_has_length_one(extractors):
    features = extractors[1].features([cv2.imread(str(path)) for path in SAMPLES[:3]], flip_horizontal=False)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_no_images_give_no_rows(extractors):
    assert extractors[0].features([]).shape == (0, 256)


class Scripted(Backend):
    """Gives what a test tells it to."""

    engine = Engine.PYTORCH
    accelerators = (Accelerator.CPU,)
    formats = frozenset({"onnx"})

    def __init__(self, answer):
        self.answer = answer

    @classmethod
    def obstacle(cls, accelerator):
        return None

    @classmethod
    def load(cls, model, accelerator, *, threads):
        raise RuntimeError("the driver is from another age")

    def infer(self, batch):
        return self.answer(batch)

    def close(self):
        pass


def honest(batch):
    return np.stack([[b.mean(), b.std(), b[0, 0, 0]] for b in batch]).astype(np.float32)


def fails(batch):
    raise RuntimeError("device lost")


def exits(batch):
    raise SystemExit(3)


LIES = {
    r"gave float64 \(1, 3\), expected float32 \(1, dim\)": lambda b: honest(b).astype(np.float64),
    r"gave float32 \(2, 3\), expected float32 \(1, dim\)": lambda b: honest(np.concatenate([b, b])),
    "gave 2 values, expected 3": lambda b: honest(b)[:, :2],
    "gave a list": lambda b: [honest(b)],
    "NaN": lambda b: np.full((len(b), 3), np.nan, np.float32),
    "all zeros": lambda b: np.zeros((len(b), 3), np.float32),
    "one value throughout": lambda b: np.full((len(b), 3), 7, np.float32),
    "device lost": fails,
    "SystemExit: 3": exits,
}


@pytest.mark.parametrize("complaint", LIES)
def test_a_lying_backend_is_not_believed(tmp_path, complaint):
    backend = Scripted(honest)
    extractor = Extractor(model_with(tmp_path), backend, Accelerator.CPU)
    backend.answer = LIES[complaint]
    with pytest.raises(BackendError, match=complaint):
        extractor.features([np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8)], flip_horizontal=False)


def test_a_backend_that_gives_one_answer_to_everything_is_not_believed(tmp_path):
    backend = Scripted(honest)
    extractor = Extractor(model_with(tmp_path), backend, Accelerator.CPU)
    backend.answer = lambda batch: np.tile(np.float32([1, 2, 3]), (len(batch), 1))
    images = [np.random.default_rng(seed).integers(0, 256, (128, 64, 3), np.uint8) for seed in (1, 2)]
    with pytest.raises(BackendError, match="same output for different images"):
        extractor.features(images, flip_horizontal=False)


def test_features_of_another_network_are_refused(tmp_path):
    model = model_with(tmp_path)
    crops = np.random.default_rng(1).integers(0, 256, (4, 128, 64, 3), np.uint8)
    np.savez(tmp_path / "golden.npz", crops=crops, embeddings=honest(crops)[:, ::-1])
    model.extras = Extras(golden="golden.npz")
    with pytest.raises(BackendError, match=r"features are not this model's: worst cosine 0\.\d+ .* expected 0\.98"):
        Extractor(model, Scripted(honest), Accelerator.CPU).check_itself()


@pytest.mark.parametrize(
    "embeddings",
    [np.full((4, 3), np.nan), np.zeros((4, 3)), np.eye(4), np.float32(1), np.ones((0, 3))],
    ids=["NaN", "no length", "another dimension", "no row", "no crops"],
)
def test_golden_vectors_that_anything_would_agree_with_are_refused(tmp_path, embeddings):
    model = model_with(tmp_path)
    crops = np.zeros((np.size(embeddings) and 4, 128, 64, 3), np.uint8)
    np.savez(tmp_path / "golden.npz", crops=crops, embeddings=embeddings)
    model.extras = Extras(golden="golden.npz", dim=3)
    with pytest.raises(ConfigError, match=r"golden\.npz: .* expected"):
        read(model)


def test_golden_vectors_larger_than_memory_are_refused(tmp_path):
    model = model_with(tmp_path)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50,)})
    with ZipFile(tmp_path / "golden.npz", "w") as file:
        for name in ("crops.npy", "embeddings.npy"):
            file.writestr(name, head.getvalue())
    model.extras = Extras(golden="golden.npz")
    with pytest.raises(ConfigError, match="is no file of golden vectors"):
        read(model)


def test_a_file_of_golden_vectors_that_is_cut_short_is_named(tmp_path):
    model = model_with(tmp_path)
    np.savez(tmp_path / "golden.npz", crops=np.zeros((4, 128, 64, 3), np.uint8), embeddings=np.eye(4))
    whole = (tmp_path / "golden.npz").read_bytes()
    model.extras = Extras(golden="golden.npz")
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 30):
        (tmp_path / "golden.npz").write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="is no file of golden vectors"):
            read(model)


def test_golden_vectors_in_which_a_byte_is_another_are_named(tmp_path):
    model = model_with(tmp_path)
    crops = np.random.default_rng(0).integers(0, 9, (4, 128, 64, 3), np.uint8)
    np.savez_compressed(tmp_path / "golden.npz", crops=crops, embeddings=np.eye(4))
    whole = bytearray((tmp_path / "golden.npz").read_bytes())
    model.extras = Extras(golden="golden.npz")
    # In the middle of what is compressed, and where the list at the end says how.
    for place in (len(whole) // 2, 60, whole.index(b"PK\1\2") + 10):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        (tmp_path / "golden.npz").write_bytes(damaged)
        with pytest.raises(ConfigError, match="expected crops and embeddings, as np"):
            read(model)


def test_one_array_alone_is_no_file_of_golden_vectors(tmp_path):
    model = model_with(tmp_path)
    np.save(tmp_path / "golden.npy", np.eye(4))
    model.extras = Extras(golden="golden.npy")
    with pytest.raises(ConfigError, match="is no file of golden vectors"):
        read(model)


def only(backend):
    """A registry with this backend."""

    class Only(Registry):
        def _collect(self):
            return [backend]

    return Only(())


@pytest.mark.parametrize("complaint", ["gave a list", "NaN"])
def test_a_backend_that_is_refused_is_closed(tmp_path, complaint):
    # Else the device stays with a process that has gone on to the next pair, and nobody ever gets it again.
    closed = []

    class Lying(Scripted):
        @classmethod
        def load(cls, model, accelerator, *, threads):
            return cls(LIES[complaint])

        def close(self):
            closed.append(self)
            raise OSError("cannot be closed either")

    with pytest.raises(BackendUnavailableError, match=complaint):
        Extractor.load(model_with(tmp_path), Engine.PYTORCH, Accelerator.CPU, registry=only(Lying))
    assert len(closed) == 1


def test_a_load_that_returns_no_backend_is_told_so(tmp_path):
    class Forgetful(Scripted):
        @classmethod
        def load(cls, model, accelerator, *, threads):
            pass

    with pytest.raises(BackendUnavailableError, match=r"Forgetful\.load returned None; expected a Backend"):
        Extractor.load(model_with(tmp_path), Engine.PYTORCH, Accelerator.CPU, registry=only(Forgetful))


def test_a_backend_that_ends_the_process_is_refused_as_any_other(tmp_path):
    class Leaving(Scripted):
        @classmethod
        def load(cls, model, accelerator, *, threads):
            raise SystemExit(3)

    with pytest.raises(BackendUnavailableError, match="ends the process"):
        Extractor.load(model_with(tmp_path), Engine.PYTORCH, Accelerator.CPU, registry=only(Leaving))


def test_a_backend_that_cannot_load_says_why(tmp_path):
    with pytest.raises(
        BackendUnavailableError, match=r"PYTORCH/CPU cannot run test/net: the driver is from another age"
    ):
        Extractor.load(model_with(tmp_path), Engine.PYTORCH, Accelerator.CPU, registry=only(Scripted))
