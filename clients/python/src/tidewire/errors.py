"""What goes wrong, as exceptions."""

from __future__ import annotations

import httpx

from .models.field_error import FieldError
from .models.problem import Problem


class TidewireError(Exception):
    """What the server refused, or an answer that is not Tidewire's."""


class ApiError(TidewireError):
    """The server's answer is a problem (RFC 9457)."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        self.problem = problem
        #: The seconds that the server asks to wait before the request is sent again.
        self.retry_after = retry_after
        places = "".join(f"; {error.pointer or '/'}: {error.detail}" for error in self.errors)
        super().__init__(f"{problem.status}: {problem.detail}{places} (request {problem.request_id})")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def kind(self) -> str:
        """What kind of problem it is, such as `conflict`."""
        return self.problem.type_.rpartition(":")[2]

    @property
    def errors(self) -> list[FieldError]:
        """Each place in the request that breaks a rule."""
        return self.problem.errors or []


class UnexpectedAnswer(TidewireError):
    """An answer that the API's description does not know: a proxy's, or another server's."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        text = response.text[:200] if response.is_closed else ""
        super().__init__(f"{response.status_code} from {response.request.url}: {text}")


def retry_after(response: httpx.Response) -> float | None:
    """The seconds of `Retry-After`; Tidewire sends no dates in it."""
    try:
        return max(0.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def error(response: httpx.Response) -> TidewireError:
    """The exception that an answer is. Its body has been read."""
    try:
        return ApiError(Problem.from_dict(response.json()), retry_after(response))
    except (ValueError, KeyError, TypeError, AttributeError):
        return UnexpectedAnswer(response)
