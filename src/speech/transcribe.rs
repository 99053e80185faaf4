//! What is said in a clip whose words nobody told: asked of whoever can hear, if somebody can.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::Speech;
use crate::{audio::resample, error::Error, voices::clip::Prepared};

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
        let missing = |rest: &str| {
            let message = format!("{param:?} is missing: it must hold what is said in the clip{rest}");
            Error::invalid("transcript_missing", Some(param), message)
        };
        let not_installed = || missing(" (a server with ishowtts[transcribe] would listen for itself)");
        let failed = |message: String| Error::EngineFailed { engine: NAME.to_owned(), message };
        let transcriber = self.transcriber.get().ok_or_else(not_installed)?;
        let sound = resample::resample(&clip.samples, clip.sample_rate_hz, SAMPLE_RATE_HZ);
        let sound = sound.map_err(|error| failed(error.to_string()))?;
        let answer = tokio::time::timeout(LIMIT, transcriber.ask(sound, language.map(str::to_owned))).await;
        match answer {
            Ok(Ok(Ok(heard))) if heard.text.chars().any(char::is_alphanumeric) => Ok(heard),
            Ok(Ok(Ok(_))) => Err(missing("; no words were heard in it")),
            Ok(Ok(Err(Unheard::NotInstalled))) => Err(not_installed()),
            Ok(Ok(Err(Unheard::Invalid(reason)))) => Err(missing(&format!("; it could not be listened to: {reason}"))),
            Ok(Ok(Err(Unheard::Failed(message)))) => Err(failed(message)),
            Ok(Err(_)) => Err(Error::ShuttingDown),
            Err(_) => Err(failed(format!("it took more than {} s", LIMIT.as_secs()))),
        }
    }
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
}
