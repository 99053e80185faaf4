//! What requests hold: the fields that are parsed, each with the bounds by which it is checked.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, RefOr, Required, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{KnownFormat, SchemaFormat, SchemaType},
    },
};

use super::super::{
    compat, compat_voices,
    fields::{self, MAX_LANGUAGE_BYTES, MAX_NAME_CHARS, MAX_SPEED, MAX_VOLUME, MIN_SPEED, MIN_VOLUME},
    native, openai_request, voices_change, voices_preview,
};
use crate::{
    audio::{Format, resample::RATES_HZ},
    speech::SEED_LIMIT,
};

/// The body of `POST /v1/tts`.
pub struct SpeechRequest;
/// The query of `GET /v1/tts`.
pub struct PlayQuery;
/// The body of `POST /v1/captions`.
pub struct CaptionRequest;
/// The body of `POST /api/tts`.
pub struct OriginalSpeechRequest;
/// The form of `POST /v1/tts`.
pub struct SpeechForm;
/// The body of `POST /v1/voices/{id}/preview`.
pub struct PreviewRequest;
/// The form of `POST /v1/voices`.
pub struct VoiceUpload;
/// The form of `POST /api/voices/{id}/reference`.
pub struct OriginalReferenceUpload;
/// The body of `POST /v1/audio/speech`.
pub struct OpenAiSpeechRequest;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surface {
    Native,
    Captions,
    OpenAi,
    Original,
    Preview,
    /// Of speech, with a clip.
    Form,
    Upload,
    Override,
}

