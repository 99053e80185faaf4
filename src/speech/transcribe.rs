//! What is said in a clip whose words nobody told: asked of whoever can hear, if somebody can.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::Speech;
use crate::{
    audio::resample,
    error::Error,
    text,
    voices::{Draft, Voice, clip::Prepared},
};

/// What Whisper was trained on.
const SAMPLE_RATE_HZ: u32 = 16_000;
/// With the first clip a model is fetched.
const LIMIT: Duration = Duration::from_secs(300);
const NAME: &str = "transcribe";

/// What was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub text: String,
    /// BCP 47.
    pub language: String,
}

/// Why nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unheard {
    /// Nobody here can hear.
    NotInstalled,
    /// A setting is wrong; what to tell.
    Invalid(String),
    Failed(String),
}

pub type Answer = oneshot::Receiver<Result<Heard, Unheard>>;

/// Hears, on a thread of its own. `ask` never blocks.
pub trait Transcriber: Send + Sync + 'static {
    /// `sound`: mono at 16 kHz; `language`: BCP 47.
    fn ask(&self, sound: Vec<f32>, language: Option<String>) -> Answer;

    /// Ends the thread; waits for it. What was asked and is not begun gets no answer.
    fn close(&self);
}

impl Speech {
    /// Before the first clip. The first one stays.
    pub fn set_transcriber(&self, transcriber: Arc<dyn Transcriber>) {
        let _ = self.transcriber.set(transcriber);
    }

    /// The words of a clip, for which the field `param` of a request was to be given.
    ///
    /// # Errors
    /// That the words must be told: nobody here can hear, or no words were heard; and what went wrong with hearing.
    pub async fn transcribe(
        &self,
        clip: &Prepared,
        language: Option<&str>,
        param: &'static str,
    ) -> Result<Heard, Error> {
        self.check_open()?;
        let Some(transcriber) = self.transcriber.get() else { return heard(Err(Unheard::NotInstalled), param) };
        let asked = transcriber.ask(sound(clip)?, language.map(str::to_owned));
        match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ok(told)) => heard(told, param),
            Ok(Err(_)) => Err(Error::ShuttingDown),
            Err(_) => Err(failed(format!("it took more than {} s", LIMIT.as_secs()))),
        }
    }
}

/// A clip as transcribers take it.
///
/// # Errors
/// It cannot be resampled.
pub fn sound(clip: &Prepared) -> Result<Vec<f32>, Error> {
    let sound = resample::resample(&clip.samples, clip.sample_rate_hz, SAMPLE_RATE_HZ);
    sound.map_err(|error| failed(error.to_string()))
}

/// The words that were heard in the place of the field `param`.
///
/// # Errors
/// As `Speech::transcribe`.
pub fn heard(told: Result<Heard, Unheard>, param: &'static str) -> Result<Heard, Error> {
    let missing = |rest: &str| {
        let message = format!("{param:?} is missing: it must hold what is said in the clip{rest}");
        Err(Error::invalid("transcript_missing", Some(param), message))
    };
    match told {
        Ok(heard) if heard.text.chars().any(char::is_alphanumeric) => Ok(heard),
        Ok(_) => missing("; no words were heard in it"),
        Err(Unheard::NotInstalled) => {
            missing(" (pip install 'ishowtts[transcribe]', and the program listens for itself)")
        }
        Err(Unheard::Invalid(reason)) => missing(&format!("; it could not be listened to: {reason}")),
        Err(Unheard::Failed(message)) => Err(failed(message)),
    }
}

/// Fills in what follows from the words of a clip: the text where it was heard, and the language where neither the draft
/// nor `own`, the voice that is there, tells it.
pub fn complete(draft: &mut Draft, own: Option<&Voice>, heard: Option<Heard>) {
    let (text, language) = heard.map_or((None, None), |heard| (Some(heard.text), Some(heard.language)));
    draft.text = draft.text.take().or(text);
    if draft.language(own).is_none() {
        let found = language.or_else(|| draft.text.as_deref().and_then(text::language_or_english).map(str::to_owned));
        draft.languages = found.map(|language| vec![language]).or(draft.languages.take());
    }
}

