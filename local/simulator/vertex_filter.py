"""The filter language of batchPredictionJobs.list: terms joined by AND, OR and NOT."""

import fnmatch
import re

from . import answers
from .timestamps import rfc3339
from .vertex_records import Job
from .wire import ApiError

TERM = re.compile(r"([\w.\-]+)\s*(!=|>=|<=|=|:|>|<)\s*(?:\"((?:[^\"\\]|\\.)*)\"|(\S+))")
JOINED = re.compile(r"((?:[^\"\s]|\"(?:[^\"\\]|\\.)*\")+)")


def matches(job: Job, text: str) -> bool:
    """OR binds closer than AND, as in Google's API guidelines."""
    return all(
        any(_term(job, part.strip()) for part in _split(clause, "OR"))
        for clause in _split(text, "AND")
    )


def _split(text: str, word: str) -> list[str]:
    """Splits at a word that stands outside of quotes."""
    parts: list[list[str]] = [[]]
    for token in JOINED.findall(text):
        if token == word:
            parts.append([])
        else:
            parts[-1].append(token)
    return [" ".join(part).strip("()") for part in parts]


def _term(job: Job, term: str) -> bool:
    if term.startswith("NOT "):
        return not _term(job, term[4:].strip())
    match = TERM.fullmatch(term)
    if match is None:
        raise ApiError(400, f"Invalid filter: {term!r}", code="INVALID_ARGUMENT")
    field, operator, quoted, bare = match.groups()
    wanted = quoted if quoted is not None else bare
    value = _value(job, field)
    if value is None:
        return operator == "!="
    match operator:
        case ":":
            return fnmatch.fnmatchcase(value, wanted) or (
                field[:7] != "labels." and wanted in value
            )
        case "=":
            return value == wanted
        case "!=":
            return value != wanted
        case ">" | ">=":
            return value > wanted or (operator == ">=" and value == wanted)
        case _:
            return value < wanted or (operator == "<=" and value == wanted)


def _value(job: Job, field: str) -> str | None:
    if field.startswith("labels."):
        return answers.dig(job.resource, "labels", field[7:])
    match field:
        case "display_name" | "displayName":
            return job.resource["displayName"]
        case "model_display_name" | "modelDisplayName":
            return job.model
        case "state":
            return job.state
        case "create_time" | "createTime":
            return rfc3339(job.created)
        case _:
            raise ApiError(400, f"Invalid filter field: {field}", code="INVALID_ARGUMENT")