enum Kind {
    Text,
    /// That may be empty.
    Words,
    /// What is said in a clip.
    Transcript,
    Name,
    Id,
    Languages,
    Voice,
    Language,
    Choice(Vec<&'static str>),
    Number {
        minimum: f64,
        maximum: f64,
    },
    Integer {
        minimum: i64,
        maximum: u64,
    },
    Flag,
    Object,
    Any,
    /// Of a form.
    File,
    /// In a form, where all is text.
    Json,
}

struct Field {
    kind: Kind,
    description: Cow<'static, str>,
    default: Option<Value>,
}

impl Field {
    fn new(kind: Kind, description: impl Into<Cow<'static, str>>, default: Value) -> Self {
        Self { kind, description: description.into(), default: (!default.is_null()).then_some(default) }
    }
}

/// None: a field without a description, which the tests do not let pass.
fn field(surface: Surface, name: &str) -> Option<Field> {
    let names = |choices: &[(&'static str, _)]| choices.iter().map(|(name, _)| *name).collect();
    let formats = || Format::ALL.iter().map(|format| format.name()).collect();
    Some(match (name, surface) {
        ("text", Surface::Preview) => {
            Field::new(Kind::Text, "What to say; without it a sentence in the voice's language.", Value::Null)
        }
        ("text", Surface::Upload) => {
            Field::new(Kind::Transcript, "What is said in the clip, word for word.", Value::Null)
        }
        ("text", Surface::Override) => {
            Field::new(Kind::Words, "What is said in the clip; empty: the voice's own text again.", Value::Null)
        }
        ("audio", _) => Field::new(Kind::File, "A clip of the voice, in any common format.", Value::Null),
        (native::REFERENCE_AUDIO, _) => {
            Field::new(Kind::File, "A clip to clone in the place of a voice. Nothing of it is kept.", Value::Null)
        }
        (native::REFERENCE_TEXT, _) => Field::new(Kind::Transcript, "What is said in `reference_audio`.", Value::Null),
        (native::REFERENCE_LANGUAGE, _) => {
            Field::new(Kind::Language, "Of `reference_audio`; without it `language`, else found.", Value::Null)
        }
        ("id", _) => Field::new(Kind::Id, "Of the voice; without it, it is made of `name`.", Value::Null),
        ("name", _) => Field::new(Kind::Name, "For people; without it the id.", Value::Null),
        ("description", _) => Field::new(Kind::Words, "For people.", Value::Null),
        ("licence", _) => Field::new(
            Kind::Name,
            "Who may use the voice, and how: an SPDX expression, or in words.",
            json!("NOASSERTION"),
        ),
        ("language", Surface::Upload) => {
            Field::new(Kind::Languages, "That the voice speaks, the main one first, parted by commas.", Value::Null)
        }
        ("speed", Surface::Upload) => {
            let kind = Kind::Number { minimum: MIN_SPEED, maximum: MAX_SPEED };
            Field::new(kind, "Multiplies the speed of requests.", json!(1.0))
        }
        ("engine", Surface::Upload) => {
            Field::new(Kind::Json, "What engines are told of the voice: a JSON object by their names.", Value::Null)
        }
        ("params", Surface::Form) => Field::new(Kind::Json, "The engine's own parameters: a JSON object.", Value::Null),
        ("text" | "input", _) => Field::new(Kind::Text, "What to say.", Value::Null),
        ("voice", _) => Field::new(
            Kind::Voice,
            "A voice, an alias of one, or a description such as `heart+pitch=3`; without it the default voice.",
            Value::Null,
        ),
        ("engine" | "model", _) => {
            Field::new(Kind::Name, "A model of `GET /v1/models`; without it the configured route.", Value::Null)
        }
        ("language", _) => Field::new(Kind::Language, "Of the text; without it that of the voice.", Value::Null),
        ("lang_code", _) => Field::new(
            Kind::Language,
            "`language`, or a letter of Kokoro's: the name that its clients use.",
            Value::Null,
        ),
        ("format", Surface::Captions) => {
            Field::new(Kind::Choice(native::SUBTITLES.map(|(name, _)| name).into()), "Of the file.", json!("json"))
        }
        ("format" | "response_format", Surface::Native | Surface::Form | Surface::Preview) => {
            let other = if name == "format" { "response_format" } else { "format" };
            Field::new(Kind::Choice(formats()), format!("Of the sound. Also taken as `{other}`."), json!("wav"))
        }
        ("response_format", _) => Field::new(Kind::Choice(formats()), "Of the sound.", json!(Format::DEFAULT.name())),
        ("sample_rate", _) => {
            let kind = Kind::Integer { minimum: i64::from(*RATES_HZ.start()), maximum: u64::from(*RATES_HZ.end()) };
            let description = "In Hz. Without it that of the engine, or the next that the format has.";
            Field::new(kind, description, Value::Null)
        }
        ("bitrate", _) => {
            let ranges = || Format::ALL.iter().filter_map(|format| format.bitrates());
            let minimum = ranges().map(|range| i64::from(*range.start())).min()?;
            let kind = Kind::Integer { minimum, maximum: ranges().map(|range| u64::from(*range.end())).max()? };
            Field::new(kind, "In bit/s, of formats that lose something; without it the format's default.", Value::Null)
        }
        ("loudness", _) => {
            let description = "What is brought to the target loudness: each voice, by a gain that was measured once; this \
                               speech, measured when it is complete; or nothing. Without it as configured.";
            Field::new(Kind::Choice(fields::LOUDNESSES.map(|(name, _)| name).into()), description, Value::Null)
        }
        ("volume", _) => {
            let description = "A factor on top of that; peaks are limited.";
            Field::new(Kind::Number { minimum: MIN_VOLUME, maximum: MAX_VOLUME }, description, json!(1.0))
        }
        ("stream_format", Surface::OpenAi) => {
            let description = "`sse`: the sound as server-sent events.";
            Field::new(Kind::Choice(names(&openai_request::WRAPS)), description, json!("audio"))
        }
        ("stream_format", _) => {
            let description = "Events with captions: `sse`, server-sent, or `jsonl`, a line each.";
            Field::new(Kind::Choice(names(&native::WRAPS)), description, json!("audio"))
        }
        ("voice_id", _) => Field::new(Kind::Name, "A voice or an alias of one.", Value::Null),
        (name, Surface::Original) if compat::PARAMS.iter().any(|(theirs, _)| *theirs == name) => {
            let (_, ours) = compat::PARAMS.iter().find(|(theirs, _)| *theirs == name)?;
            Field::new(Kind::Any, format!("The engine's `{ours}`, where it has that."), Value::Null)
        }
        ("seed", Surface::Original) => {
            let kind = Kind::Integer { minimum: -1, maximum: u64::MAX };
            Field::new(kind, "The same seed, the same sound; -1: another each time.", Value::Null)
        }
        ("speed", _) => {
            let kind = Kind::Number { minimum: MIN_SPEED, maximum: MAX_SPEED };
            Field::new(kind, "How fast: 2 is twice as fast.", json!(1.0))
        }
        ("seed", _) => {
            let description = "The same seed, the same sound; -1: another each time. Without it, the seed follows from \
                               the text, the voice and the other fields.";
            Field::new(Kind::Integer { minimum: -1, maximum: SEED_LIMIT - 1 }, description, Value::Null)
        }
        ("stream", _) => {
            let description = "`false`: the answer comes when all is spoken, with its length. Events always stream.";
            Field::new(Kind::Flag, description, json!(true))
        }
        ("cache", _) => Field::new(Kind::Flag, "`false` goes past the cache of results.", json!(true)),
        ("params", _) => {
            let description = "The engine's own parameters: `params` of `GET /v1/models` tells which there are. Others are \
                               refused.";
            Field::new(Kind::Object, description, Value::Null)
        }
        _ => return None,
    })
}

/// To clients null means absent, where a field is not in a query.
fn schema(field: Field, nullable: bool) -> Schema {
    let types = |own: Type| match nullable {
        true => SchemaType::from_iter([own, Type::Null]),
        false => SchemaType::new(own),
    };
    let base = ObjectBuilder::new().description(Some(field.description.clone())).default(field.default);
    let text = |base: ObjectBuilder| base.schema_type(types(Type::String));
    match field.kind {
        Kind::Text => base.schema_type(SchemaType::new(Type::String)).min_length(Some(1)).into(),
        Kind::Words => text(base).pattern(Some(WORDS)).into(),
        Kind::Transcript => {
            base.schema_type(SchemaType::new(Type::String)).min_length(Some(1)).pattern(Some(WORDS)).into()
        }
        Kind::Name => name_schema(text(base)).into(),
        Kind::Voice if nullable => {
            let id = name_schema(ObjectBuilder::new().schema_type(SchemaType::new(Type::String)));
            let object =
                ObjectBuilder::new().schema_type(SchemaType::new(Type::Object)).property("id", id).required("id");
            let name = name_schema(ObjectBuilder::new().schema_type(types(Type::String)));
            OneOfBuilder::new().description(Some(field.description)).item(name).item(object).into()
        }
        Kind::Voice => name_schema(text(base)).into(),
        Kind::Language => text(base)
            .pattern(Some("^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"))
            .max_length(Some(MAX_LANGUAGE_BYTES))
            .examples(["en", "zh-Hans"])
            .into(),
        Kind::Choice(names) => {
            let choices = names.into_iter().map(Value::from).chain(nullable.then_some(Value::Null));
            text(base).enum_values(Some(choices)).into()
        }
        Kind::Number { minimum, maximum } => {
            base.schema_type(types(Type::Number)).minimum(Some(minimum)).maximum(Some(maximum)).into()
        }
        Kind::Integer { minimum, maximum } => {
            base.schema_type(types(Type::Integer)).minimum(Some(minimum)).maximum(Some(maximum)).into()
        }
        Kind::Id => text(base).pattern(Some("^[a-z0-9][a-z0-9_-]{0,63}$")).into(),
        Kind::Languages => text(base)
            .pattern(Some("^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})?(, ?[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})?){0,3}$"))
            .examples(["en-US", "vi, en"])
            .into(),
        Kind::File => text(base).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).into(),
        Kind::Json => text(base).content_media_type("application/json").examples(["{}"]).into(),
        Kind::Flag => base.schema_type(types(Type::Boolean)).into(),
        Kind::Any => base.schema_type(SchemaType::AnyValue).into(),
        Kind::Object => base.schema_type(types(Type::Object)).into(),
    }
}

/// Without control characters.
/// No control characters but those that part lines and columns.
const WORDS: &str = r"^[^\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f]*$";

fn name_schema(base: ObjectBuilder) -> ObjectBuilder {
    base.min_length(Some(1)).max_length(Some(MAX_NAME_CHARS)).pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f]+$"))
}

fn body(surface: Surface, fields: &[&str], text: &str) -> RefOr<Schema> {
    let properties = fields.iter().filter_map(|name| Some((*name, schema(field(surface, name)?, true))));
    let object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object)).required(text);
    properties.fold(object, |object, (name, schema)| object.property(name, schema)).into()
}

