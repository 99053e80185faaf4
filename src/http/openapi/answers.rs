//! What requests are answered: sound, captions, and errors as they are really made.

use std::{collections::BTreeMap, time::Duration};

use axum::http::header;
use serde_json::{Value, json};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        Content, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
        example::ExampleBuilder, extensions::ExtensionsBuilder, schema::SchemaType,
    },
};

use super::{
    super::{
        call, compat,
        elevenlabs_messages::Params,
        error::{ApiError, Envelope, Names},
        events::{OpenAiSpeechEvent, SpeechEvent},
        fields::{self, Fields},
        native, openai_request, request_id,
    },
    CONTENT_SCHEMA,
};
use crate::{
    audio::Format,
    chat::{ChatEvent, twitch::TokenError, webhook},
    error::Error,
};

pub(super) type Responses = BTreeMap<String, RefOr<Response>>;

/// The sample rate of the engine that comes with the program.
const EXAMPLE_RATE_HZ: u32 = 24_000;

/// The speech of `/v1/tts`.
pub struct Sound;
/// The speech of `/v1/audio/speech`.
pub struct OpenAiSound;
/// The captions of a speech.
pub struct CaptionFiles;
/// What any request may be answered.
pub struct EveryError;
/// What a request for one model may be answered.
pub struct ModelErrors;
/// What opening a WebSocket may be answered.
pub struct WebSocketErrors;
/// What opening the WebSocket for hotkeys may be answered.
pub struct HotkeyErrors;
/// What opening ElevenLabs' WebSocket may be answered.
pub struct StreamInputErrors;
/// What overlays are told.
pub struct ChatStream;
/// What any request about the chat may be answered.
pub struct ChatErrors;
/// What a request about one item of the chat may be answered.
pub struct ChatItemErrors;
/// What beginning to sign in with a platform may be answered.
pub struct SignInErrors;
/// What a signed message may be answered.
pub struct WebhookErrors;
/// What a request to speak may be answered.
pub struct SpeechErrors;
/// The same, with OpenAI's names.
pub struct OpenAiSpeechErrors;
/// The same, with those of the original.
pub struct OriginalSpeechErrors;

impl IntoResponses for Sound {
    fn responses() -> Responses {
        let events = [
            json!({"type": "start", "format": "pcm", "sample_rate_hz": EXAMPLE_RATE_HZ, "engine": "hibari",
                "voice": "heart", "seed": 5, "cached": false, "segments": 1}),
            json!({"type": "audio", "audio": "AAABAAIAAwA="}),
            json!({"type": "done", "audio_ms": 1250.0, "chars": 12}),
        ];
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let named = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
        let sse: String = events.iter().map(named).collect();
        let response = sound("Sound, or events: each of them a `SpeechEvent`.")
            .content("text/event-stream", event_stream(&SpeechEvent::name(), sse))
            .content(
                "application/jsonl",
                ContentBuilder::new().schema(Some(text())).example(Some(lines.into())).build(),
            );
        one("200", response)
    }
}

impl IntoResponses for OpenAiSound {
    fn responses() -> Responses {
        let events = [
            json!({"type": "speech.audio.delta", "audio": "AAABAAIAAwA="}),
            json!({"type": "speech.audio.done",
                "usage": {"input_tokens": 12, "output_tokens": 25, "total_tokens": 37}}),
        ];
        let sse: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let content = event_stream(&OpenAiSpeechEvent::name(), sse);
        one(
            "200",
            sound("Sound, or events: each of them an `OpenAiSpeechEvent`.").content("text/event-stream", content),
        )
    }
}

impl IntoResponses for CaptionFiles {
    fn responses() -> Responses {
        let json = ContentBuilder::new().schema(Some(Ref::from_schema_name(native::Captions::name()))).build();
        let file = |example: &str| ContentBuilder::new().schema(Some(text())).example(Some(example.into())).build();
        let cue = "It costs $100.";
        let response = described("Captions in the asked format.")
            .content("application/json", json)
            .content("application/x-subrip", file(&format!("1\n00:00:00,000 --> 00:00:01,250\n{cue}\n\n")))
            .content("text/vtt", file(&format!("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\n{cue}\n\n")));
        one("200", response)
    }
}

