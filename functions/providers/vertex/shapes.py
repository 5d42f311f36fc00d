"""What the fields of a Gemini request hold, as far as they are not strings.

Held to Google's discovery document by a test. A field that is not here, or lies in free-form data
(a function's arguments), is expected to be a string; one that is none is still sent, see
`functions.providers.vertex.importing`. Counts of a schema (`maxItems`) are int64, which JSON may
spell as strings; everybody writes numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

NUMBER: Final = "number"
BOOLEAN: Final = "boolean"
STRING: Final = "string"

EACH: Final = "*"
"""Stands for every key of a map."""


class Fields:
    """An object. `omissible`: an empty one says the same as none. `notes`: keys that only
    describe, and may be left out."""

    def __init__(
        self,
        fields: Mapping[str, Shape] | None = None,
        *,
        omissible: bool = False,
        notes: frozenset[str] = frozenset(),
    ) -> None:
        self.fields: dict[str, Shape] = dict(fields or {})
        self.omissible = omissible
        self.notes = notes

    def of(self, name: str) -> Shape:
        """What a key holds, spelled in camel case or with underscores."""
        shape = self.fields.get(name)
        if shape is None and "_" in name:
            shape = self.fields.get(camel(name))
        return shape or self.fields.get(EACH, STRING)


class ListOf:
    def __init__(self, item: Shape) -> None:
        self.item = item


Shape = str | Fields | ListOf


@lru_cache(1024)
def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


FREE: Final = Fields()
_STRINGS = ListOf(STRING)

SCHEMA: Final = Fields(notes=frozenset({"$schema", "$comment"}))
_SCHEMAS = ListOf(SCHEMA)
_NAMED_SCHEMAS = Fields({EACH: SCHEMA}, omissible=True)
SCHEMA.fields.update(
    {
        "additionalProperties": BOOLEAN,
        "allOf": _SCHEMAS,
        "anyOf": _SCHEMAS,
        "defs": _NAMED_SCHEMAS,
        "enum": _STRINGS,
        "exclusiveMaximum": NUMBER,
        "exclusiveMinimum": NUMBER,
        "items": SCHEMA,
        "maxItems": NUMBER,
        "maxLength": NUMBER,
        "maxProperties": NUMBER,
        "maximum": NUMBER,
        "minItems": NUMBER,
        "minLength": NUMBER,
        "minProperties": NUMBER,
        "minimum": NUMBER,
        "multipleOf": NUMBER,
        "nullable": BOOLEAN,
        "oneOf": _SCHEMAS,
        "prefixItems": _SCHEMAS,
        "properties": _NAMED_SCHEMAS,
        "propertyOrdering": _STRINGS,
        "required": _STRINGS,
        "uniqueItems": BOOLEAN,
    }
)

PART: Final = Fields(
    {
        "codeExecutionResult": FREE,
        "executableCode": FREE,
        "fileData": FREE,
        "functionCall": Fields({"args": Fields(omissible=True), "willContinue": BOOLEAN}),
        "functionResponse": Fields({"response": FREE}),
        "inlineData": FREE,
        "mediaResolution": FREE,
        "thought": BOOLEAN,
        "videoMetadata": Fields({"fps": NUMBER}),
    }
)
CONTENT: Final = Fields({"parts": ListOf(PART)})

THINKING: Final = Fields({"includeThoughts": BOOLEAN, "thinkingBudget": NUMBER}, omissible=True)
_VOICE = Fields({"prebuiltVoiceConfig": FREE, "replicatedVoiceConfig": FREE})
_SPEAKERS = Fields({"speakerVoiceConfigs": ListOf(Fields({"voiceConfig": _VOICE}))})

GENERATION: Final = Fields(
    {
        "audioTimestamp": BOOLEAN,
        "candidateCount": NUMBER,
        "enableAffectiveDialog": BOOLEAN,
        "frequencyPenalty": NUMBER,
        "imageConfig": Fields({"imageOutputOptions": Fields({"compressionQuality": NUMBER})}),
        "logprobs": NUMBER,
        "maxOutputTokens": NUMBER,
        "presencePenalty": NUMBER,
        "responseJsonSchema": SCHEMA,
        "responseLogprobs": BOOLEAN,
        "responseModalities": _STRINGS,
        "responseSchema": SCHEMA,
        "routingConfig": Fields({"autoMode": FREE, "manualMode": FREE}),
        "seed": NUMBER,
        "speechConfig": Fields({"multiSpeakerVoiceConfig": _SPEAKERS, "voiceConfig": _VOICE}),
        "stopSequences": _STRINGS,
        "temperature": NUMBER,
        "thinkingConfig": THINKING,
        "topK": NUMBER,
        "topP": NUMBER,
    },
    omissible=True,
)

FUNCTION: Final = Fields(
    {
        "parameters": SCHEMA,
        "parametersJsonSchema": SCHEMA,
        "response": SCHEMA,
        "responseJsonSchema": SCHEMA,
    }
)
TOOL: Final = Fields(
    {
        "codeExecution": FREE,
        "enterpriseWebSearch": Fields({"excludeDomains": _STRINGS}),
        "functionDeclarations": ListOf(FUNCTION),
        "googleMaps": Fields({"enableWidget": BOOLEAN}),
        "googleSearch": Fields({"excludeDomains": _STRINGS}),
        "googleSearchRetrieval": Fields(
            {"dynamicRetrievalConfig": Fields({"dynamicThreshold": NUMBER})}
        ),
        "urlContext": FREE,
    }
)
TOOL_CONFIG: Final = Fields(
    {
        "functionCallingConfig": Fields(
            {"allowedFunctionNames": _STRINGS, "streamFunctionCallArguments": BOOLEAN}
        ),
        "retrievalConfig": Fields({"latLng": Fields({"latitude": NUMBER, "longitude": NUMBER})}),
    },
    omissible=True,
)
EMBED_CONFIG: Final = Fields(
    {
        "audioTrackExtraction": BOOLEAN,
        "autoTruncate": BOOLEAN,
        "documentOcr": BOOLEAN,
        "outputDimensionality": NUMBER,
    },
    omissible=True,
)

GENERATE_REQUEST: Final = Fields(
    {
        "contents": ListOf(CONTENT),
        "generationConfig": GENERATION,
        "labels": Fields(omissible=True),
        "modelArmorConfig": FREE,
        "safetySettings": ListOf(FREE),
        "systemInstruction": CONTENT,
        "toolConfig": TOOL_CONFIG,
        "tools": ListOf(TOOL),
    }
)
EMBED_REQUEST: Final = Fields(
    {
        "autoTruncate": BOOLEAN,
        "content": CONTENT,
        "embedContentConfig": EMBED_CONFIG,
        "outputDimensionality": NUMBER,
    }
)
