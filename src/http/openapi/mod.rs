//! `/openapi.json`: what every path takes and answers. Paths are described at their handlers, fields and errors are taken
//! from what checks and makes them.

mod answers;
mod requests;
mod voices;

use std::sync::OnceLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};

pub use self::{
    answers::{
        CaptionFiles, ChatErrors, ChatItemErrors, ChatStream, EveryError, HotkeyErrors, ModelErrors, OpenAiSound,
        OpenAiSpeechErrors, OriginalSpeechErrors, SignInErrors, Sound, SpeechErrors, StreamInputErrors,
        WebSocketErrors, WebhookErrors,
    },
    requests::{
        CaptionRequest, OpenAiSpeechRequest, OriginalReferenceUpload, OriginalSpeechRequest, PlayQuery, PreviewRequest,
        SpeechForm, SpeechRequest, VoiceUpload,
    },
    voices::{OriginalReferenceErrors, VoiceClip, VoiceClipErrors, VoiceErrors, VoiceRemoveErrors, VoiceUploadErrors},
};
use super::{
    chat, chat_sign_in, chat_sound, chat_stream, chat_webhook, compat, compat_voices, danmaku, elevenlabs,
    error::Envelope,
    events::{OpenAiSpeechEvent, SpeechEvent},
    guard::Audience,
    health, models, native, openai, speakerbot, voices as library, voices_change, voices_preview, web, ws,
};
use crate::chat::ChatEvent;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ishowtts",
        description = "Speech from text, while it is made. A field that is `null` counts as absent; fields that nobody \
                       knows are not refused, but named in the header `X-Ishowtts-Ignored`."
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "speech", description = "Our own way to ask for speech"),
        (name = "voices", description = "The voices, and your own among them"),
        (name = "openai", description = "As OpenAI's clients ask"),
        (name = "websockets", description = "For text that is still being written"),
        (name = "chat", description = "A livestream's chat, spoken: messages, control, overlays"),
        (name = "original", description = "As the front end of the original iShowTTS asks"),
        (name = "server", description = "How the server is")
    ),
    paths(
        native::speak,
        native::play,
        native::captions,
        openai::speech,
        ws::connect,
        elevenlabs::stream_input,
        library::list,
        library::all,
        library::one,
        library::audio,
        voices_change::add,
        voices_change::change,
        voices_change::remove,
        voices_preview::preview,
        models::list,
        models::one,
        health::healthz,
        health::readyz,
        health::metrics,
        document,
        web::page,
        web::docs,
        web::overlay,
        chat::start,
        chat::stop,
        chat::enqueue,
        chat::test,
        chat::state,
        chat::queue,
        chat::skip,
        chat::pause,
        chat::resume,
        chat::clear,
        chat::volume,
        chat::mute_user,
        chat::user_voice,
        chat::approve,
        chat::reject,
        chat_stream::stream,
        chat_stream::ack,
        chat_sound::audio,
        chat_sound::speech,
        speakerbot::connect,
        chat_webhook::take,
        chat_sign_in::begin,
        chat_sign_in::state,
        compat::health,
        compat::voices,
        compat::speak,
        compat_voices::reference,
        compat_voices::replace,
        compat_voices::restore,
        compat_voices::audio,
        danmaku::start,
        danmaku::stop,
        danmaku::enqueue,
        danmaku::stream
    ),
    components(schemas(SpeechEvent, OpenAiSpeechEvent, ChatEvent, native::Captions, Envelope)),
    modifiers(&Tokens)
)]
struct Document;

/// The chat's paths may ask for a token; which one it is depends on the path, where it stands does not.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        const HEADER: &str = "token";
        const QUERY: &str = "token_in_query";
        let scopes: [&str; 0] = [];
        let either = [
            // Where only this machine reaches the server, none is asked for.
            SecurityRequirement::default(),
            SecurityRequirement::new(HEADER, scopes),
            SecurityRequirement::new(QUERY, scopes),
        ];
        let header = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(TOKENS)).build();
        let query = ApiKey::Query(ApiKeyValue::with_description("token", TOKENS));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(HEADER, SecurityScheme::Http(header));
        components.add_security_scheme(QUERY, SecurityScheme::ApiKey(query));
        for (path, item) in &mut document.paths.paths {
            if Audience::of(path, false) != Audience::Anybody {
                for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                    operation.security = Some(either.to_vec());
                }
            }
        }
    }
}

