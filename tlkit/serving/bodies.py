"""What was sent, read with limits that hold while it comes in, not only by what it says of itself."""

from __future__ import annotations

import json
from email.message import Message

import anyio
from starlette.requests import ClientDisconnect, Request

from tlkit.serving.refusal import Refusal

LARGEST_PICTURE = 20_000_000  # bytes: photos of phones have 2 to 12 million
LONGEST_TEXT = 100_000  # characters, about 40 pages
# One character takes at most 12 bytes in JSON (two escapes of six); the rest is for what is around the text.
_LARGEST_JSON = 12 * LONGEST_TEXT + 1_000
_SLOWEST = 60  # seconds for a whole body: on one machine it takes less than one


async def read_picture(request: Request) -> bytes:
    """The bytes of a picture's file.

    Raises:
        Refusal: When the content type is none of a picture, nothing is there, or too much.
    """
    kind = _content_type(request)
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise Refusal(
            415,
            f"A picture is expected, sent as it is, with a content type such as image/jpeg. {_received(kind)}",
        )
    body = await _read(request, LARGEST_PICTURE, f"The file is too large: at most {LARGEST_PICTURE // 10**6} MB.")
    if not body:
        raise Refusal(400, "The file is empty.")
    return body


async def read_text(request: Request) -> str:
    """The text in a body such as {"text": "where is my parcel?"}.

    Raises:
        Refusal: When it is no such body, in UTF-8, or the text is empty or too long.
    """
    kind = _content_type(request)
    if kind != "application/json":
        raise Refusal(415, f"A text is expected as application/json. {_received(kind)}")
    too_long = f"The text is too long: at most {LONGEST_TEXT:,} characters."
    body = await _read(request, _LARGEST_JSON, too_long)
    try:
        given = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal(400, "The text is not in UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise Refusal(400, 'This is no JSON. Expected {"text": "..."}.') from error
    text = given.get("text") if isinstance(given, dict) else None
    if not isinstance(text, str):
        raise Refusal(400, 'There is no text in it. Expected {"text": "..."}.')
    if not text.strip():
        raise Refusal(400, "The text is empty: type a few words.")
    if len(text) > LONGEST_TEXT:
        raise Refusal(413, f"{too_long} This one has {len(text):,}.")
    # Half a pair of surrogates, which JSON can hold, is no text: a question mark, as `predict` reads it.
    return text.encode(errors="replace").decode()


async def _read(request: Request, limit: int, too_much: str) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdigit() and (len(told) > 18 or int(told) > limit):
        raise Refusal(413, too_much)
    body = bytearray()
    try:
        with anyio.fail_after(_SLOWEST):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise Refusal(413, too_much)
    except ClientDisconnect as error:
        raise Refusal(400, "The upload was broken off.") from error
    except TimeoutError as error:
        raise Refusal(408, f"The upload took more than {_SLOWEST} seconds.") from error
    return bytes(body)


def _content_type(request: Request) -> str:
    """Without parameters, in lower case; empty where there is none."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "")
    return message.get_content_type() if request.headers.get("content-type") else ""


def _received(kind: str) -> str:
    return f"This came as '{kind[:80]}'." if kind else "This came without one."
