//! The service that every surface speaks through.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    EngineState, EngineStatus, Lost, Speaking, SpeechRequest,
    cache::Key,
    dispatch::{Bounds, Link, Order, Prepared, Task, Unsaid},
    job::{Ahead, Job, Line, Script},
    level::Levels,
    request::{lines, resolve, script},
    route::{self, Stop},
    shelf::Shelf,
    transcribe::Transcriber,
};
use crate::{
    config::Config,
    engine::StartHost,
    error::Error,
    scheduler,
    text::{self, Piece},
    voices::{Library, Store, Voice},
};

/// How often hangs and requests that waited too long are looked for.
const TICK: Duration = Duration::from_millis(250);

pub struct Speech {
    pub(super) config: Arc<Config>,
    pub(super) store: Arc<Store>,
    /// In the order of the route.
    pub(super) links: Vec<Arc<Link>>,
    shelf: Arc<Shelf>,
    pub(super) levels: Levels,
    closing: AtomicBool,
    fatal: watch::Sender<Option<Lost>>,
    pub(super) transcriber: OnceLock<Arc<dyn Transcriber>>,
}

impl Speech {
    /// Starts the engines, the default one first. Must be called inside a tokio runtime. Loading goes on in the
    /// background.
    #[must_use]
    pub fn start(config: Arc<Config>, store: Arc<Store>, engines: Vec<(String, StartHost)>) -> Arc<Self> {
        let (unsaid, told) = mpsc::unbounded_channel();
        let fatal = watch::Sender::new(None);
        let bounds = Bounds {
            queue: scheduler::Limits {
                max_requests: config.queue.max_requests,
                max_speech_ms: config.queue.max_speech_s * 1e3,
                window_segments: config.speech.window_segments,
            },
            max_step: Duration::from_secs_f64(config.speech.max_step_s),
            max_wait: Duration::from_secs_f64(config.queue.max_wait_s),
            max_voice_bytes: (config.voices.cache_mib as u64) << 20,
            fatal: fatal.clone(),
        };
        // First, so that no change is missed that comes meanwhile.
        let changes = store.subscribe();
        let pinned = pinned(&config, &store.library());
        let links = engines
            .into_iter()
            .map(|(name, start)| Link::start(name, start, pinned.clone(), bounds.clone(), unsaid.clone()))
            .collect();
        let shelf = Shelf::new(config.speech.cache_mib << 20);
        let (levels, closing) = (Levels::new(config.loudness.mode), AtomicBool::new(false));
        let transcriber = OnceLock::new();
        let speech = Arc::new(Self { config, store, links, shelf, levels, closing, fatal, transcriber });
        let (repin, repinned) = watch::channel(());
        tokio::spawn(Self::keep_levels_warm(Arc::downgrade(&speech), repinned));
        tokio::spawn(Self::tick(Arc::downgrade(&speech)));
        tokio::spawn(Self::repin(Arc::downgrade(&speech), changes, repin));
        tokio::spawn(Self::reroute(Arc::downgrade(&speech), told));
        speech
    }