fn failed(message: String) -> Error {
    Error::EngineFailed { engine: NAME.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::simple, *};
    use crate::voices::clip::{Options, prepare};

    /// Answers with what it was made for, or not at all.
    struct Ear(Option<Result<Heard, Unheard>>);

    impl Transcriber for Ear {
        fn ask(&self, sound: Vec<f32>, language: Option<String>) -> Answer {
            assert!((30_000..36_000).contains(&sound.len()), "2 s at 16 kHz, not {}", sound.len());
            assert_eq!(language.as_deref(), Some("vi"));
            let (sender, answer) = oneshot::channel();
            if let Some(told) = &self.0 {
                let _ = sender.send(told.clone());
            }
            answer
        }

        fn close(&self) {}
    }

    fn clip() -> Prepared {
        let sound: Vec<f32> = (0..48_000).map(|index| (index as f32 * 0.05).sin() * 0.3).collect();
        let wav = crate::audio::encode::wav_file(&sound, 24_000);
        prepare(&wav, &Options::default()).expect("a clip")
    }

    async fn told(ear: Option<Ear>) -> Result<Heard, Error> {
        let speech = simple(|_| {}).await;
        if let Some(ear) = ear {
            speech.set_transcriber(Arc::new(ear));
        }
        speech.transcribe(&clip(), Some("vi"), "text").await
    }

    #[tokio::test]
    async fn words_are_heard_or_asked_for() {
        let heard = Heard { text: "Xin chào.".to_owned(), language: "vi".to_owned() };
        assert_eq!(told(Some(Ear(Some(Ok(heard.clone()))))).await, Ok(heard));

        let silent = Heard { text: " … ".to_owned(), language: "vi".to_owned() };
        let invalid = Unheard::Invalid("the model 'x' cannot be loaded".to_owned());
        for (ear, words) in [
            (None, "ishowtts[transcribe]"),
            (Some(Ear(Some(Err(Unheard::NotInstalled)))), "ishowtts[transcribe]"),
            (Some(Ear(Some(Ok(silent)))), "no words were heard"),
            (Some(Ear(Some(Err(invalid)))), "cannot be loaded"),
        ] {
            let error = told(ear).await.expect_err(words);
            assert_eq!(error.code(), "transcript_missing");
            assert!(
                error.to_string().contains(words) && error.to_string().starts_with("\"text\" is missing"),
                "{error}"
            );
        }
        assert_eq!(
            told(Some(Ear(Some(Err(Unheard::Failed("x".to_owned())))))).await.unwrap_err().code(),
            "engine_failed"
        );
        assert_eq!(told(Some(Ear(None))).await, Err(Error::ShuttingDown));
    }

    #[test]
    fn what_was_heard_fills_in_what_nobody_told() {
        let heard = || Some(Heard { text: "Xin chào.".to_owned(), language: "vi".to_owned() });
        let completed = |draft: Draft, heard| {
            let mut draft = draft;
            complete(&mut draft, None, heard);
            (draft.text, draft.languages)
        };
        let vi = || Some(vec!["vi".to_owned()]);
        assert_eq!(completed(Draft::default(), heard()), (Some("Xin chào.".to_owned()), vi()));
        let told = Draft { languages: Some(vec!["en".to_owned()]), ..Draft::default() };
        assert_eq!(completed(told, heard()).1, Some(vec!["en".to_owned()]));
        let text = "Cảm ơn bạn đã gọi cho chúng tôi.";
        let written = Draft { text: Some(text.to_owned()), ..Draft::default() };
        assert_eq!(completed(written, None), (Some(text.to_owned()), vi()));
        let english = Draft { text: Some("What is said in the clip.".to_owned()), ..Draft::default() };
        assert_eq!(completed(english, None).1, Some(vec!["en".to_owned()]));
        let short = Draft { text: Some("Ah.".to_owned()), languages: Some(vec!["und".to_owned()]), ..Draft::default() };
        assert_eq!(completed(short, None).1, Some(vec!["und".to_owned()]));
    }
}