impl IntoResponses for EveryError {
    fn responses() -> Responses {
        by_status(vec![ApiError::host_not_allowed(), ApiError::panicked()])
    }
}

impl IntoResponses for ModelErrors {
    fn responses() -> Responses {
        let bad = Error::invalid("invalid_value", Some("model"), "the model's name is not UTF-8");
        let unknown = Error::UnknownModel { name: "gpt-4".to_owned() };
        by_status(vec![bad.into(), unknown.into(), ApiError::host_not_allowed(), ApiError::panicked()])
    }
}

impl IntoResponses for WebSocketErrors {
    fn responses() -> Responses {
        by_status(websocket_errors())
    }
}

impl IntoResponses for HotkeyErrors {
    fn responses() -> Responses {
        by_status(websocket_errors().into_iter().chain(token_errors()).collect())
    }
}

impl IntoResponses for StreamInputErrors {
    fn responses() -> Responses {
        let format = Params { output_format: Some("mp3_44100_128".to_owned()), ..Params::default() };
        let text = |message: &str| message.to_owned();
        let own = [
            Error::invalid("invalid_value", Some("voice"), "the voice is not UTF-8"),
            Error::UnknownVoice { name: text("hart"), nearest: Some(text("heart")) },
            Error::UnknownModel { name: text("gpt-4") },
            Error::Loading { engine: text("hibari") },
            Error::ShuttingDown,
        ];
        let told = format.sample_rate_hz().err().into_iter().chain(own).map(ApiError::from);
        by_status(told.chain(websocket_errors()).collect())
    }
}

fn websocket_errors() -> Vec<ApiError> {
    vec![
        ApiError::websocket_expected("Connection header did not include 'upgrade'"),
        ApiError::host_not_allowed(),
        ApiError::origin_not_allowed(),
        ApiError::panicked(),
    ]
}

impl IntoResponses for ChatStream {
    fn responses() -> Responses {
        let events = [
            json!({"type": "hello", "overlay": "obs-1", "speaking": true, "paused": false, "volume": 1.0,
                "grace_ms": 2000, "items": []}),
            json!({"type": "item", "id": "5f0c12ab-17", "sequence": 17, "platform": "twitch", "user": "Ann",
                "text": "Hello there!", "voice": "heart", "priority": "everyone", "paid": null,
                "audio_url": "/v1/chat/items/5f0c12ab-17/audio?token=…",
                "speech_url": "/v1/chat/items/5f0c12ab-17/speech?token=…", "volume": 1.0}),
        ];
        let sse: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        let response = described("Events: each of them a `ChatEvent`.")
            .content("text/event-stream", event_stream(&ChatEvent::name(), sse));
        let mut all = one("200", response);
        let opened = described("A WebSocket with the same objects, if one was asked for.");
        all.extend(one("101", opened));
        let mut errors = chat_errors();
        errors.extend(token_errors());
        errors.push(ApiError::websocket_expected("the request is no upgrade"));
        all.extend(by_status(errors));
        all
    }
}

impl IntoResponses for ChatErrors {
    fn responses() -> Responses {
        by_status(chat_errors().into_iter().chain(token_errors()).collect())
    }
}

impl IntoResponses for WebhookErrors {
    fn responses() -> Responses {
        use webhook::Refusal;
        let body = Refusal::Body("the body has no \"user\"".to_owned());
        let refusals = [Refusal::Disabled, Refusal::Signature, Refusal::Time, Refusal::Replayed, Refusal::Flood, body];
        let told = refusals.iter().map(ApiError::webhook);
        by_status(chat_errors().into_iter().chain(told).collect())
    }
}

impl IntoResponses for SignInErrors {
    fn responses() -> Responses {
        let refused = TokenError::Refused("set chat.twitch.client_id".to_owned());
        let unreachable = TokenError::Unreachable("id.twitch.tv: no answer within 15 s".to_owned());
        let told = [&refused, &unreachable].map(ApiError::sign_in);
        by_status(chat_errors().into_iter().chain(told).chain(token_errors()).collect())
    }
}

