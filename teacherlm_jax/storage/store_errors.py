"""Errors of a store: messages of one line that name the object and show no credentials."""

import re
from collections.abc import Iterator

from teacherlm_jax.errors import StoreError, one_line

_RIGHTS = {
    "gs": "; the account needs roles/storage.objectUser and "
    "roles/storage.legacyBucketReader on the bucket"
}
_SIGN_IN = {
    "gs": "; run gcloud auth application-default login, or give the machine a service account"
}
# Errors of the client of gs://.
_GOOGLE = {
    "gcsfs.retry.HttpError",
    "gcsfs.retry.ChecksumError",
    "gcsfs.retry.NonRetryableError",
    "google.auth.exceptions.GoogleAuthError",
}
# Errors of all clients. They are compared by name, because most of these packages are optional.
_CLIENTS = _GOOGLE | {
    "aiohttp.client_exceptions.ClientError",
    "azure.core.exceptions.AzureError",
    "botocore.exceptions.BotoCoreError",
    "botocore.exceptions.ClientError",
    "tensorflow.python.framework.errors_impl.OpError",
}
_UNAUTHENTICATED = ("DefaultCredentialsError", "RefreshError", "UnauthenticatedError")
# Google's words for an account that has to sign in again.
_SIGNED_OUT = re.compile(r"(?i)reauth|invalid_grant|invalid_rapt")
_ADDRESS = re.compile(r"(?:gs|s3|az|hf)://[^\s'\"\]]+")
# Parts of a message that may be credentials: the query of an address, a user and password in it, a
# header, a named value, a token.
_SECRETS = re.compile(
    r"\?[^\s'\"]+|(?<=://)[^/\s]+@"
    r"|(?i:\bauthorization['\"]?\s*[:=]\s*['\"]?(\w\S* )?\S+|\bbearer \S+)"
    r"|['\"]?[\w-]*(?i:token|secret|password|signature|credential|\bsig|[a-z_-]key)['\"]?"
    r"\s*[:=]\s*['\"]?[^\s'\",;&}]+"
    r"|\bya29\.\S+|\b1//\S+|\bhf_\w+|\bAKIA\w+"
)
# TensorStore's and ArrayRecord's quotes of an answer, and TensorStore's of a broken connection.
_QUOTE = re.compile(r"http_response_code='(\d+)'|\"code\": (\d+)|CURL error")
_STATUS = re.compile(r"[A-Z_]{5,}: ")  # begins TensorStore's errors
# Causes in Google's answer with status 403 that no role of the account changes.
_NO_MATTER_OF_RIGHTS = re.compile(r"(?i)\b(billing|quota|retention|hold)\b")
_MISSING, _BEYOND_THE_END, _FULL = 404, 416, 507
_LONGEST = 200  # characters of a client's own text


def explain(error: BaseException, unnamed: str = "") -> str | None:
    """Return the message for an error of a store or its client, or None for any other error.

    Libraries raise errors of a client in their own threads, as the cause of others.

    Args:
        error: the error.
        unnamed: beginning of the message if a client names no object, such as "gs://b/run: cannot
            be written".
    """
    if refused := refusal(error, unnamed):
        return str(refused)
    for link in _chain(error):
        if _QUOTE.search(str(link)) or (_STATUS.match(str(link)) and _named(link)):
            if message := _message(link, unnamed):
                return message
        elif is_forbidden(link) or _names(link) & _GOOGLE:
            begin = unnamed or f"{_named(link) or 'gs://'}: cannot be used"
            return f"{begin}: {reason(link, 'gs')}"
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
    addresses = _ADDRESS.findall(str(error))
    return addresses[-1].rstrip(":;,") if addresses else ""


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a store answered."""
    quoted = _QUOTE.search(str(error))
    if quoted and (number := quoted[1] or quoted[2]):
        return int(number)
    answer = getattr(error, "response", None)
    codes = (
        getattr(error, "code", 0),
        getattr(error, "status", 0),
        getattr(answer, "status_code", 0),
    )
    return next((code for code in codes if isinstance(code, int) and code), None)


def is_beyond_the_end(error: BaseException) -> bool:
    """Return whether a part of an object was asked for that begins after its last byte."""
    return any(_status(link) == _BEYOND_THE_END for link in _chain(error))


def is_forbidden(error: BaseException) -> bool:
    """Return whether an error is that of `gcsfs` for a missing permission."""
    return isinstance(error, OSError) and str(error).startswith("Forbidden")


def is_denied(error: BaseException) -> bool:
    """Return whether an error was caused by a missing permission, which no later attempt gives."""
    return any(map(_is_denied, _chain(error)))


def _is_denied(error: BaseException) -> bool:
    denied = isinstance(error, PermissionError) or type(error).__name__ == "PermissionDeniedError"
    return denied or is_forbidden(error) or _status(error) == 403


def is_signed_out(error: BaseException) -> bool:
    """Return whether Google refused to renew credentials, so that only signing in again helps."""
    return any(
        "RefreshError" in type(link).__name__ and _SIGNED_OUT.search(str(link))
        for link in _chain(error)
    )


def is_of_client(error: BaseException) -> bool:
    """Return whether a client of a store raises such an error for a request that failed.

    All others, such as AttributeError, are errors of a program.
    """
    if isinstance(error, OSError | ImportError):  # fsspec imports the client of a store
        return True
    bad_request = isinstance(error, ValueError) and str(error).startswith("Bad Request")  # gcsfs
    return bad_request or any(_names(link) & _CLIENTS for link in _chain(error))


def _names(error: BaseException) -> set[str]:
    """Return the full names of an error's class and of the classes that it derives from."""
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}


def clean(message: object) -> str:
    """Return an error's text in one line, without the parts that may be credentials."""
    return _SECRETS.sub("", one_line(message))


def reason(error: BaseException, store: str) -> str:
    """Return why a store refused a request, in one line and without credentials.

    Args:
        error: the error of its client.
        store: the beginning of its addresses, such as "gs".
    """
    text, kind, code = clean(error), type(error).__name__, _status(error)
    if code == 401 or any(type(link).__name__ in _UNAUTHENTICATED for link in _chain(error)):
        return f"no valid credentials{_SIGN_IN.get(store, '')}"
    if isinstance(error, FileNotFoundError) or code == _MISSING or kind == "NotFoundError":
        return "no such bucket or object; check the name"
    if _is_denied(error):
        words = clean(str(error).partition("\n")[2])  # of the store; gcsfs names the object before
        if _NO_MATTER_OF_RIGHTS.search(words):
            cause = words[:_LONGEST].rstrip(" ,.")
            return f"refused ({cause}); correct this, then repeat the command"
        return f"permission denied{_RIGHTS.get(store, '')}"
    if code == _FULL:
        return "the store has no space left (HTTP status 507); make room, then repeat the command"
    if isinstance(error, ImportError):
        return f"no installed package can reach this store ({text})"
    shown = f"HTTP status {code}" if code else f"{kind}: {text[:_LONGEST]}"
    return f"the store did not answer as expected ({shown}); repeat the command"