    async fn tick(speech: Weak<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let Some(speech) = speech.upgrade() else { return };
            for link in &speech.links {
                link.tick();
            }
        }
    }

    /// Checks the request, then queues it, joins the same one in flight, or answers from the cache.
    ///
    /// # Errors
    /// Everything that can be known before the first sound.
    pub async fn speak(&self, mut request: SpeechRequest) -> Result<Speaking, Error> {
        self.check_open()?;
        let route = route::route(&self.links, request.engine.as_deref())?;
        let voice = match &request.own_voice {
            Some(voice) => Arc::clone(voice),
            None => self.voices().resolve(request.voice.as_deref().unwrap_or(&self.config.voices.default))?,
        };
        let route = route::with_params(route::with_voice(route, &voice)?, &request.params);
        request.whole |= route::wants_whole_text(&route[0].info, &request.params);
        let resolved = resolve(&self.config, &request, &voice, &route)?;
        if let Some(mut speaking) = resolved.key.and_then(|key| self.again(&key, &request)) {
            self.set_level(&mut speaking, &request.level, &voice).await;
            return Ok(speaking);
        }
        let _visit = self.levels.visit(&voice);
        let pieces = if request.whole {
            text::whole(&request.text)
        } else {
            text::segment_for(&request.text, self.limits(&route[0]), &route::reader(&route, &request.params))
        };
        if pieces.is_empty() {
            let message = "there is nothing to say: the text has no letters and no digits";
            return Err(Error::invalid("nothing_to_say", Some("input"), message));
        }
        let (shares, languages) = shares(&route, &pieces, resolved.language.as_deref(), &voice.languages)?;
        let first = &route[shares[0].0].link;
        let mut prepared = Vec::with_capacity(shares.len());
        for (stop, _) in &shares {
            prepared.push(self.prepared(&route[*stop].link, &first.name, &voice).await?);
        }
        // Before its own segments, which nobody can hear before it is known.
        self.gain(&request.level, first, &voice).await;
        let script = script(&self.config, &request, &resolved, &voice, &route[shares[0].0]);
        let lines = lines(&resolved, pieces.into_iter().zip(languages), 0);
        let mut speaking = self.begin(script, lines, &route, shares, prepared)?;
        self.set_level(&mut speaking, &request.level, &voice).await;
        Ok(speaking)
    }

    /// # Errors
    /// `ShuttingDown`.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.closing.load(Ordering::Acquire) { Err(Error::ShuttingDown) } else { Ok(()) }
    }

    pub(super) fn limits(&self, first: &Stop) -> text::Limits {
        let max_chars = first.info.max_segment_chars;
        text::Limits { first_chars: self.config.text.first_segment_chars.min(max_chars), max_chars }
    }

    /// From the cache, or together with those who listen to the same already.
    fn again(&self, key: &Key, request: &SpeechRequest) -> Option<Speaking> {
        if let Some(spoken) = self.shelf.cache.get(key) {
            metrics::counter!("ishowtts_cache_hits_total").increment(1);
            return Some(Speaking::kept(spoken));
        }
        let job = self.shelf.flights.lock().get(key).cloned()?;
        let speaking = Speaking::join(&job, &self.shelf)?;
        job.promote(request.class);
        metrics::counter!("ishowtts_joined_total").increment(1);
        Some(speaking)
    }

    fn begin(
        &self,
        script: Script,
        lines: Vec<Line>,
        route: &[Stop],
        shares: Vec<(usize, Vec<usize>)>,
        prepared: Vec<Prepared>,
    ) -> Result<Speaking, Error> {
        let (key, order) = (script.key, script.order);
        // Held until the job can be joined, so that the same request is started once.
        let mut flights = self.shelf.flights.lock();
        if let Some(key) = key
            && let Some(job) = flights.get(&key)
            && let Some(speaking) = Speaking::join(job, &self.shelf)
        {
            job.promote(order.class);
            return Ok(speaking);
        }
        let (job, speaking) = self.start_job(script, lines, false)?;
        if let Some(key) = key {
            flights.insert(key, Arc::clone(&job));
        }
        drop(flights);
        for ((stop, segments), prepared) in shares.into_iter().zip(prepared) {
            ask(&job, &route[stop].link, segments, prepared, false)?;
        }
        Ok(speaking)
    }

    /// A job with its first listener. `open`: its script may grow.
    pub(super) fn start_job(
        &self,
        script: Script,
        lines: Vec<Line>,
        open: bool,
    ) -> Result<(Arc<Job>, Speaking), Error> {
        let ahead = Ahead {
            max_unread_samples: (self.config.speech.max_unread_s * f64::from(script.sample_rate_hz)) as u64,
            max_kept_samples: self.shelf.cache.max_entry_samples(),
        };
        let job = Job::new(script, lines, open, ahead, Arc::clone(&self.shelf));
        let speaking = Speaking::join(&job, &self.shelf).ok_or(Error::ShuttingDown)?;
        Ok((job, speaking))
    }

    /// The versions that are always prepared are those that the library has now.
    async fn repin(speech: Weak<Self>, mut changes: watch::Receiver<Arc<Library>>, repinned: watch::Sender<()>) {
        while changes.changed().await.is_ok() {
            let Some(speech) = speech.upgrade() else { return };
            speech.pin_voices();
            repinned.send_replace(());
        }
    }

    /// Gives what one engine could not say to the next one of the route that can.
    async fn reroute(speech: Weak<Self>, mut told: mpsc::UnboundedReceiver<Unsaid>) {
        while let Some(unsaid) = told.recv().await {
            let Some(speech) = speech.upgrade() else { return };
            tokio::spawn(async move {
                if let Err(error) = speech.say_elsewhere(&unsaid).await {
                    unsaid.job.fail(error);
                }
            });
        }
    }

    async fn say_elsewhere(&self, unsaid: &Unsaid) -> Result<(), Error> {
        let line = unsaid.job.line(unsaid.segment);
        let language = line.segment.language.as_deref();
        let _visit = self.levels.visit(&unsaid.job.script.voice);
        let tried = self.links.iter().position(|link| link.name == unsaid.engine).unwrap_or(self.links.len());
        let at = self.links.get(tried).and_then(|link| link.info().ok());
        for link in self.links.iter().skip(tried + 1).filter(|_| unsaid.job.script.may_fall_back) {
            let Ok(info) = link.info() else { continue };
            let voice = &unsaid.job.script.voice;
            let takes_over = at.as_ref().is_none_or(|at| route::takes_over(&info, at, &line.segment.params));
            if route::cannot_say(&info, &line.segment.text, language).is_some()
                || !route::can_speak_as(&info, voice)
                || !takes_over
            {
                continue;
            }
            let Ok(prepared) = self.prepared(link, &unsaid.job.script.engine, voice).await else { continue };
            tracing::info!(from = unsaid.engine, to = link.name, "segment goes to the next engine");
            let segments = vec![unsaid.segment];
            let task = Task { job: Arc::clone(&unsaid.job), segments: segments.clone(), prepared, open: false };
            let order = Order { continues: true, ..unsaid.job.script.order };
            let id = link.submit(task, order)?;
            unsaid.job.add_part(Arc::clone(link), id, segments, false);
            return Ok(());
        }
        Err(unsaid.error.clone())
    }

    /// As they stand now.
    #[must_use]
    pub fn voices(&self) -> Arc<Library> {
        self.store.library()
    }

    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Prepares the default voice and those of `voices.preload` as the library has them now, and keeps these versions.
    fn pin_voices(&self) {
        let pinned = pinned(&self.config, &self.voices());
        for link in &self.links {
            link.pin(pinned.clone());
        }
    }

    #[must_use]
    pub fn engines(&self) -> Vec<EngineStatus> {
        self.links
            .iter()
            .map(|link| EngineStatus { name: link.name.clone(), state: link.state(), warm: link.warm() })
            .collect()
    }

    /// True when every configured engine is loaded and the pinned voices are prepared and measured.
    #[must_use]
    pub fn ready(&self) -> bool {
        !self.closing.load(Ordering::Acquire)
            && self.links.iter().all(|link| link.info().is_ok())
            && self.levels_are_warm()
    }

    /// Waits until `ready`.
    ///
    /// # Errors
    /// What broke an engine.
    pub async fn wait_ready(&self) -> Result<(), Error> {
        for link in &self.links {
            let mut state = link.watch_state();
            drop(state.wait_for(|state| !matches!(state, EngineState::Loading)).await);
            link.info()?;
        }
        self.wait_for_levels().await;
        Ok(())
    }

    /// Waits for something fatal: a hang, an engine that is broken or did not accept its settings.
    pub async fn failed(&self) -> Lost {
        let mut fatal = self.fatal.subscribe();
        let lost = fatal.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        lost.unwrap_or_else(|| Lost { message: String::new(), by_setting: false })
    }

    /// What an engine that did not load has against its settings.
    #[must_use]
    pub fn wrong_setting(&self) -> Option<String> {
        self.links.iter().filter_map(|link| link.lost()).find(|lost| lost.by_setting).map(|lost| lost.message.clone())
    }

    /// No new requests; waits until those in flight have been read or `grace` is over, then ends the engines.
    pub async fn shut_down(&self, grace: Duration) {
        self.closing.store(true, Ordering::Release);
        let mut listening = self.shelf.listening.subscribe();
        let unread = tokio::time::timeout(grace, listening.wait_for(|listening| *listening == 0)).await.is_err();
        if unread {
            tracing::warn!("some speech was still unread when the grace period ended");
        }
        for link in &self.links {
            link.close();
        }
        let links: Vec<_> =
            self.links.iter().filter(|link| !matches!(link.state(), EngineState::Broken(_))).cloned().collect();
        let transcriber = self.transcriber.get().cloned();
        let joined = tokio::task::spawn_blocking(move || {
            links.iter().for_each(|link| link.join());
            if let Some(transcriber) = transcriber {
                transcriber.close();
            }
        })
        .await;
        if joined.is_err() {
            tracing::error!("an engine did not end cleanly");
        }
    }
}

