"""Errors of a store: messages of one line that name the object and show no credentials."""

import re
from collections.abc import Iterator

from teacherlm_jax.errors import UserError, one_line

_RIGHTS = {
    "gs": "; the account needs roles/storage.objectUser and "
    "roles/storage.legacyBucketReader on the bucket"
}
_SIGN_IN = {"gs": "; run gcloud auth application-default login"}
_CLIENTS = ("gcsfs", "s3fs", "aiohttp", "botocore", "aiobotocore", "google", "requests")
_ADDRESS = re.compile(r"(?:gs|s3|az|hf)://[^\s'\"\]]+")
# Parts of a message that may be credentials: the query of an address, a user and password in it, a
# token.
_SECRETS = re.compile(r"\?[^\s'\"]+|(?<=://)[^/\s]+@|(?i:bearer) \S+|\bya29\.\S+")
# TensorStore's and ArrayRecord's quotes of an answer, and TensorStore's of a broken connection.
_QUOTE = re.compile(r"http_response_code='(\d+)'|\"code\": (\d+)|CURL error")
_STATUS = re.compile(r"[A-Z_]{5,}: ")  # begins TensorStore's errors
_MISSING, _BEYOND_THE_END = 404, 416
_LONGEST = 200  # characters of a client's own text


class StoreError(UserError):
    """A store that refuses a request or does not answer: nothing is known about the object."""


def explain(error: BaseException, unnamed: str = "") -> str | None:
    """Return the message for an error of a store or its client, or None for any other error.

    Libraries raise errors of a client in their own threads, as the cause of others.

    Args:
        error: the error.
        unnamed: beginning of the message if a client names no object, such as "gs://b/run: cannot
            be written".
    """
    if found := refusal(error, unnamed):
        return str(found)
    for link in _chain(error):
        if _QUOTE.search(str(link)) or (_STATUS.match(str(link)) and _named(link)):
            if message := _message(link, unnamed):
                return message
        elif type(link).__module__.partition(".")[0] in _CLIENTS or is_forbidden(link):
            return f"bucket: {reason(link, 'gs')}"
    return None


def refusal(error: BaseException, unnamed: str = "") -> StoreError | None:
    """Return the StoreError that caused an error; None if there is none, as for a missing object.

    TensorStore and ArrayRecord have clients of their own, whose errors quote the answer. For
    `unnamed` see `explain`.
    """
    for link in _chain(error):
        if isinstance(link, StoreError):
            return link
        quoted = _QUOTE.search(str(link)) and _status(link) != _MISSING
        if quoted and (message := _message(link, unnamed)):
            return StoreError(message)
    return None


def _message(error: Exception, unnamed: str) -> str:
    """Return the message for an error of a client; "" if nothing names the object."""
    action = "written" if "writing" in str(error) else "read"
    address = _named(error)
    begin = f"{address}: cannot be {action}" if address else unnamed
    return f"{begin}: {reason(error, begin.partition('://')[0])}" if begin else ""


def _chain(error: BaseException) -> Iterator[Exception]:
    """Yield an error and the errors that caused it."""
    following: BaseException | None = error
    while isinstance(following, Exception):
        yield following
        following = following.__cause__


def _named(error: BaseException) -> str:
    """Return the last address in the text of an error, which is the innermost one."""
    found = _ADDRESS.findall(str(error))
    return found[-1].rstrip(":;,") if found else ""


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a store answered."""
    quoted = _QUOTE.search(str(error))
    if quoted and (number := quoted[1] or quoted[2]):
        return int(number)
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else None


def is_beyond_the_end(error: BaseException) -> bool:
    """Return whether a part of an object was asked for that begins after its last byte."""
    return any(_status(link) == _BEYOND_THE_END for link in _chain(error))


def is_forbidden(error: BaseException) -> bool:
    """Return whether an error is that of `gcsfs` for a missing permission."""
    return str(error).startswith("Forbidden")


def reason(error: BaseException, store: str) -> str:
    """Return why a store refused a request, in one line and without credentials.

    Args:
        error: the error of its client.
        store: the beginning of its addresses, such as "gs".
    """
    text = _SECRETS.sub("", one_line(error))
    code = _status(error)
    if isinstance(error, FileNotFoundError) or code == _MISSING:
        return "no such bucket or object; check the name"
    if isinstance(error, PermissionError) or is_forbidden(error) or code in (401, 403):
        return f"permission denied{_RIGHTS.get(store, '')}"
    if type(error).__name__ in ("DefaultCredentialsError", "RefreshError"):
        return f"no valid credentials{_SIGN_IN.get(store, '')}"
    if isinstance(error, ImportError):
        return f"no installed package can reach this store ({text})"
    shown = f"HTTP status {code}" if code else f"{type(error).__name__}: {text[:_LONGEST]}"
    return f"the store did not answer as expected ({shown}); repeat the command"