impl PartialSchema for SpeechRequest {
    fn schema() -> RefOr<Schema> {
        body(Surface::Native, &native::SPEECH_FIELDS, "text")
    }
}

impl PartialSchema for CaptionRequest {
    fn schema() -> RefOr<Schema> {
        body(Surface::Captions, &native::CAPTION_FIELDS, "text")
    }
}

impl PartialSchema for OpenAiSpeechRequest {
    fn schema() -> RefOr<Schema> {
        body(Surface::OpenAi, &openai_request::FIELDS, "input")
    }
}

/// Where there is no null.
fn form(surface: Surface, fields: &[&str], required: &[&str]) -> RefOr<Schema> {
    let properties = fields.iter().filter_map(|name| Some((*name, schema(field(surface, name)?, false))));
    let object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
    let object = required.iter().fold(object, |object, name| object.required(*name));
    properties.fold(object, |object, (name, schema)| object.property(name, schema)).into()
}

impl PartialSchema for SpeechForm {
    fn schema() -> RefOr<Schema> {
        form(Surface::Form, &[&native::FORM_FIELDS[..], &[native::REFERENCE_AUDIO]].concat(), &["text"])
    }
}

impl PartialSchema for PreviewRequest {
    fn schema() -> RefOr<Schema> {
        let fields = voices_preview::FIELDS;
        let properties = fields.iter().filter_map(|name| Some((*name, schema(field(Surface::Preview, name)?, true))));
        let object = ObjectBuilder::new().schema_type(SchemaType::new(Type::Object));
        properties.fold(object, |object, (name, schema)| object.property(name, schema)).into()
    }
}

