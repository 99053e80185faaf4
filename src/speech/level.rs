//! How loud speech is: a gain for each voice version and engine, measured once, so that voices are alike and speech is
//! the same samples whether it is streamed or not; and a limiter for each listener.
//!
//! A voice that is cloned sounds as loud as its clip, so that is measured. Any other says a sentence, which takes an
//! engine as long as any sentence.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};

use super::{
    EngineState, Level, Loudness, Pcm, Speaking, Speech,
    dispatch::{Link, Order, Prepared},
    job::{Line, Script},
    route,
    service::ask,
    verify,
};
use crate::{
    audio::{decode, limiter::Limiter, loudness},
    engine::Segment,
    error::Error,
    scheduler::{Class, Owner},
    text,
    voices::Voice,
};

/// Sentences to measure a voice by, of about four seconds. The first is said that the engine can say.
const SENTENCES: [(&str, &str); 8] = [
    ("en", "The early train was late again, so we walked along the river and talked about the summer."),
    ("zh", "今天早上的火车又晚点了，所以我们沿着河边走了很久，一路聊着夏天的事情。"),
    ("ja", "今朝の電車はまた遅れたので、川沿いを歩きながら夏の話をしました。"),
    ("ko", "오늘 아침 기차가 또 늦어서 우리는 강을 따라 걸으며 여름 이야기를 했습니다."),
    ("ru", "Утренний поезд снова опоздал, и мы пошли вдоль реки и говорили о лете."),
    ("ar", "تأخر قطار الصباح مرة أخرى فمشينا على طول النهر وتحدثنا عن الصيف."),
    ("hi", "सुबह की गाड़ी फिर देर से आई, इसलिए हम नदी के किनारे चलते रहे और गर्मियों की बातें कीं।"),
    ("el", "Το πρωινό τρένο άργησε πάλι και περπατήσαμε δίπλα στο ποτάμι."),
];
/// What is kept of what was measured, so that clips which are used once do not add up.
const MAX_GAINS: usize = 4_096;
/// Nobody's share of the engine is lessened by it.
const OWNER: Owner = Owner(u64::MAX);

/// An engine's name and a voice version.
type Key = (String, String);
/// Once it was measured, which only one does at a time.
type Gain = Arc<OnceCell<f32>>;

/// What was measured. Of a voice of one request it is kept while that starts.
pub(super) struct Levels {
    gains: Mutex<HashMap<Key, Gain>>,
    /// What is to be measured before the program is ready has been.
    warm: watch::Sender<bool>,
}

impl Levels {
    pub fn new(mode: Loudness) -> Self {
        Self { gains: Mutex::default(), warm: watch::Sender::new(mode != Loudness::Voice) }
    }

    /// To be held while `voice` is measured and its gain is asked for again.
    pub fn visit<'a>(&'a self, voice: &'a Voice) -> Visit<'a> {
        Visit { levels: self, voice }
    }
}

/// Ends with what was measured of a voice of one request.
pub(super) struct Visit<'a> {
    levels: &'a Levels,
    voice: &'a Voice,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if self.voice.transient {
            self.levels.gains.lock().retain(|(_, version), _| *version != self.voice.version);
        }
    }
}

/// One listener's limiter, and what it has let through.
pub(super) struct Leveller {
    limiter: Option<Limiter>,
}

impl Leveller {
    /// None: nothing is to be changed.
    fn new(sample_rate_hz: u32, gain: f32, ceiling: f32) -> Option<Self> {
        (gain != 1.0).then(|| Self { limiter: Some(Limiter::new(sample_rate_hz, gain, ceiling)) })
    }

    /// `last`: together with what was held back.
    pub fn push(&mut self, pcm: &[f32], last: bool) -> Pcm {
        let mut out = Vec::with_capacity(pcm.len());
        if let Some(limiter) = &mut self.limiter {
            limiter.push(pcm, &mut out);
            if last {
                limiter.finish(&mut out);
                self.limiter = None;
            }
        }
        Pcm::new(out)
    }

    /// Once; later there is nothing.
    pub fn finish(&mut self) -> Option<Pcm> {
        let mut out = Vec::new();
        self.limiter.take()?.finish(&mut out);
        Some(Pcm::new(out))
    }
}

impl Speech {
    /// How loud speech will be that asks for `level`.
    #[must_use]
    pub fn loudness(&self, level: &Level) -> Loudness {
        level.loudness.unwrap_or(self.config.loudness.mode)
    }

