"""Analytics records: what a caller publishes, as values that JSON carries exactly."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from reidd.errors import PublishError
from reidd.protocol import PredictionRecord, ResultRecord
from reidd.results import ReIdentificationResults

MAX_DEPTH = 16


def result_records(results: ReIdentificationResults | Iterable[ReIdentificationResults]) -> list[ResultRecord]:
    """The answers of one or several calls, without their images and distance matrices.

    Raises:
        PublishError: that is no `ReIdentificationResults`, nor a list of them.
    """
    listed = [results] if isinstance(results, ReIdentificationResults) else results
    if not isinstance(listed, Iterable) or isinstance(listed, (str, bytes, dict)):
        raise PublishError(f"results is {type(results).__name__}; expected ReIdentificationResults or a list of them")
    records = []
    for result in listed:
        if not isinstance(result, ReIdentificationResults):
            raise PublishError(f"results holds {type(result).__name__}; expected ReIdentificationResults")
        predictions = [PredictionRecord(p.id, p.rank, p.distance, p.label) for p in result.predictions]
        records.append(ResultRecord(predictions, result.duration, result.verdict))
    return records


def json_value(value: Any, where: str, depth: int = 0) -> Any:
    """Return `value` as plain JSON types; numpy numbers become numbers.

    Raises:
        PublishError: JSON cannot carry it (an array, bytes, NaN, a set, an object); names the place.
    """
    if depth > MAX_DEPTH:
        raise PublishError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise PublishError(f"{where} is {value}; expected an integer of at most 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PublishError(f"{where} is {value}, which JSON cannot carry; expected a finite number")
        return value
    if isinstance(value, (list, tuple)):
        return [json_value(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {_key(k, where): json_value(v, f"{where}.{k}", depth + 1) for k, v in value.items()}
    raise PublishError(
        f"{where} is {type(value).__name__}, which JSON cannot carry; expected numbers, strings, lists, dicts"
    )


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise PublishError(f"{where} has the key {key!r} ({type(key).__name__}); JSON keys are strings")
    return key