/// Voices that are always prepared: the default one and those that are to be preloaded.
fn pinned(config: &Config, voices: &Library) -> Vec<Arc<Voice>> {
    let mut pinned: Vec<Arc<Voice>> = Vec::new();
    let preload = config.voices.preload.iter().map(|name| (name, true));
    for (name, is_preload) in std::iter::once((&config.voices.default, false)).chain(preload) {
        match voices.resolve(name) {
            Ok(voice) if pinned.iter().all(|held| held.version != voice.version) => pinned.push(voice),
            Ok(_) => {}
            // Of the default one the library has told.
            Err(error) if is_preload => tracing::warn!("voices.preload: {error}"),
            Err(_) => {}
        }
    }
    pinned
}

/// Has an engine say some of a job's segments. If it does not take them, the job has failed.
///
/// # Errors
/// What `Link::submit` says.
pub(super) fn ask(
    job: &Arc<Job>,
    link: &Arc<Link>,
    segments: Vec<usize>,
    prepared: Prepared,
    open: bool,
) -> Result<(), Error> {
    let task = Task { job: Arc::clone(job), segments: segments.clone(), prepared, open };
    // Not the first of its job: its listeners have heard what comes before and wait now.
    let order = Order { continues: open && segments.first() != Some(&0), ..job.script.order };
    match link.submit(task, order) {
        Ok(id) => job.add_part(Arc::clone(link), id, segments, open),
        Err(error) => {
            job.fail(error.clone());
            return Err(error);
        }
    }
    Ok(())
}