    /// A voice that an engine of a speech is to speak in. Others are made as loud as `first`, whose gain all of it gets.
    ///
    /// # Errors
    /// What the engine has against the voice.
    pub(super) async fn prepared(&self, link: &Arc<Link>, first: &str, voice: &Arc<Voice>) -> Result<Prepared, Error> {
        let conditioning = link.conditioning(voice).await?;
        let first = self.links.iter().find(|other| other.name == first && !Arc::ptr_eq(link, other));
        let gain = match first.filter(|_| self.config.loudness.mode != Loudness::Off) {
            Some(first) => self.voice_gain(link, voice).await / self.voice_gain(first, voice).await,
            None => 1.0,
        };
        Ok(Prepared { conditioning, gain })
    }

    /// Of speech at `level` by this engine in this voice.
    pub(super) async fn gain(&self, level: &Level, link: &Arc<Link>, voice: &Arc<Voice>) -> f32 {
        match self.loudness(level) {
            Loudness::Voice => self.voice_gain(link, voice).await,
            Loudness::File | Loudness::Off => 1.0,
        }
    }

    /// Has `speaking` brought to `level`, but for what can be measured only when it is whole.
    pub(super) async fn set_level(&self, speaking: &mut Speaking, level: &Level, voice: &Arc<Voice>) {
        let ceiling = loudness::amplitude(self.config.loudness.true_peak_dbtp);
        if self.loudness(level) == Loudness::File {
            speaking.ceiling = Some(ceiling);
            return;
        }
        let gain = match self.links.iter().find(|link| link.name == speaking.engine) {
            Some(link) => self.gain(level, link, voice).await,
            None => 1.0,
        };
        speaking.set_leveller(Leveller::new(speaking.sample_rate_hz, gain * level.volume, ceiling), ceiling);
    }

    async fn voice_gain(&self, link: &Arc<Link>, voice: &Arc<Voice>) -> f32 {
        let key = key(link, voice);
        let cell = {
            let mut gains = self.levels.gains.lock();
            if gains.len() >= MAX_GAINS && !gains.contains_key(&key) {
                // Those of pinned voices were measured so that nobody waits for it.
                let pinned: HashSet<_> = self.links.iter().flat_map(pinned_keys).collect();
                gains.retain(|key, _| pinned.contains(key));
            }
            Arc::clone(gains.entry(key).or_default())
        };
        let measured = cell.get_or_try_init(async || {
            let lufs = self.measure(link, voice).await?;
            let gain = loudness::gain(lufs, self.config.loudness.target_lufs);
            tracing::debug!(engine = link.name, voice = voice.id, lufs, gain, "voice measured");
            Ok::<_, Error>(gain)
        });
        match measured.await {
            Ok(gain) => *gain,
            Err(error) => {
                tracing::warn!(engine = link.name, voice = voice.id, %error, "voice not measured: it speaks as it is");
                1.0
            }
        }
    }

    async fn measure(&self, link: &Arc<Link>, voice: &Arc<Voice>) -> Result<f64, Error> {
        let info = link.info()?;
        let failed = |message: String| Error::EngineFailed { engine: link.name.clone(), message };
        if let Some(reference) = voice.reference.as_ref().filter(|_| info.clones_voices) {
            let clip = reference.clip.clone();
            let measured = tokio::task::spawn_blocking(move || -> Result<f64, String> {
                let clip = decode::decode(&clip, &decode::Limits::default()).map_err(|error| error.to_string())?;
                let measured = loudness::measure(&clip.samples, clip.sample_rate_hz);
                Ok(measured.map_err(|error| error.to_string())?.integrated_lufs)
            });
            return measured.await.map_err(|error| failed(error.to_string()))?.map_err(failed);
        }
        let says = |(language, sentence): &&(&str, &str)| route::cannot_say(&info, sentence, Some(*language)).is_none();
        let Some((language, sentence)) = SENTENCES.iter().find(says) else {
            return Err(failed("it can say none of the sentences that voices are measured by".to_owned()));
        };
        let prepared = Prepared { conditioning: link.conditioning(voice).await?, gain: 1.0 };
        let script = Script {
            key: None,
            sample_rate_hz: info.sample_rate_hz,
            engine: info.name.clone(),
            voice: Arc::clone(voice),
            seed: 0,
            may_fall_back: false,
            joining: None,
            order: Order { class: Class::Interactive, owner: OWNER, streamed: false, continues: false },
        };
        let line = |piece: text::Piece| Line {
            place: piece.place,
            chars: piece.chars,
            speakable: verify::said_of(&piece.text, piece.speakable),
            flushed: false,
            segment: Arc::new(Segment {
                text: piece.text,
                language: Some((*language).to_owned()),
                seed: 0,
                speed: voice.speed,
                params: Arc::default(),
                timed: false,
            }),
        };
        let lines: Vec<_> = text::whole(sentence).into_iter().map(line).collect();
        let segments = (0..lines.len()).collect();
        let (job, mut speaking) = self.start_job(script, lines, false)?;
        ask(&job, link, segments, prepared, false)?;
        let mut sound = Vec::new();
        while let Some(pcm) = speaking.next_sound().await? {
            sound.extend_from_slice(&pcm);
        }
        let measured = loudness::measure(&sound, info.sample_rate_hz).map_err(|error| failed(error.to_string()))?;
        Ok(measured.integrated_lufs)
    }

