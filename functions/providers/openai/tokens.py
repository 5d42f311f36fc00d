"""How many tokens an OpenAI request has, about, and how many its answer may have.

A message costs three tokens beside its text and its role, the answer's beginning three more
(https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken). Images:
https://developers.openai.com/api/docs/guides/images-vision. Of a PDF the model gets the text and an
image of each page (https://developers.openai.com/api/docs/guides/pdf-files); a page's text is taken
as 500 tokens. Audio is ten tokens a second
(https://developers.openai.com/api/docs/guides/realtime-costs).
"""

from __future__ import annotations

from math import ceil

import msgspec

from functions.batch.reading.tokens import text_tokens
from functions.providers.content import (
    Record,
    as_json,
    is_list,
    is_record,
    positive,
    raw_json,
    record,
    string,
    tokens_of,
)
from functions.providers.media import UNSEEN, Media, from_base64, from_data_url

MESSAGE = 4
"""Three, and one for the role."""

ANSWER = 3
NAME = 1

_PAGE_TEXT = 500
_AUDIO_SECOND = 10

PATCH = 32
MOST_PATCHES = 1_536
PATCHED: dict[str, float] = {"mini": 1.62, "nano": 2.46, "o4-mini": 1.72}
"""Tokens for a patch of 32 x 32 pixels, by what is in the model's name."""

TILED: dict[str, tuple[int, int]] = {
    "gpt-4o-mini": (2_833, 5_667),
    "gpt-5": (70, 140),
    "gpt-4": (85, 170),
    "o1": (75, 150),
    "o3": (75, 150),
    "computer-use": (65, 129),
}
"""Tokens for an image, and for each tile of 512 x 512 pixels of it, by how the model's name begins.
Models that are not listed are counted like GPT-4o."""

_LEGACY_TOKENS = 16
"""What /v1/completions writes where a row does not say
(https://developers.openai.com/api/docs/api-reference/completions/create)."""

_IMAGE_OUTPUT = 6_240
"""Of the largest image in the best quality
(https://developers.openai.com/api/docs/guides/image-generation)."""

_UNWRITTEN = ("/v1/embeddings", "/v1/moderations", "/v1/videos")
"""Endpoints whose answers have no output tokens; videos are paid by the second."""


class Body(msgspec.Struct, gc=False):
    """What of a request the model reads, or what bounds the answer."""

    model: str | None = None
    stream: object = None
    n: object = None
    best_of: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    input: object = None
    instructions: object = None
    prompt: object = None
    tools: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()


class Message(msgspec.Struct, gc=False):
    content: object = None
    name: object = None
    tool_calls: object = None


class Chat(msgspec.Struct, gc=False):
    model: str | None = None
    stream: object = None
    n: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    messages: list[Message] = []
    tools: msgspec.Raw = msgspec.Raw()
    functions: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()


def chat_tokens(chat: Chat) -> float:
    messages = chat.messages
    tokens = base_tokens(len(messages))
    for message in messages:
        content = message.content
        if type(content) is str:
            tokens += text_tokens(content)
        else:
            tokens += _content(content, chat.model or "")
        if message.name or message.tool_calls:
            tokens += _rest(message)
    return tokens + json_tokens(chat)


def base_tokens(messages: int) -> float:
    """Beside the texts."""
    return ANSWER + MESSAGE * messages


def json_tokens(chat: Chat) -> float:
    """Of what the model reads as JSON."""
    if chat.tools or chat.functions or chat.response_format:
        return raw_json(chat.tools) + raw_json(chat.functions) + raw_json(chat.response_format)
    return 0.0


def input_tokens(endpoint: str, body: Body) -> float:
    """Of the endpoints other than chat completions."""
    model = body.model or ""
    if endpoint in ("/v1/embeddings", "/v1/moderations"):
        return _inputs(body.input, model)
    if endpoint != "/v1/responses":
        return _inputs(body.prompt, model)
    tokens = ANSWER + _items(body.input, model)
    if body.instructions is not None:
        tokens += MESSAGE + text_tokens(string(body.instructions))
    return tokens + raw_json(body.tools) + raw_json(body.text)


def _rest(message: Message) -> float:
    """A name, and calls of tools."""
    name = message.name
    tokens = NAME + text_tokens(name) if type(name) is str else 0.0
    return tokens + (as_json(message.tool_calls) if message.tool_calls else 0.0)


