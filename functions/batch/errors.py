"""What can go wrong outside, in the domain's words. Adapters translate a vendor's errors to these.

    BatchdropError
    ├── InvalidRow            this line is not a request: the row ends as `invalid`
    ├── BadRecipe             a recipe cannot be used: its job is rejected
    ├── NotChecked            an answer could not be held against its schema
    ├── InputChanged          the uploaded object is not there any more, or not the same
    ├── Conflict              another writer changed the ledger's record first
    ├── UploadGone            an object in pieces was completed, or abandoned, before
    └── ProviderError         a provider's answer to a call of ours
        ├── KeyMissing        no API key is stored
        ├── AccountBlocked    key refused, credit exhausted, access closed: a person has to act
        ├── Throttled         not now: nothing was created
        ├── OverCapacity      too much is queued for the model: nothing was created
        ├── NotVisible        the uploaded file is not seen yet: nothing was created; or the
        │                     answers of a batch that has ended
        ├── Refused           the request itself is at fault: nothing was created
        ├── Missing           no such object
        ├── Unavailable       no answer, or a server's error: whether it took effect is unknown
        └── Unconfirmed       what was looked for may be there, but cannot be told from others yet

The tree decides what a use case may do next: after `Unavailable` a create is looked up before it
is tried again; after the others nothing was created. `Unconfirmed` comes of look-ups only.
"""

from __future__ import annotations

from typing import Literal

MOST_TEXT = 2_000
"""Characters of what a provider says that are kept. A gateway's page, or a request that an error
repeats, may have a megabyte; an item of the ledger and an event end long before."""


MOST_CODE = 100


def shortened(text: str, most: int = MOST_TEXT) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


class BatchdropError(Exception):
    """Base of everything below."""


class InvalidRow(BatchdropError):
    """A line that no provider may see. `readable`: it is a JSON object, so it can be mended."""

    def __init__(self, code: str, message: str, *, readable: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.readable = readable


class BadRecipe(BatchdropError):
    """A sentence that names the recipe, the path of the key, its value and what is allowed."""

    code = "bad_recipe"


class NotChecked(BatchdropError):
    """Whether an answer fits its schema cannot be found out, or would take too long."""


class InputChanged(BatchdropError):
    """The object that the upload's event named cannot be read any more."""

    code = "input_changed"


class Conflict(BatchdropError):
    """The record was changed by another writer since it was read."""


class UploadGone(BatchdropError):
    """The upload takes no more pieces: it was completed, or ended without an object."""


class ProviderError(BatchdropError):
    """`code` is the provider's own where it gave one; `retry_after` in seconds."""

    def __init__(self, code: str, message: str, *, retry_after: float | None = None) -> None:
        self.code = shortened(code, MOST_CODE)
        self.message = shortened(message)
        super().__init__(f"{self.code}: {self.message}")
        self.retry_after = retry_after


class KeyMissing(ProviderError):
    """No key is stored for the provider."""


class AccountBlocked(ProviderError):
    """The account, not the request, is refused."""


class Throttled(ProviderError):
    """Too many calls."""


class OverCapacity(ProviderError):
    """The queue for this model is full."""


class NotVisible(ProviderError):
    """A file that was just uploaded, or written, is not found."""


class Refused(ProviderError):
    """The request is wrong, whenever it is sent. `then`: whether one of its rows may be at fault,
    so that it is worth splitting, or all of them fail."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry_after: float | None = None,
        then: Literal["split", "fail"] = "split",
    ) -> None:
        super().__init__(code, message, retry_after=retry_after)
        self.then: Literal["split", "fail"] = then


class Missing(ProviderError):
    """The object does not exist."""


class Unavailable(ProviderError):
    """The call may or may not have taken effect."""


class Unconfirmed(ProviderError):
    """One of `candidates` may be the batch that was looked for: later it can be told."""

    def __init__(self, candidates: list[str], message: str) -> None:
        super().__init__("unconfirmed", message)
        self.candidates = candidates
