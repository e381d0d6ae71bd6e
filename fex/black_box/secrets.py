"""Secrets of a remote black box: read from the environment, refused in what is written down, hidden in messages."""

import html
import json
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlsplit

__all__ = ["check_address", "check_headers", "hidden", "public", "query_values", "read_token"]

# Names of query parameters and headers that carry secrets: key, api_key, access-token, X-Amz-Signature, Cookie, ...
SECRET_NAME = re.compile(
    r"(^|[_.-])(api)?(key|token|secret|passw(or)?d|pwd|sig|signature|auth|authorization|credentials?|cookie|code)$",
    re.I,
)
SHORTEST = 6  # characters of a query's value that is hidden; shorter ones are no secret and occur by chance


def public(url: str) -> str:
    """Scheme, host, port and path alone; user name, password, query and fragment are left out."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    except ValueError:  # a port that is no number may be a piece of a password
        return "an address that is none"
    return f"{parts.scheme}://{place}{parts.path}" if parts.scheme else place + parts.path


def check_address(url: str) -> None:
    """Refuses an address that cannot be asked, or that holds a secret; its text is not repeated.

    Raises:
        ValueError: no http(s) address, or one with a user name, a password or a key in its query.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[^\x21-\x7e]", url):
        raise ValueError(
            "Got a url that cannot be asked, expected an address that starts with http:// or https:// and names a "
            "host, without spaces or line breaks (other letters percent-encoded)."
        )
    if parts.username or parts.password:
        raise ValueError("The url holds a user name or password: put a token into a variable named by token_env.")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if SECRET_NAME.search(name):
            raise ValueError(
                f"The url's query holds {name!r}, which looks like a secret, and the url is written into configs: put "
                "it into a variable named by token_env; token_header says in which header it is sent."
            )


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuses headers that cannot be sent, or that would write a secret into the config; no value is repeated.

    Raises:
        ValueError: names the header.
    """
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", str(value)):
            raise ValueError(f"Header {name!r} cannot be sent: expected printable ASCII characters on one line.")
        if SECRET_NAME.search(name):
            raise ValueError(
                f"Header {name!r} looks like a secret, and headers are written into configs: put it into a variable "
                "named by token_env; token_header says in which header it is sent."
            )


def read_token(variable: str, name: str) -> str:
    """The token in an environment variable.

    Args:
        variable: its name.
        name: of the black box, for messages.

    Raises:
        ValueError: not set, or no token; its value is not repeated.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ValueError(
            f"Black box {name!r} takes its token from the environment variable {variable}, which is not set: export "
            "it before the run."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError(
            f"The environment variable {variable} holds no token for {name!r}: {len(token)} characters with spaces, "
            "line breaks or other signs among them, expected letters, digits and signs of ASCII. Export it again."
        )
    return token


def query_values(url: str) -> list[str]:
    """What an address has in its query, long enough to be a secret: a server may send it back."""
    query = urlsplit(url).query
    return [value for value in (query, *(value for _, value in parse_qsl(query))) if len(value) >= SHORTEST]


def hidden(text: str, secrets: Iterable[str]) -> str:
    """`text` with *** for each secret, as it stands or as URLs, JSON and HTML write it; case does not matter."""
    forms = {
        form for secret in secrets
        for form in (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], html.escape(secret))
        if form
    }  # fmt: skip
    if not forms:
        return text
    return re.sub("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)), "***", text, flags=re.I)
