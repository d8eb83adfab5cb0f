"""One bounded HTTP exchange with the device layer, its failures told apart."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import httpx
import httpx_sse
from pydantic import TypeAdapter, ValidationError

from gently import local_key
from gently.wire.errors import DeviceLayerFault, DeviceLayerUnreachable, Refused
from gently.wire.replies import FieldError

DEFAULT_URL: Final = "http://127.0.0.1:60610"
QUIET_S: Final = 30.0
"""A stream silent for this long is taken for dead: the device layer sends keep-alives."""

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})
T = TypeVar("T")


class Transport:
    """Connections to one device layer; may be used from several threads.

    Parameters
    ----------
    url : str
        Address of the device layer, without `/api`.
    timeout_s : float
        How long connecting, sending or waiting for an answer may take.
    api_key : str, optional
        The key to come with; without it, the one of this machine, if the address is one of
        this machine.

    Raises
    ------
    ValueError
        If `url` is no http address.
    """

    def __init__(self, url: str, timeout_s: float, api_key: str | None = None) -> None:
        self.url = _checked_url(url)
        self._api_key = api_key
        # The device layer is on this machine: a proxy of the environment is never the way.
        self._http = httpx.Client(
            base_url=f"{self.url}/api/", timeout=timeout_s, trust_env=False, auth=self._with_key
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, int] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Return the JSON object answered, or raise a `ClientError` that says why not."""
        timeout = self._http.timeout if timeout_s is None else httpx.Timeout(timeout_s)
        with self._translated(changing=method != "GET"):
            response = self._http.request(method, path, params=query, json=body, timeout=timeout)
        return _checked(response)

    @contextlib.contextmanager
    def stream(self, path: str, query: Mapping[str, str], after: int | None) -> Iterator["Stream"]:
        """Open a stream of server-sent events, replayed from after that sequence number."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        timeout = httpx.Timeout(self._http.timeout.connect, read=QUIET_S)
        with (
            self._translated(changing=False),
            httpx_sse.connect_sse(
                self._http, "GET", path, params=dict(query), headers=headers, timeout=timeout
            ) as source,
        ):
            if source.response.status_code != httpx.codes.OK:
                source.response.read()
                _checked(source.response)
            yield Stream(source)

    def _with_key(self, request: httpx.Request) -> httpx.Request:
        """Add the key, which the device layer may have made since the last request."""
        if self._api_key is None and request.url.host in _THIS_MACHINE:
            try:
                self._api_key = local_key.find()
            except local_key.LocalKeyError as error:
                raise Refused(str(error), status_code=httpx.codes.UNAUTHORIZED) from error
        if self._api_key is not None:
            request.headers["Authorization"] = f"ApiKey {self._api_key}"
        return request

    @contextlib.contextmanager
    def _translated(self, *, changing: bool) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise DeviceLayerUnreachable(self.url, _cause(error, changing=changing)) from error
        except httpx_sse.SSEError as error:
            raise DeviceLayerFault(f"{self.url} sent no event stream: {error}") from error


class Stream:
    """An open stream of server-sent events: the name and the text of each."""

    def __init__(self, source: httpx_sse.EventSource) -> None:
        self._source = source

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for message in self._source.iter_sse():
            yield message.event, message.data

    def hang_up(self) -> None:
        """Wake the thread that reads the stream: it sees the end of it. From any thread."""
        connection = self._source.response.extensions["network_stream"].get_extra_info("socket")
        # Gone already: then nobody reads it.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def read(kind: type[T], value: object) -> T:
    """Return a part of an answer as a value of that type.

    Raises
    ------
    DeviceLayerFault
        If it is none.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise DeviceLayerFault(
            f"the device layer's answer is not what this client expects: {error}. "
            "Do both come from the same version of gently?"
        ) from error


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no address ({error}); write it like {DEFAULT_URL}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"{url!r} is no http address; write it like {DEFAULT_URL}")
    return str(parsed).rstrip("/")


def _checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer, or raise what its status code means."""
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise DeviceLayerFault(
            f"the device layer failed on {response.request.method} {response.url} "
            f"(HTTP {response.status_code}); its log has the cause"
        )
    try:
        reply = response.json()
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise DeviceLayerFault(
            f"{response.url} answered HTTP {response.status_code} with no JSON object: "
            "is another program at this address? The device layer prints its own at start"
        )
    if response.status_code >= httpx.codes.BAD_REQUEST:
        detail = str(reply.get("detail") or f"HTTP {response.status_code}")
        errors = read(list[FieldError], reply.get("errors") or [])
        raise Refused(detail, errors, response.status_code)
    return reply


def _cause(error: httpx.TransportError, *, changing: bool) -> str:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return "nothing listens there"
        case httpx.TimeoutException() if changing:
            return "no answer in time; whether the request was accepted, `queue` and `status` tell"
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return f"the connection broke ({error or type(error).__name__})"