    /// Measures the pinned voices of every engine, as soon as that is ready and whenever they are others.
    pub(super) async fn keep_levels_warm(speech: Weak<Self>, mut repinned: watch::Receiver<()>) {
        loop {
            let Some(speech) = speech.upgrade().filter(|speech| speech.config.loudness.mode == Loudness::Voice) else {
                return;
            };
            for link in &speech.links {
                let mut state = link.watch_state();
                drop(state.wait_for(|state| !matches!(state, EngineState::Loading)).await);
                let Ok(info) = link.info() else { continue };
                for voice in link.pinned().iter().filter(|voice| route::can_speak_as(&info, voice)) {
                    speech.voice_gain(link, voice).await;
                }
            }
            speech.levels.warm.send_replace(true);
            drop(speech);
            if repinned.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn levels_are_warm(&self) -> bool {
        *self.levels.warm.borrow()
    }

    pub(super) async fn wait_for_levels(&self) {
        // The sender lives as long as `self`: this cannot fail.
        let _ = self.levels.warm.subscribe().wait_for(|warm| *warm).await;
    }
}

fn key(link: &Link, voice: &Voice) -> Key {
    (link.name.clone(), voice.version.clone())
}

fn pinned_keys(link: &Arc<Link>) -> Vec<Key> {
    link.pinned().iter().map(|voice| key(link, voice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audio::encode::wav_file,
        config::Config,
        speech::tests::{fake, levelled, request, say},
    };

    #[tokio::test]
    async fn what_is_measured_of_a_voice_of_one_request_goes_with_it() {
        let speech = levelled(Config::default(), vec![fake(|_| {})]).await;
        let measured = || speech.levels.gains.lock().len();
        let before = measured();
        let clip: Vec<f32> = (0..16_000u16).map(|n| 0.3 * (0.2 * f32::from(n)).sin()).collect();
        let voice = Arc::new(Voice::of_wav(wav_file(&clip, 8_000), "What is said."));
        let visit = speech.levels.visit(&voice);
        assert_ne!(speech.gain(&Level::default(), &speech.links[0], &voice).await, 1.0);
        assert_eq!(measured(), before + 1);
        drop(visit);
        assert_eq!(measured(), before);
        let own = crate::speech::SpeechRequest { own_voice: Some(voice), ..request("A clip of one's own.") };
        say(&speech, own).await.expect("spoken");
        assert_eq!(measured(), before);
        say(&speech, request("One of the library.")).await.expect("spoken");
        assert_eq!(measured(), before, "the default one was measured before");
    }

    #[tokio::test]
    async fn pinned_voices_stay_measured_however_many_others_there_are() {
        let speech = levelled(Config::default(), vec![fake(|_| {})]).await;
        let link = &speech.links[0];
        let pinned = pinned_keys(link);
        assert_eq!(pinned.len(), 1, "the default voice");
        let measured = || speech.levels.gains.lock().get(&pinned[0]).and_then(|gain| gain.get().copied());
        let before = measured().expect("measured before the program is ready");
        let others = (1..MAX_GAINS).map(|number| ((link.name.clone(), number.to_string()), Gain::default()));
        speech.levels.gains.lock().extend(others);
        let other = speech.voices().get("oak").expect("it ships");
        speech.gain(&Level::default(), link, &other).await;
        assert_eq!(measured(), Some(before));
        let left: HashSet<Key> = speech.levels.gains.lock().keys().cloned().collect();
        assert_eq!(left, pinned.into_iter().chain([key(link, &other)]).collect());
    }
}