impl IntoResponses for ChatItemErrors {
    fn responses() -> Responses {
        let mut errors = chat_errors();
        errors.extend([
            Error::UnknownItem { id: "5f0c12ab-17".to_owned() }.into(),
            Error::Refused { message: "hibari cannot say \"你好\": it speaks English".to_owned() }.into(),
            Error::EngineFailed { engine: "hibari".to_owned(), message: "it made no sound".to_owned() }.into(),
            Error::Deadline { waited: Duration::from_secs(30) }.into(),
        ]);
        errors.extend(token_errors());
        by_status(errors)
    }
}

fn token_errors() -> [ApiError; 2] {
    [ApiError::no_token(), ApiError::wrong_token()]
}

fn chat_errors() -> Vec<ApiError> {
    let text = |message: &str| message.to_owned();
    let own = [
        Error::invalid("invalid_json", None, "the body is not the JSON object that is expected: missing field `user`"),
        Error::invalid("invalid_value", Some("platform"), "\"platform\" must be a name"),
        Error::invalid("invalid_query", None, "the query: Failed to deserialize query string"),
        Error::invalid("body_incomplete", None, "the body ended before its end"),
        Error::UnknownVoice { name: text("hart"), nearest: Some(text("heart")) },
        Error::TooSlow,
        Error::Busy { retry_after: Duration::from_secs(5) },
        Error::Loading { engine: text("hibari") },
        Error::ShuttingDown,
        Error::ChatUnavailable { message: text("chat.sqlite3: is damaged; move it away to begin anew") },
    ];
    let of_http = [
        ApiError::host_not_allowed(),
        ApiError::origin_not_allowed(),
        ApiError::body_too_slow(Duration::from_secs(60)),
        ApiError::body_too_large(1 << 20),
        ApiError::panicked(),
    ];
    own.into_iter().map(ApiError::from).chain(of_http).collect()
}

impl IntoResponses for SpeechErrors {
    fn responses() -> Responses {
        speech_errors(native::NAMES)
    }
}

impl IntoResponses for OpenAiSpeechErrors {
    fn responses() -> Responses {
        speech_errors(openai_request::NAMES)
    }
}

impl IntoResponses for OriginalSpeechErrors {
    fn responses() -> Responses {
        speech_errors(compat::NAMES)
    }
}

fn speech_errors(names: Names) -> Responses {
    let checked = [
        Fields::parse(b"{\"text\": }", &[]).err(),
        Fields::parse(b"\"\xff\"", &[]).err(),
        Fields::of_query(vec![("text".into(), "a".into()), ("text".into(), "b".into())], &["text"], &["text"]).err(),
        fields::text(names.text, Value::Null).err(),
        fields::speed(&json!(9)).err(),
        fields::format("format", json!("midi")).err(),
    ];
    let text = |message: &str| message.to_owned();
    let later = [
        Error::invalid("invalid_query", None, "the query: Failed to deserialize query string"),
        Error::invalid("body_incomplete", None, "the body ended before its end"),
        Error::invalid(
            "nothing_to_say",
            Some("input"),
            "there is nothing to say: the text has no letters and no digits",
        ),
        Error::invalid("invalid_parameter", None, "the engine knows no parameter \"depth\""),
        Error::invalid(
            "voice_not_cloned",
            Some("voice"),
            "the voice \"mine\" is a clip to clone, which no engine here can",
        ),
        Error::UnknownVoice { name: text("hart"), nearest: Some(text("heart")) },
        Error::UnknownModel { name: text("gpt-4") },
        Error::TooSlow,
        Error::TextTooLong { chars: 120_000, limit: 100_000 },
        Error::Refused { message: text("hibari cannot say \"你好\": it speaks English") },
        Error::Busy { retry_after: Duration::from_secs(3) },
        Error::EngineFailed { engine: text("hibari"), message: text("it made no sound") },
        Error::Loading { engine: text("hibari") },
        Error::ShuttingDown,
        Error::Deadline { waited: Duration::from_secs(30) },
    ];
    let told = checked.into_iter().flatten().chain(later).map(|error| ApiError::about(error, names));
    let of_http = [
        ApiError::host_not_allowed(),
        ApiError::origin_not_allowed(),
        ApiError::body_too_slow(Duration::from_secs(60)),
        ApiError::body_too_large(1 << 20),
        ApiError::panicked(),
    ];
    let of_forms = super::voices::form_errors("reference_audio");
    by_status(told.chain(of_http).chain(if names == native::NAMES { of_forms } else { Vec::new() }).collect())
}

