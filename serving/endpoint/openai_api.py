"""A client of any OpenAI-compatible chat endpoint that takes images: limits, retries, and an account of its use."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scenes.png import data_uri, encode_png
from serving.endpoint.client import open_client
from serving.endpoint.config import EndpointConfig

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletionContentPartParam

T = TypeVar("T")

_PASSING = {408, 409, 425, 429}
_LONGEST_WAIT_S = 30.0
_QUOTA = "insufficient_quota"  # a 429 that no waiting ends
_LEAST_GIVEN_UP = 3
_PROBE = "Is this image grey? Answer yes or no."


class EndpointError(RuntimeError):
    """A question that got no usable answer. `permanent`: asking again would end in the same way."""

    def __init__(self, message: str, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class _Passing(Exception):
    """What may be over at the next try; `wait_s` is how long the endpoint asks to wait, if it says so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _RefusedOption(Exception):
    """The endpoint does not take an optional parameter, which is left out from now on."""


@dataclass(frozen=True)
class Reply:
    """The text of an answer; `cut_off` where the endpoint ended it at a limit of tokens."""

    text: str
    cut_off: bool


@dataclass
class Usage:
    """What was asked of an endpoint so far. `seconds` adds up over requests that ran at the same time."""

    requests: int = 0
    """HTTP requests sent, retries included."""
    retries: int = 0
    """Requests that repeated one which failed."""
    failures: int = 0
    """Questions given up."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_token_count: int = 0
    """Answers for which the endpoint did not say how many tokens they took."""
    seconds: float = 0.0


Images = np.ndarray | Sequence[np.ndarray]
Ask = Callable[[str, Images], Awaitable[Reply]]
"""Asks about an image (uint8, H×W×3), or several. Raises EndpointError where no usable answer came."""


class Endpoint:
    """One model behind one endpoint. `usage` counts everything that was asked of it.

    A request that fails in a way that may pass (no connection, no answer in time, 408, 409, 425, 429, 5xx) is repeated
    after a growing pause, or the one that the endpoint asks for, until `deadline_s`. After several questions in a row
    were given up like that, the endpoint counts as gone and nothing more is sent to it.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self.usage = Usage()
        self._options: dict[str, Any] = {"temperature": 0.0, "max_completion_tokens": config.max_tokens}
        self._given_up_in_a_row = 0

    def run(self, jobs: Sequence[Callable[[Ask], Awaitable[T]]]) -> list[T]:
        """Run jobs at the same time, each with a function that asks; `concurrency` requests are under way at most."""
        return asyncio.run(self._run(jobs))

    def probe(self) -> None:
        """Ask one small question about a grey image, within `timeout_s`.

        Raises:
            EndpointError: no answer; what a whole evaluation would run into.
        """

        async def job(ask: Ask) -> Reply:
            return await ask(_PROBE, np.full((64, 64, 3), 128, np.uint8))

        asyncio.run(self._run([job], self.config.timeout_s))

    async def _run(self, jobs: Sequence[Callable[[Ask], Awaitable[T]]], deadline_s: float | None = None) -> list[T]:
        slots = asyncio.Semaphore(self.config.concurrency)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(open_client(self.config))

            async def ask(text: str, image: Images) -> Reply:
                async with slots:
                    return await self._ask(client, text, image, deadline_s or self.config.deadline_s)

            return list(await asyncio.gather(*(job(ask) for job in jobs)))

    async def _ask(self, client: AsyncOpenAI, text: str, image: Images, deadline_s: float) -> Reply:
        ends = time.monotonic() + deadline_s
        urls = [data_uri(encode_png(one)) for one in ([image] if isinstance(image, np.ndarray) else image)]
        content: list[ChatCompletionContentPartParam] = [
            *({"type": "image_url", "image_url": {"url": url}} for url in urls),
            {"type": "text", "text": text},
        ]
        pause = self.config.pause_s
        if self._given_up_in_a_row >= max(_LEAST_GIVEN_UP, self.config.concurrency):
            self.usage.failures += 1
            raise EndpointError(f"{self.config.base_url} counts as gone, so it was not asked", permanent=False)
        reason = ""
        while True:
            limit_s = min(self.config.timeout_s, ends - time.monotonic())
            try:
                reply = await self._request(client, content, limit_s)
            except _RefusedOption:
                self.usage.retries += 1
                continue
            except _Passing as problem:
                if not reason or limit_s == self.config.timeout_s:  # else only the deadline cut it short
                    reason = str(problem)
                wait_s = pause * random.uniform(0.5, 1.0) if problem.wait_s is None else problem.wait_s
                if time.monotonic() + wait_s >= ends:  # no time is left for another try
                    self.usage.failures += 1
                    self._given_up_in_a_row += 1
                    raise EndpointError(f"{reason}; given up at the deadline of {deadline_s:g} s", False) from problem
                self.usage.retries += 1
                await asyncio.sleep(wait_s)
                pause = min(2 * pause, _LONGEST_WAIT_S)
            except EndpointError:
                self.usage.failures += 1
                self._given_up_in_a_row = 0
                raise
            else:
                self._given_up_in_a_row = 0
                return reply

    async def _request(
        self, client: AsyncOpenAI, content: list[ChatCompletionContentPartParam], limit_s: float
    ) -> Reply:
        from openai import APIConnectionError, APIStatusError, APITimeoutError, Omit

        options = dict(self._options)
        create = client.chat.completions.with_raw_response.create  # imports at its first use, which may take a second
        self.usage.requests += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):  # the HTTP client's own limit is one between two bytes
                raw = await create(
                    model=self.config.model,
                    messages=[{"role": "user", "content": content}],
                    extra_headers={} if self.config.api_key else {"Authorization": Omit()},
                    **options,
                )
        except (TimeoutError, APITimeoutError) as error:
            raise _Passing(f"no answer within {limit_s:.3g} s") from error
        except APIConnectionError as error:
            raise _Passing(f"no connection to {self.config.base_url}: {error.__cause__ or error}") from error
        except APIStatusError as error:
            raise self._status_problem(error, options) from error
        finally:
            self.usage.seconds += time.monotonic() - began
        return self._read(raw.text)

    def _status_problem(self, error: APIStatusError, options: dict[str, Any]) -> Exception:
        status = error.status_code
        reason = f"{status}: {self._shown(_message(error))}"
        if (status in _PASSING and error.code != _QUOTA) or status >= 500:
            return _Passing(reason, _asked_wait(error.response.headers.get("retry-after")))
        if status in (400, 422):
            for name in options:
                if error.param == name or name in _message(error):
                    self._options.pop(name, None)
                    return _RefusedOption()
        if status in (401, 403):
            # What the endpoint says may repeat a part of the key.
            sent = "the key in it was refused" if self.config.api_key else "it holds no key and the endpoint wants one"
            reason = f"{status}: see the environment variable {self.config.api_key_env}: {sent}"
        elif status == 404:
            reason += f" (is there a model {self.config.model!r}, and should the address end in /v1?)"
        return EndpointError(reason, permanent=True)

    def _read(self, body: str) -> Reply:
        """The reply in the body of a response, whose tokens are counted."""
        try:
            answer = json.loads(body)
            choice = answer["choices"][0]
            message = choice["message"]
            text = message.get("content")
            usage = answer.get("usage") or {}
            asked, answered = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise EndpointError(
                f"{self.config.base_url} answered with something else than a chat completion: {self._shown(body)}; "
                "the address of most endpoints ends in /v1",
                permanent=True,
            ) from error
        if isinstance(asked, int) and isinstance(answered, int):
            self.usage.prompt_tokens += asked
            self.usage.completion_tokens += answered
        else:
            self.usage.without_token_count += 1
        if isinstance(text, list):
            text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
        cut_off = choice.get("finish_reason") == "length"
        if not isinstance(text, str):
            if message.get("refusal"):
                raise EndpointError(f"the model refused: {self._shown(str(message['refusal']))}", permanent=True)
            if not cut_off:
                raise EndpointError(f"the answer holds no text, finish_reason {choice.get('finish_reason')!r}", True)
            text = ""
        return Reply(text, cut_off)

    def _shown(self, text: str) -> str:
        """The beginning of a text from outside, on one line and without the key."""
        key = self.config.api_key
        return " ".join((text.replace(key, "…") if key else text).split())[:200]


def _message(error: APIStatusError) -> str:
    """What the endpoint says about an error, or its whole body where that has no message."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return str(message or error.body or error.message)


def _asked_wait(header: str | None) -> float | None:
    """Seconds in a `Retry-After` header, which holds a number or a date; None where it holds neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
