//! What requests about voices are answered.

use std::time::Duration;

use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, ObjectBuilder, Schema, schema::SchemaType},
};

use super::{
    super::error::ApiError,
    answers::{Responses, by_status, described, one},
};
use crate::error::Error;

/// A clip of a voice.
pub struct VoiceClip;
/// What a question about a voice may be answered.
pub struct VoiceErrors;
/// The same, where the voice may have no clip.
pub struct VoiceClipErrors;
/// What an upload of a voice may be answered.
pub struct VoiceUploadErrors;
/// What the removal of a voice may be answered.
pub struct VoiceRemoveErrors;
/// What a change of a voice's reference may be answered.
pub struct OriginalReferenceErrors;

impl IntoResponses for VoiceClip {
    fn responses() -> Responses {
        let wav = "audio/wav";
        let bytes = ObjectBuilder::new().schema_type(SchemaType::AnyValue).content_media_type(wav).build();
        one(
            "200",
            described("A WAV file.").content(wav, ContentBuilder::new().schema(Some(Schema::from(bytes))).build()),
        )
    }
}

fn asked() -> Vec<ApiError> {
    let bad = Error::invalid("invalid_value", Some("voice"), "the voice's name is not UTF-8");
    let unknown = Error::UnknownVoice { name: "hart".to_owned(), nearest: Some("heart".to_owned()) };
    vec![bad.into(), unknown.into(), ApiError::host_not_allowed(), ApiError::panicked()]
}

/// What a form with a clip may be answered, whatever is done with it.
pub(super) fn form_errors(file: &'static str) -> Vec<ApiError> {
    let told = |code, message: &str| Error::invalid(code, Some(file), format!("{file:?}: {message}"));
    let errors = [
        Error::invalid("invalid_form", None, "the body is not the form that is expected: it has no boundary"),
        Error::invalid("invalid_utf8", None, "the form's part \"text\" is not UTF-8"),
        Error::invalid("invalid_value", Some(file), format!("{file:?} is given twice")),
        Error::invalid("body_incomplete", None, "the body ended before its end"),
        Error::invalid("transcript_missing", Some("text"), "what is said in the clip is missing"),
        Error::invalid("invalid_reference", Some(file), format!("{file:?} takes the place of \"voice\"")),
        told("empty_clip", "there is no file: 0 bytes"),
        told("unknown_clip_format", "this is text, not sound that can be decoded"),
        told("broken_clip", "the WAV file is broken: it holds no sound"),
        told("clip_too_long", "the sound is longer than the limit of 600 s"),
        told("unsupported_sample_rate", "the clip has 4000 samples a second"),
        told("silent_clip", "the clip is silent"),
        told("clip_too_short", "the clip holds 0.5 s of sound"),
    ];
    let of_http = [
        ApiError::origin_not_allowed(),
        ApiError::body_too_slow(Duration::from_secs(60)),
        ApiError::body_too_large(32 << 20),
        ApiError::too_many_uploads(),
    ];
    errors.into_iter().map(ApiError::from).chain(of_http).collect()
}

fn changed() -> Vec<ApiError> {
    let storage = |code, message: &str| ApiError::from(Error::Storage { code, message: message.to_owned() });
    vec![
        ApiError::origin_not_allowed(),
        storage("storage_full", "the server's disk has no room for the voice; nothing was changed"),
        storage("storage_read_only", "the server may not write to its folder of voices"),
        storage("storage_failed", "the server cannot write to its folder of voices"),
        storage("storage_unconfirmed", "the change was made, but the server's disk does not confirm that it is stored"),
    ]
}

fn conflict(code: &'static str, message: &str) -> ApiError {
    Error::Conflict { code, message: message.to_owned() }.into()
}

impl IntoResponses for VoiceErrors {
    fn responses() -> Responses {
        by_status(asked())
    }
}

impl IntoResponses for VoiceClipErrors {
    fn responses() -> Responses {
        by_status([asked(), vec![ApiError::no_clip("heart")]].concat())
    }
}

impl IntoResponses for VoiceUploadErrors {
    fn responses() -> Responses {
        let own = [
            Error::invalid("id_missing", Some("id"), "\"id\" is missing"),
            Error::invalid("invalid_id", Some("id"), "\"Ä\" cannot be a voice's id"),
            Error::invalid("audio_missing", Some("audio"), "\"audio\" is missing: it must hold a clip of the voice"),
            Error::invalid("invalid_audio", Some("audio"), "the clip is silent"),
            Error::invalid("invalid_voice", Some("engine"), "engine.hibari must be an object without null"),
        ];
        let own = own.into_iter().map(ApiError::from).collect();
        let there = vec![conflict("voice_exists", "there is a voice \"mine\" of yours already")];
        by_status([asked(), form_errors("audio"), own, there, changed()].concat())
    }
}

impl IntoResponses for VoiceRemoveErrors {
    fn responses() -> Responses {
        let shipped = conflict("voice_shipped", "the voice \"heart\" is part of the program and cannot be removed");
        by_status([asked(), vec![shipped], changed()].concat())
    }
}

impl IntoResponses for OriginalReferenceErrors {
    fn responses() -> Responses {
        let own = [
            Error::invalid("audio_missing", Some("audio"), "\"audio\" and \"text\" are missing"),
            Error::invalid("invalid_audio", Some("audio"), "the clip is silent"),
            Error::invalid("invalid_voice", Some("text"), "\"text\" is longer than 64 KiB"),
        ];
        let own = own.into_iter().map(ApiError::from).collect();
        by_status([asked(), form_errors("audio"), own, changed()].concat())
    }
}