/// A stop of the route, and the segments that it says, ascending.
pub(super) type Share = (usize, Vec<usize>);

/// Which stop says which segments, the one of the first segment first, and the language of each segment: the one that
/// was asked for, else the one that its text seems to be in, else the voice's own, if some stop speaks that.
pub(super) fn shares(
    route: &[Stop],
    pieces: &[Piece],
    asked: Option<&str>,
    voice: &[String],
) -> Result<(Vec<Share>, Vec<Option<String>>), Error> {
    let mut shares: Vec<Share> = Vec::new();
    let mut languages = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate() {
        let found = if asked.is_none() { text::language(&piece.text) } else { asked };
        let (stop, language) = match route::choose(route, &piece.text, found) {
            Ok(stop) => (stop, found),
            Err(_) if asked.is_none() => (route::choose(route, &piece.text, None)?, None),
            Err(error) => return Err(error),
        };
        let own = voice.first().filter(|_| language.is_none()).map(String::as_str);
        // Nothing tells: a voice that speaks French goes to an engine that does, an English one stays where it is.
        let (stop, language) = match own.map(|own| route::choose(route, &piece.text, Some(own))) {
            Some(Ok(speaks)) if speaks != stop => (speaks, own),
            _ => (stop, language),
        };
        languages.push(language.map(str::to_owned));
        match shares.iter_mut().find(|(of, _)| *of == stop) {
            Some((_, segments)) => segments.push(index),
            None => shares.push((stop, vec![index])),
        }
    }
    Ok((shares, languages))
}