impl PartialSchema for VoiceUpload {
    fn schema() -> RefOr<Schema> {
        form(Surface::Upload, &[&voices_change::FIELDS[..], &[voices_change::AUDIO]].concat(), &[])
    }
}

impl PartialSchema for OriginalReferenceUpload {
    fn schema() -> RefOr<Schema> {
        form(Surface::Override, &[&compat_voices::FIELDS[..], &[compat_voices::AUDIO]].concat(), &[])
    }
}

impl ToSchema for SpeechForm {}
impl ToSchema for PreviewRequest {}
impl ToSchema for VoiceUpload {}
impl ToSchema for OriginalReferenceUpload {}
impl ToSchema for SpeechRequest {}
impl ToSchema for CaptionRequest {}
impl PartialSchema for OriginalSpeechRequest {
    fn schema() -> RefOr<Schema> {
        body(Surface::Original, &compat::FIELDS, "text")
    }
}

impl ToSchema for OpenAiSpeechRequest {}
impl ToSchema for OriginalSpeechRequest {}

impl IntoParams for PlayQuery {
    /// All that can stand in a query: no objects.
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let described = native::SPEECH_FIELDS.iter().filter_map(|name| Some((*name, field(Surface::Native, name)?)));
        described
            .filter(|(_, field)| !matches!(field.kind, Kind::Object))
            .map(|(name, field)| {
                let description = field.description.clone();
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Query)
                    .required(if name == "text" { Required::True } else { Required::False })
                    .description(Some(description))
                    .schema(Some(schema(field, false)))
                    .example((name == "text").then(|| json!("Hello there.")))
                    .build()
            })
            .collect()
    }
}
