from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.aws.inbox import Inbox
from functions.batch.model import Job

FOLDER = "f" * 1_015


class Bucket:
    """Answers as S3 does; there is nothing in it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def head_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
        self.asked.append(Key)
        raise ClientError({"Error": {"Code": "404" if self._takes(Key) else "400"}}, "HeadObject")

    def get_object(self, Bucket: str, Key: str) -> Any:  # noqa: N803
        code = "NoSuchKey" if self._takes(Key) else "KeyTooLongError"
        raise ClientError({"Error": {"Code": code}}, "GetObject")

    def _takes(self, key: str) -> bool:
        return len(key.encode()) <= 1_024 and not key.startswith(("../", "t/../../"))


def job(key: str) -> Job:
    return Job(job_id="j", bucket="b", key=key, bytes=1, created_at="")


@pytest.mark.parametrize(
    "key",
    ["t/_files/" + "\u00e9" * 508, "t/../../x", "../x", "t/_files/" + "x" * 1_015, "t/../x"],
)
def test_what_s3_refuses_to_look_for_is_not_there(key: str) -> None:
    assert Inbox(Bucket()).beside(job("t/a.csv"), key, 100) is None


def test_a_recipe_is_looked_for_where_its_key_fits() -> None:
    bucket = Bucket()
    assert Inbox(bucket).recipe(job(f"{FOLDER}/a.csv")) is None
    assert bucket.asked == ["recipe.yaml", "recipe.yml", "recipe.json"]
