"""What every answer says to the browser, and whose pages may ask."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SafeHeaders:
    """Middleware: an answer belongs to the page of this server alone, and other sites' pages get none.

    A browser sends along which page a question comes from (`Origin`); programs such as curl do not, and may ask.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, "Content-Security-Policy": self.policy()}.items():
                    headers.setdefault(name, value)
            await send(message)

        asked = Headers(scope=scope)
        origin = asked.get("origin")
        if origin is not None and urlsplit(origin).netloc != asked.get("host"):
            refused = JSONResponse({"error": "Only the page of this server may ask."}, 403)
            await refused(scope, receive, send_safely)
            return
        await self.app(scope, receive, send_safely)

    @staticmethod
    def policy(nonce: str | None = None) -> str:
        """The content security policy: nothing from outside; with a nonce, the script and style that carry it."""
        own = f"'nonce-{nonce}'" if nonce else "'none'"
        return (
            f"default-src 'none'; script-src {own}; style-src {own}; img-src blob: data:; "
            f"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
