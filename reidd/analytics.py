"""Analytics records: what a caller publishes, as values that JSON carries exactly."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from reidd.errors import PublishError
from reidd.protocol import PredictionRecord, ResultRecord, checked_text
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
        predictions = [
            PredictionRecord(*(json_value(getattr(p, name), name) for name in PredictionRecord.__struct_fields__))
            for p in result.predictions
        ]
        records.append(ResultRecord(predictions, json_value(result.duration, "duration"), result.verdict))
    return records


def json_value(value: Any, where: str, depth: int = 0) -> Any:
    """Return `value` as plain JSON types; numpy scalars become numbers and strings.

    Raises:
        PublishError: JSON cannot carry it (an array, bytes, NaN, a set, an object); names the place.
    """
    if depth > MAX_DEPTH:
        raise PublishError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (np.bool_, np.number, np.str_)):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return checked_text(value, where, PublishError)
    if isinstance(value, (int, float)):
        return _number(value, where)
    if isinstance(value, (list, tuple)):
        return [json_value(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {_key(k, where): json_value(v, f"{where}.{k}", depth + 1) for k, v in value.items()}
    raise PublishError(
        f"{where} is {type(value).__name__}, which JSON cannot carry; expected numbers, strings, lists, dicts"
    )


def _number(value: float, where: str) -> float:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise PublishError(f"{where} is {value}; expected an integer of at most 64 bits")
        return int(value)
    if not math.isfinite(value):
        raise PublishError(f"{where} is {value}, which JSON cannot carry; expected a finite number")
    return float(value)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise PublishError(f"{where} has the key {key!r} ({type(key).__name__}); JSON keys are strings")
    return checked_text(key, f"a key of {where}", PublishError)