const TOKENS: &str = "What `ishowtts chat token` shows. Asked for where the server listens beyond its own machine, or as \
                      `chat.auth` says. The overlay's own token opens the stream, `ack` and the sound of items.";

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, body = Object, description = "OpenAPI 3.1"), EveryError))]
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], text()).into_response()
}

/// Written once: it never changes while the program runs.
fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let written = || {
        let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
        restore_content_schemas(&mut document);
        document.to_string().into()
    };
    TEXT.get_or_init(written).clone()
}

/// utoipa has no word for JSON Schema's `contentSchema`, only for extensions.
const CONTENT_SCHEMA: &str = "x-content-schema";

fn restore_content_schemas(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(schema) = object.remove(CONTENT_SCHEMA) {
                object.insert("contentSchema".to_owned(), schema);
            }
            object.values_mut().for_each(restore_content_schemas);
        }
        Value::Array(array) => array.iter_mut().for_each(restore_content_schemas),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn document() -> Value {
        serde_json::from_slice(&text()).expect("JSON")
    }

    fn walk<'a>(value: &'a Value, found: &mut impl FnMut(&'a str, &'a Value)) {
        match value {
            Value::Object(object) => object.iter().for_each(|(name, value)| {
                found(name, value);
                walk(value, found);
            }),
            Value::Array(array) => array.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }

    /// Files of the pages.
    const NOT_DESCRIBED: [&str; 1] = ["/web/{*name}"];

    #[test]
    fn every_route_is_described() {
        let router = include_str!("../mod.rs").split(".route(").skip(1);
        let routes: BTreeSet<_> = router.map(|route| route.split('"').nth(1).expect("a path")).collect();
        let document = document();
        let described = document["paths"].as_object().expect("paths").keys().map(String::as_str);
        assert_eq!(described.chain(NOT_DESCRIBED).collect::<BTreeSet<_>>(), routes);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_referred_to() {
        let document = document();
        let mut referred = BTreeSet::from(["SpeechEvent", "OpenAiSpeechEvent", "ChatEvent"]);
        walk(&document, &mut |name, value| {
            if name == "$ref" {
                let name = value.as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
                referred.insert(name.unwrap_or_else(|| panic!("{value}")));
            }
        });
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        assert_eq!(referred, schemas.keys().map(String::as_str).collect());
    }

    #[test]
    fn every_field_that_is_taken_is_described() {
        let document = document();
        for (schema, fields) in [
            ("SpeechRequest", &native::SPEECH_FIELDS[..]),
            ("CaptionRequest", &native::CAPTION_FIELDS),
            ("OpenAiSpeechRequest", &super::super::openai_request::FIELDS),
            ("OriginalSpeechRequest", &compat::FIELDS),
            ("PreviewRequest", &voices_preview::FIELDS),
            ("SpeechForm", &[&native::FORM_FIELDS[..], &[native::REFERENCE_AUDIO]].concat()),
            ("VoiceUpload", &[&voices_change::FIELDS[..], &[voices_change::AUDIO]].concat()),
            ("OriginalReferenceUpload", &[&compat_voices::FIELDS[..], &[compat_voices::AUDIO]].concat()),
        ] {
            let properties = document["components"]["schemas"][schema]["properties"].as_object().expect("properties");
            let named: BTreeSet<_> = properties.keys().map(String::as_str).collect();
            assert_eq!(named, fields.iter().copied().collect(), "{schema}");
            for (name, property) in properties {
                assert!(property["description"].is_string(), "{schema}.{name}");
            }
        }
    }

    #[test]
    fn every_operation_has_a_summary_and_examples_of_its_errors() {
        let document = document();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for (method, operation) in operations.as_object().expect("operations") {
                assert!(operation["summary"].is_string(), "{method} {path}");
                let answers = operation["responses"].as_object().expect("answers");
                for (status, answer) in answers.iter().filter(|(status, _)| status.as_str() >= "400") {
                    let content = &answer["content"]["application/json"];
                    let examples = content["examples"].as_object();
                    let readiness = path == "/readyz" && status == "503";
                    assert!(readiness || examples.is_some_and(|examples| !examples.is_empty()), "{path} {status}");
                    for (code, example) in examples.into_iter().flatten() {
                        assert_eq!(example["value"]["error"]["code"], code.as_str(), "{path} {status}");
                    }
                }
            }
        }
    }
}
