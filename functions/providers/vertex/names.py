"""How what we make at Google is named, so that it is found again.

A display name has up to 128 characters; a label's value up to 63 lower-case letters, digits, `_`
and `-` (https://cloud.google.com/vertex-ai/docs/general/resource-labels).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from functions.batch.model import Tag

_ROOT = "batchdrop/"
_OURS = re.compile(f"gs://[^/]+/{_ROOT}.")

_SHARD = re.compile(f"gs://[^/]+/{_ROOT}[^/]+/([^/]+)/([^/]+)/")
STACK_LABEL = "batchdrop_stack"

_MOST_NAME = 128
_MOST_LABEL = 63
_NO_LABEL = re.compile(r"[^a-z0-9_-]+")


def model_name(model: str) -> str:
    """The resource that a model's short name stands for."""
    if model.startswith(("publishers/", "projects/")):
        return model
    return f"publishers/google/models/{model.removeprefix('models/')}"


def prefix(tag: Tag) -> str:
    return f"{stack_prefix(tag.stack)}{tag.job_id}/{tag.shard_id}/"


def stack_prefix(stack: str) -> str:
    return f"{_ROOT}{stack}/"


def shard_of(address: str) -> tuple[str, str] | None:
    """The job and the shard that an object of ours was made for."""
    found = _SHARD.match(address)
    return None if found is None else (found[1], found[2])


def stack_label(stack: str) -> str:
    return _label(stack)


def display_name(tag: Tag) -> str:
    """The same for all attempts: a list can be filtered by it."""
    name = f"batchdrop {tag.stack} {tag.job_id} {tag.shard_id}"
    return name if len(name) <= _MOST_NAME else f"{name[:60]} {_digest(name)}"


def labels(tag: Tag) -> dict[str, str]:
    return {
        STACK_LABEL: stack_label(tag.stack),
        "batchdrop_job": _label(tag.job_id),
        "batchdrop_shard": _label(tag.shard_id),
        "batchdrop_attempt": _label(str(tag.attempt)),
    }


def _label(text: str) -> str:
    """Lower-case letters, digits, `_` and `-`, at most 63. What is changed gets a hash, so that no
    two texts become one."""
    plain = _NO_LABEL.sub("-", text.lower())
    if plain == text and len(text) <= _MOST_LABEL:
        return text
    return f"{plain[:40]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_ours(marks: Mapping[str, str], tag: Tag) -> bool:
    """Whether labels are those of the tag's shard, whatever the attempt."""
    ours = labels(tag)
    return all(
        marks.get(name) == value for name, value in ours.items() if name != "batchdrop_attempt"
    )


def is_our_object(address: str) -> bool:
    """In whichever bucket: the key may name another one by now."""
    return _OURS.match(address) is not None
