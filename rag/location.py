"""Where a knowledge base lies: in a folder, or in a bucket of an object storage. The one door that knows both."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

import rag.errors as errors

# The kinds of storage, and of each what Lance and obstore are told, by the variables that its own programs read; the
# first that is set wins.
_SCHEMES: dict[str, dict[str, tuple[str, ...]]] = {
    "s3": {
        "aws_endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "aws_access_key_id": ("AWS_ACCESS_KEY_ID",),
        "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
        "aws_session_token": ("AWS_SESSION_TOKEN",),
    },
    "gs": {"google_application_credentials": ("GOOGLE_APPLICATION_CREDENTIALS",)},
    "az": {
        "azure_storage_account_name": ("AZURE_STORAGE_ACCOUNT_NAME",),
        "azure_storage_account_key": ("AZURE_STORAGE_ACCOUNT_KEY",),
        "azure_storage_sas_key": ("AZURE_STORAGE_SAS_TOKEN",),
        "azure_client_id": ("AZURE_CLIENT_ID",),
        "azure_client_secret": ("AZURE_CLIENT_SECRET",),
        "azure_tenant_id": ("AZURE_TENANT_ID",),
    },
}
_SECRET = ("secret", "token", "key")  # in the name of an option; the ids are shown by storages themselves
_URL = re.compile(r"([a-z][a-z0-9+]+)://", re.IGNORECASE)
_IN_BUCKET = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)/(\S(?:.*\S)?)")
# Some shells and `Path` make one slash of two.
_SHORTENED = re.compile(r"(s3|gs|az):/(?=[^/])")


@dataclass(frozen=True, slots=True)
class Remote:
    """A knowledge base in a bucket, by its URL without a slash at the end."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        """`s3`, `gs` or `az`."""
        return self.url.partition(":")[0]

    @property
    def name(self) -> str:
        """The last part of the URL, as a folder's name."""
        return self.url.rpartition("/")[2]

    @property
    def bucket(self) -> str:
        """The bucket's name, Azure's container."""
        return self.url.split("/")[2]


Location = Path | Remote


def location_of(given: "str | Location") -> Location:
    """A folder, or what an `s3://`, `gs://` or `az://` URL names. Raises UsageProblem for a URL that is none of them.

    Such a URL holds no credentials: those come from the environment.
    """
    if isinstance(given, Remote):
        return given
    text = _SHORTENED.sub(r"\1://", str(given), count=1)
    if not _URL.match(text):
        return Path(given).expanduser()
    found = _IN_BUCKET.fullmatch(text.rstrip("/"))
    if found is None or any(part in ("", ".", "..") for part in found[3].split("/")) or set("?#@") & set(text):
        raise errors.UsageProblem(
            "A knowledge base is a folder, or lies at s3://BUCKET/PATH, gs://BUCKET/PATH or az://CONTAINER/PATH, "
            "without a user, a password or a query in it."
        )
    return Remote(found[0])


def whole(location: Location) -> Location:
    """The location by a name that does not depend on where the process runs."""
    return location.resolve() if isinstance(location, Path) else location


def storage_options(place: Remote, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What Lance and obstore are to know of the storage. Raises SettingsError where Amazon's region is not known."""
    options = {}
    for option, variables in _SCHEMES[place.scheme].items():
        if value := next((environ[name] for name in variables if environ.get(name)), None):
            options[option] = value
    if place.scheme == "s3" and "aws_region" not in options:
        if "aws_endpoint" not in options:
            raise errors.SettingsError(f"In which region is the bucket {place.bucket}? Set AWS_REGION.")
        options["aws_region"] = "us-east-1"  # others than Amazon have none, and the signature wants one
    return options


def is_plain_http(options: Mapping[str, str]) -> bool:
    """Whether the user has named an endpoint that is spoken to without encryption."""
    return options.get("aws_endpoint", "").startswith("http://")


def without_secrets(text: str, options: Mapping[str, str]) -> str:
    """A text of a library's in which no secret of these options stands, in no spelling that a URL has of it."""
    secrets = [value for name, value in options.items() if name.endswith(_SECRET) and "credentials" not in name]
    secrets += [part.partition("=")[2] for part in options.get("azure_storage_sas_key", "").split("&")]
    spelt = {spelling for secret in secrets for spelling in (secret, quote(secret, safe=""), quote_plus(secret))}
    for secret in sorted(spelt, key=len, reverse=True):
        if len(secret) > 3:  # such as the version in a SAS: too short to be one
            text = text.replace(secret, "***")
    return text