def _items(given: object, model: str) -> float:
    """The `input` of a response: a text, or messages, calls of tools and what they returned."""
    if type(given) is str:
        return MESSAGE + text_tokens(given)
    tokens = 0.0
    for item in given if is_list(given) else ():
        if is_record(item):
            tokens += MESSAGE
            if "content" in item:
                tokens += _content(item["content"], model)
            elif "output" in item:
                tokens += _content(item["output"], model)
            else:
                tokens += text_tokens(string(item.get("name")) + string(item.get("arguments")))
    return tokens


def _inputs(given: object, model: str) -> float:
    """Texts, or tokens: a list of numbers is one text, already cut."""
    tokens = 0.0
    for each in given if is_list(given) else (given,):
        if type(each) is str:
            tokens += text_tokens(each)
        elif is_record(each):
            tokens += _part(each, model)
        else:
            tokens += len(each) if is_list(each) else 1
    return tokens


def _content(content: object, model: str) -> float:
    return tokens_of(content, lambda part: _part(part, model))


def _part(part: Record, model: str) -> float:
    match part.get("type"):
        case "image_url":
            image = record(part.get("image_url"))
            return _image_url(string(image.get("url")), image.get("detail"), model)
        case "input_image":
            return _image_url(string(part.get("image_url")), part.get("detail"), model)
        case "input_audio":
            audio = record(part.get("input_audio"))
            mime = f"audio/{string(audio.get('format'))}"
            return media_tokens(from_base64(mime, string(audio.get("data"))), model)
        case "file":
            return _file(record(part.get("file")), model)
        case "input_file":
            return _file(part, model)
        case _:
            return text_tokens(string(part.get("text")) or string(part.get("refusal")))


def _image_url(url: str, detail: object, model: str) -> float:
    media = from_data_url(url) or UNSEEN["image"]
    return image_tokens(media, model, low=detail == "low")


def _file(file: Record, model: str) -> float:
    data = string(file.get("file_data"))
    if not data:
        return media_tokens(UNSEEN["document"], model)
    return media_tokens(from_data_url(data) or from_base64("application/pdf", data), model)


def media_tokens(media: Media, model: str) -> float:
    match media.kind:
        case "image":
            return image_tokens(media, model, low=False)
        case "document":
            return media.pages * (_PAGE_TEXT + image_tokens(UNSEEN["image"], model, low=False))
        case "text":
            return text_tokens(media.text)
        case "audio" | "video":
            return media.seconds * _AUDIO_SECOND


def image_tokens(media: Media, model: str, *, low: bool) -> float:
    """By patches or by tiles, as the model has it."""
    if not model.startswith("gpt-4o-mini"):
        factors = [factor for name, factor in PATCHED.items() if name in model]
        if factors:
            return _patches(media) * factors[-1]
    base, tile = next((cost for name, cost in TILED.items() if model.startswith(name)), (85, 170))
    return base if low else base + tile * _tiles(media)


def _patches(media: Media) -> int:
    patches = ceil(media.width / PATCH) * ceil(media.height / PATCH)
    return min(MOST_PATCHES, patches)


def _tiles(media: Media) -> int:
    """After the image was made to fit 2,048 x 2,048, and its shorter side 768 pixels."""
    width, height = max(1, media.width), max(1, media.height)
    scale = min(1.0, 2_048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    return ceil(width * scale / 512) * ceil(height * scale / 512)


def answers_of(endpoint: str, body: Body | Chat) -> tuple[int, int]:
    """How many answers a row asks for, and the most tokens that each may have: 0 where the row does
    not say. Without answers there are no output tokens."""
    if isinstance(body, Chat):
        most = body.max_completion_tokens or body.max_tokens
        return positive(body.n) or 1, positive(most)
    if endpoint in _UNWRITTEN:
        return 0, 0
    choices = positive(body.n) or 1
    if endpoint.startswith("/v1/images/"):
        return choices, _IMAGE_OUTPUT
    most = positive(body.max_output_tokens or body.max_tokens)
    if endpoint == "/v1/completions":
        choices = max(choices, positive(body.best_of)) * _prompts(body.prompt)
        most = most or _LEGACY_TOKENS
    return choices, most


def _prompts(prompt: object) -> int:
    if is_list(prompt) and prompt and type(prompt[0]) is not int:
        return len(prompt)
    return 1
