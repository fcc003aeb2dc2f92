"""An S3 server between a client and the real one, that fails at random: what a busy object storage
does, a hundred times as often."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import aiohttp
from aiohttp import web

FAULTS = ("503", "500", "reset", "lost answer", "truncated")
ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>{code}</Code><Message>made to fail</Message></Error>"
)
CODES = {"503": "SlowDown", "500": "InternalError"}
BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "expect",
}  # of one connection, not of the request
LARGEST_BODY = 1 << 30


class FaultyS3:
    """Passes requests on to an S3 server as they are, signature and all, but for some that fail.

    Parameters
    ----------
    endpoint
        Of the real server.
    share
        The share of requests that fail in each way of ``FAULTS``: answered 503, answered 500, the
        connection reset before the request was passed on, reset after it was done, the answer cut
        off in the middle of its body.
    """

    def __init__(self, endpoint: str, share: float, seed: int = 0) -> None:
        self.target, self.share, self.next = endpoint, share, list[str]()
        self.requests, self.faults, self.waiting = 0, Counter[str](), 0
        self.reads, self.writes = list[tuple[float, str]](), list[tuple[float, str]]()
        self._random = random.Random(seed)
        self._holds: Callable[[str], bool] = lambda path: False
        self._released = threading.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if request.method == "GET" and not request.query:
            self.reads.append((time.monotonic(), request.path))
        body = await request.read()
        if request.method == "PUT" and self._holds(request.path):
            self.waiting += 1
            await asyncio.to_thread(self._released.wait)
        fault = self._fault()
        if fault in CODES:
            text = "" if request.method == "HEAD" else ERROR.format(code=CODES[fault])
            return web.Response(status=int(fault), text=text, content_type="application/xml")
        if fault == "reset":
            return self._reset(request)
        headers = [
            (name, value) for name, value in request.headers.items() if name.lower() not in BY_HOP
        ]  # Host too: it is signed
        async with self._client.request(
            request.method, self.target + request.raw_path, headers=headers, data=body
        ) as answered:
            content = await answered.read()
            if request.method == "PUT":
                self.writes.append((time.monotonic(), request.path))
            if fault == "lost answer":
                return self._reset(request)
            response = web.StreamResponse(status=answered.status, reason=answered.reason)
            response.headers.extend(
                (name, value)
                for name, value in answered.headers.items()
                if name.lower() not in BY_HOP
            )
            await response.prepare(request)
            if fault == "truncated" and len(content) > 1:
                await response.write(content[: len(content) // 2])
                return self._reset(request)
            if request.method != "HEAD":
                await response.write(content)
            return response

    @contextlib.contextmanager
    def held(self, pattern: str, after: int = 0) -> Iterator[None]:
        """While a ``with`` block runs, writes of objects whose names match wait until it ends, from
        when so many of them are done."""
        matches, before, self.waiting = re.compile(pattern).search, len(self.writes), 0
        self._holds = lambda path: (
            bool(matches(path))
            and sum(bool(matches(name)) for _, name in self.writes[before:]) >= after
        )
        try:
            yield
        finally:
            self._holds = lambda path: False
            self._released.set()
            self._released = threading.Event()

    def _fault(self) -> str | None:
        if self.next:
            return self.next.pop(0) or None
        draw = self._random.random()
        if draw >= self.share * len(FAULTS):
            return None
        fault = FAULTS[int(draw / self.share)]
        self.faults[fault] += 1
        return fault

    def _reset(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # nobody hears it

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """The endpoint of the failing server while a ``with`` block runs."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="failing S3", daemon=True)
        thread.start()
        runner, port = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(runner), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> tuple[web.AppRunner, int]:
        self._client = aiohttp.ClientSession(
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    async def _stop(self, runner: web.AppRunner) -> None:
        await self._client.close()
        await runner.cleanup()
