//! The body of `POST /v1/audio/speech`: OpenAI's fields and ours.

use super::{
    call::{Call, Wrap},
    error::Names,
    fields::{self, Fields},
};
use crate::{audio::Format, error::Error};

pub const NAMES: Names = Names { text: "input", voice: "voice", engine: "model" };

pub const FIELDS: [&str; 15] = [
    "input",
    "model",
    "voice",
    "response_format",
    "sample_rate",
    "bitrate",
    "loudness",
    "volume",
    "stream_format",
    "speed",
    "seed",
    "stream",
    "cache",
    "language",
    "lang_code",
];

pub const WRAPS: [(&str, Wrap); 2] = [("audio", Wrap::Plain), ("sse", Wrap::OpenAiSse)];

/// # Errors
/// `Error::Invalid` that names the field, or the position for what is not JSON.
pub fn parse(body: &[u8]) -> Result<Call, Error> {
    let mut given = Fields::parse(body, &FIELDS)?;
    let format = fields::format("response_format", given.take("response_format"))?.unwrap_or(Format::DEFAULT);
    Ok(Call {
        names: NAMES,
        text: fields::text("input", given.take("input"))?,
        model: fields::name("model", given.take("model"))?,
        voice: fields::voice(given.take("voice"))?,
        own_voice: None,
        spec: fields::spec(format, &given.take("sample_rate"), &given.take("bitrate"))?,
        level: fields::level(given.take("loudness"), &given.take("volume"))?,
        wrap: fields::choice("stream_format", given.take("stream_format"), &WRAPS)?.unwrap_or(Wrap::Plain),
        speed: fields::speed(&given.take("speed"))?,
        seed: fields::seed(&given.take("seed"))?,
        streamed: fields::flag("stream", &given.take("stream"))?,
        cache: fields::flag("cache", &given.take("cache"))?,
        language: fields::language(given.take("language"), given.take("lang_code"))?,
        params: serde_json::Map::new(),
        ignored: given.ignored_header(),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        audio::Spec,
        speech::{Level, Loudness},
    };

    fn good(body: &str) -> Call {
        parse(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    fn bad(body: &[u8]) -> (&'static str, Option<&'static str>, String) {
        match parse(body).expect_err("must be refused") {
            Error::Invalid { code, message, param } => (code, param, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn input_is_all_that_is_needed() {
        let call = good(r#"{"input":"Hello"}"#);
        let expected = Call {
            names: NAMES,
            text: "Hello".into(),
            model: None,
            voice: None,
            own_voice: None,
            spec: Format::DEFAULT.into(),
            level: Level::default(),
            wrap: Wrap::Plain,
            speed: 1.0,
            seed: None,
            streamed: true,
            cache: true,
            language: None,
            params: serde_json::Map::new(),
            ignored: None,
        };
        assert_eq!(call, expected);
        let nulls = r#"{"input":"Hello","model":null,"voice":null,"response_format":null,"sample_rate":null,"bitrate":null,
            "loudness":null,"volume":null,"speed":null,"seed":null,
            "stream":null,"cache":null,"language":null,"lang_code":null,"stream_format":null}"#;
        assert_eq!(good(nulls), expected);
    }

    #[test]
    fn every_field_is_taken() {
        let call = good(
            r#"{"input":"Hi","model":"tts-1","voice":"alloy","response_format":"opus","sample_rate":48000,"bitrate":64000,
            "loudness":"off","volume":0.5,"speed":1.5,"seed":-1,
            "stream":false,"cache":false,"language":"en-GB","stream_format":"audio"}"#,
        );
        let expected = Call {
            names: NAMES,
            text: "Hi".into(),
            model: Some("tts-1".into()),
            voice: Some("alloy".into()),
            own_voice: None,
            spec: Spec { format: Format::Opus, sample_rate_hz: Some(48_000), bitrate_bps: Some(64_000) },
            level: Level { loudness: Some(Loudness::Off), volume: 0.5 },
            wrap: Wrap::Plain,
            speed: 1.5,
            seed: Some(-1),
            streamed: false,
            cache: false,
            language: Some("en-GB".into()),
            params: serde_json::Map::new(),
            ignored: None,
        };
        assert_eq!(call, expected);
        assert_eq!(good(r#"{"input":"Hi","voice":{"id":"nova"}}"#).voice.as_deref(), Some("nova"));
        assert_eq!(good(r#"{"input":"Hi","speed":4}"#).speed, 4.0);
        assert_eq!(good(r#"{"input":"Hi","seed":8589934593.0}"#).seed, Some(8_589_934_593));
        let spec = good(r#"{"input":"Hi","sample_rate":24000.0,"bitrate":64e3}"#).spec;
        assert_eq!((spec.sample_rate_hz, spec.bitrate_bps), (Some(24_000), Some(64_000)));
        assert_eq!(good(r#"{"input":"Hi","seed":9007199254740991}"#).seed, Some((1 << 53) - 1));
    }

    #[test]
    fn hostile_input_is_text_like_any_other() {
        assert_eq!(good(r#"{"input":"a\u0000b"}"#).text, "a\0b");
        assert_eq!(good(r#"{"input":"\u202Eabc\u200B"}"#).text, "\u{202E}abc\u{200B}");
    }

    #[test]
    fn unknown_fields_are_named() {
        let call = good(r#"{"input":"Hi","instructions":"softly","normalization_options":{"a":[1]},"ключ":1,"a,b":2}"#);
        assert_eq!(call.ignored, Some(HeaderValue::from_static("instructions, normalization_options, ?, ?")));
        let many: String = (0..1000).map(|index| format!(r#","field{index}":0"#)).collect();
        let ignored = good(&format!(r#"{{"input":"Hi"{many}}}"#)).ignored.expect("names");
        assert_eq!(ignored.to_str().expect("ASCII").split(", ").count(), 16);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (fields, param) in [
            (r#""speed":"1""#, "speed"),
            (r#""speed":0"#, "speed"),
            (r#""speed":0.2499"#, "speed"),
            (r#""speed":4.0001"#, "speed"),
            (r#""speed":-1"#, "speed"),
            (r#""speed":1e308"#, "speed"),
            (r#""speed":true"#, "speed"),
            (r#""seed":-2"#, "seed"),
            (r#""seed":1.5"#, "seed"),
            (r#""seed":9007199254740992.0"#, "seed"),
            (r#""seed":"7""#, "seed"),
            (r#""seed":9007199254740992"#, "seed"),
            (r#""seed":9223372036854775808"#, "seed"),
            (r#""stream":"yes""#, "stream"),
            (r#""cache":0"#, "cache"),
            (r#""model":7"#, "model"),
            (r#""model":"""#, "model"),
            (r#""voice":[]"#, "voice"),
            (r#""voice":"a\u0000b""#, "voice"),
            (r#""voice":{"name":"nova"}"#, "voice"),
            (r#""voice":{"id":7}"#, "voice"),
            (r#""response_format":"aac""#, "response_format"),
            (r#""sample_rate":44100.5"#, "sample_rate"),
            (r#""sample_rate":-1"#, "sample_rate"),
            (r#""sample_rate":-1.0"#, "sample_rate"),
            (r#""sample_rate":1e9"#, "sample_rate"),
            (r#""bitrate":1e300"#, "bitrate"),
            (r#""sample_rate":7999"#, "sample_rate"),
            (r#""response_format":"opus","sample_rate":44100"#, "sample_rate"),
            (r#""response_format":"opus","bitrate":1"#, "bitrate"),
            (r#""response_format":"wav","bitrate":64000"#, "bitrate"),
            (r#""bitrate":"64k""#, "bitrate"),
            (r#""volume":0"#, "volume"),
            (r#""volume":4.1"#, "volume"),
            (r#""volume":"loud""#, "volume"),
            (r#""loudness":"louder""#, "loudness"),
            (r#""loudness":-16"#, "loudness"),
            (r#""response_format":"WAV""#, "response_format"),
            (r#""response_format":1"#, "response_format"),
            (r#""stream_format":"ogg""#, "stream_format"),
            (r#""language":"en US""#, "language"),
            (r#""language":"a""#, "language"),
            (r#""lang_code":"x""#, "lang_code"),
        ] {
            let (_, named, message) = bad(format!(r#"{{"input":"Hi",{fields}}}"#).as_bytes());
            assert_eq!(named, Some(param), "{fields}");
            assert!(message.contains(param), "{message}");
        }
        for body in ["{}", r#"{"input":""}"#, r#"{"input":null}"#, r#"{"input":7}"#, r#"{"text":"Hi"}"#] {
            assert_eq!(bad(body.as_bytes()).1, Some("input"), "{body}");
        }
    }

    #[test]
    fn formats_that_exist_are_listed() {
        let (code, _, message) = bad(br#"{"input":"Hi","response_format":"aac"}"#);
        assert_eq!(code, "unsupported_format");
        assert!(message.ends_with("opus, flac, wav, pcm, wav_f32, pcm_f32, mulaw"), "{message}");
        let (code, _, message) = bad(br#"{"input":"Hi","loudness":"x"}"#);
        assert_eq!(code, "invalid_value");
        assert!(message.ends_with("voice, file, off"), "{message}");
    }

    #[test]
    fn what_is_not_json_is_told_where() {
        for (body, position) in [
            (r#"{"input":"Hi","speed":NaN}"#, "line 1 column 23"),
            (r#"{"input":"Hi","speed":1e999}"#, "line 1 column 27"),
            ("{\"input\":\n\"Hi\",}", "line 2 column 6"),
            ("", "line 1 column 0"),
            (r#"["input"]"#, "line 1 column 0"),
            (r#""input""#, "line 1 column 7"),
            (r#"{"input":"\ud800"}"#, "line 1 column"),
            (r#"{"input":"a","input":"b"}"#, "\"input\" is given twice at line 1"),
            (r#"{"input":"a"} x"#, "line 1 column 15"),
            ("{\"input\":\"a\0b\"}", "line 1 column"),
        ] {
            let (code, _, message) = bad(body.as_bytes());
            assert_eq!(code, "invalid_json", "{body}");
            assert!(message.contains(position), "{body}: {message}");
        }
        let (code, _, message) = bad(b"{\"input\":\"\xff\"}");
        assert_eq!(code, "invalid_utf8");
        assert!(message.contains("offset 10"), "{message}");
    }

    #[test]
    fn depth_and_size_end_in_an_error_and_not_in_a_crash() {
        let deep = format!(r#"{{"input":"Hi","voice":{}"#, "[".repeat(100_000));
        assert_eq!(bad(deep.as_bytes()).0, "invalid_json");
        let ignored_and_deep = format!(r#"{{"input":"Hi","x":{}"#, "[".repeat(100_000));
        assert_eq!(bad(ignored_and_deep.as_bytes()).0, "invalid_json");
        let long_name = format!(r#"{{"input":"Hi","voice":"{}"}}"#, "v".repeat(100_000));
        assert!(bad(long_name.as_bytes()).2.len() < 200);
        let long_string = format!(r#""{}""#, "v".repeat(100_000));
        assert!(bad(long_string.as_bytes()).2.len() < 300);
    }

    #[test]
    fn languages_come_as_tags_or_as_kokoro_letters() {
        assert_eq!(good(r#"{"input":"Hi","lang_code":"b"}"#).language.as_deref(), Some("en-GB"));
        assert_eq!(good(r#"{"input":"Hi","lang_code":"fr"}"#).language.as_deref(), Some("fr"));
        assert_eq!(good(r#"{"input":"Hi","language":"zh-Hans","lang_code":"a"}"#).language.as_deref(), Some("zh-Hans"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_call_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn any_text_arrives_as_it_was_sent(text in "\\PC{1,50}") {
            let body = serde_json::json!({ "input": text }).to_string();
            prop_assert_eq!(parse(body.as_bytes()).expect("good").text, text);
        }
    }
}
