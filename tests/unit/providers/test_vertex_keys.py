from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from functions.batch import errors
from functions.providers.vertex import credentials
from functions.providers.vertex.client import make_client

KEY = {"project": "p-1", "location": "us-central1", "bucket": "batches", "anonymous": True}

FEDERATED = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a",
    "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {
        "environment_id": "aws1",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
    },
}


def test_a_federation_document_needs_no_file() -> None:
    key = {**KEY, "credentials": FEDERATED}
    del key["anonymous"]
    made = credentials.credentials(credentials.read(json.dumps(key)))
    assert type(made).__module__ == "google.auth.aws"
    assert list(made.scopes) == list(credentials.SCOPES)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"project": None}, "project"),
        ({"project": " "}, "project"),
        ({"project": "my project/x"}, "project"),
        ({"location": "US Central"}, "location"),
        ({"bucket": "gs://batches"}, "bucket"),
        ({"bucket": 5}, "bucket"),
        ({"anonymous": False}, "credentials"),
        ({"credentials": FEDERATED}, "credentials"),
        ({"anonymous": False, "credentials": {"type": "authorized_user"}}, "type"),
        ({"anonymous": False, "credentials": {}}, "type"),
        ({"anonymous": False, "credentials": {"type": "external_account"}}, "external_account"),
        ({"anonymous": False, "credentials": {"type": "service_account"}}, "service_account"),
        (
            {"anonymous": False, "credentials": {**FEDERATED, "credential_source": "no"}},
            "external_account",
        ),
    ],
)
def test_a_key_that_cannot_be_used_says_why(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(errors.KeyMissing) as caught:
        make_client(json.dumps({**KEY, **changes}))
    assert named in caught.value.message
    assert "batchdrop keys set vertex" in caught.value.message


@pytest.mark.parametrize("secret", ["", "sk-secret", "[]", "{}"])
def test_a_key_that_is_no_document_says_so_without_repeating_it(secret: str) -> None:
    with pytest.raises(errors.KeyMissing) as caught:
        make_client(secret)
    assert "sk-secret" not in caught.value.message


def service_account(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    document = {
        "type": "service_account",
        "private_key": pem.decode(),
        "client_email": "a@p-1.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps({**KEY, "anonymous": False, "credentials": document})


def test_a_private_key_that_cannot_sign_is_none() -> None:
    usable = service_account(rsa.generate_private_key(65_537, 2_048))
    assert credentials.credentials(credentials.read(usable)).service_account_email  # type: ignore[attr-defined]
    with pytest.raises(errors.KeyMissing, match="service_account"):
        make_client(service_account(ec.generate_private_key(ec.SECP256R1())))