/// One answer for each status, with an example for each code.
pub(super) fn by_status(errors: Vec<ApiError>) -> Responses {
    let mut statuses: BTreeMap<String, Vec<ApiError>> = BTreeMap::new();
    for error in errors {
        let known = statuses.entry(error.status().as_str().to_owned()).or_default();
        if known.iter().all(|other| other.code() != error.code()) {
            known.push(error);
        }
    }
    let response = |errors: Vec<ApiError>| {
        let codes: Vec<_> = errors.iter().map(|error| format!("`{}`", error.code())).collect();
        let examples = errors.iter().map(|error| {
            let value = json!({ "error": error.to_json() });
            (error.code(), RefOr::T(ExampleBuilder::new().value(Some(value)).build()))
        });
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Envelope::name())))
            .examples_from_iter(examples)
            .build();
        let mut response = described(&codes.join(", ")).content("application/json", content);
        if errors.iter().any(|error| error.retry_after_s().is_some()) {
            let seconds = told("When to try again, s", integer());
            response = response.header(header::RETRY_AFTER.as_str(), seconds);
        }
        RefOr::T(response.build())
    };
    statuses.into_iter().map(|(status, errors)| (status, response(errors))).collect()
}

fn sound(description: &str) -> ResponseBuilder {
    let of = |name: &axum::http::HeaderName| name.as_str().to_owned();
    let mut response = described(description)
        .header(of(&call::SAMPLE_RATE_HZ), told("Of the sound", integer()))
        .header(of(&call::SEED), told("Given again, it gives the same sound", integer()))
        .header(of(&call::ENGINE), told("Which engine speaks", text()))
        .header(of(&call::VOICE), told("Which voice speaks", text()))
        .header(of(&call::CACHE), told("`hit`: nothing had to be spoken; else `miss`", text()))
        .header(
            of(&call::PARAMS),
            told("JSON: what the engine chose for the first segment where `params` left the choice to it", text()),
        )
        .header(of(&call::IGNORED), told("Names of fields that changed nothing", text()));
    for format in Format::ALL {
        let kind = format.content_type(EXAMPLE_RATE_HZ);
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let bytes = ObjectBuilder::new().schema_type(SchemaType::AnyValue).content_media_type(kind.clone()).build();
        response = response.content(kind, ContentBuilder::new().schema(Some(Schema::from(bytes))).build());
    }
    response
}

/// Server-sent events, whose data are JSON of the named schema.
fn event_stream(schema: &str, example: String) -> Content {
    let reference = serde_json::to_value(Ref::from_schema_name(schema)).unwrap_or_default();
    let data = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .content_media_type("application/json")
        .extensions(Some(ExtensionsBuilder::new().add(CONTENT_SCHEMA, reference).build()));
    let event = ObjectBuilder::new().property("event", text()).property("data", data).required("data");
    ContentBuilder::new().schema(Some(Schema::from(event))).example(Some(example.into())).build()
}

pub(super) fn described(description: &str) -> ResponseBuilder {
    let id = told("Of this answer, also in the log; the request's own if it has one", text());
    ResponseBuilder::new().description(description).header(request_id::HEADER.as_str(), id)
}

pub(super) fn one(status: &str, response: ResponseBuilder) -> Responses {
    BTreeMap::from([(status.to_owned(), RefOr::T(response.build()))])
}

fn told(description: &str, schema: Schema) -> utoipa::openapi::Header {
    HeaderBuilder::new().description(Some(description)).schema(schema).build()
}

fn text() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).build().into()
}

fn integer() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).build().into()
}
