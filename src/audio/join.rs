//! Puts segments that were spoken one by one together, piece by piece: only true silence is trimmed, pauses are kept
//! within bounds, and speech that meets speech is crossfaded. Runs on the caller's thread.

/// At or below it a sample is true silence: −80 dBFS. Room tone, breath and reverberation lie above.
const SILENCE: f32 = 1e-4;
/// An edge beside a pause that is louder than this is faded, so that it does not click.
const ABRUPT: f32 = 1e-3;
const EDGE_FADE_MS: f64 = 4.0;

/// What stands between two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seam {
    Sentence,
    Clause,
    /// Nothing: one was cut within a clause.
    None,
}

impl Seam {
    /// What the end of `text` is, quotation marks and brackets passed over.
    #[must_use]
    pub fn after(text: &str) -> Self {
        let last =
            text.trim_end().trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '」', '』', '）']).chars().last();
        match last {
            Some('.' | '!' | '?' | '…' | '。' | '！' | '？' | '．' | '؟' | '۔' | '।' | '॥' | '։') => {
                Self::Sentence
            }
            Some(',' | ';' | ':' | '，' | '、' | '；' | '：' | '،' | '؛' | '—' | '–') => Self::Clause,
            _ => Self::None,
        }
    }
}

/// Bounds on the true silence at a seam: what is longer is cut in its middle, what is shorter is lengthened there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pause {
    pub min_ms: f64,
    pub max_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joining {
    pub sentence: Pause,
    pub clause: Pause,
    pub none: Pause,
    /// Of speech that meets speech: where no pause is left between.
    pub crossfade_ms: f64,
}

impl Default for Joining {
    fn default() -> Self {
        Self {
            sentence: Pause { min_ms: 120.0, max_ms: 800.0 },
            clause: Pause { min_ms: 40.0, max_ms: 400.0 },
            none: Pause { min_ms: 0.0, max_ms: 150.0 },
            crossfade_ms: 150.0,
        }
    }
}

/// Where a segment lies in the joined sound, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first speech, and the end of its last.
    pub start: u64,
    pub end: u64,
    /// Where its first sample would be if nothing had been trimmed: before the beginning of all, perhaps.
    pub origin: i64,
}

/// Of one speech. Holds back no more than the crossfade, and the silence at the end of what it was given.
#[derive(Debug)]
pub struct Joiner {
    joining: Joining,
    samples_per_ms: f64,
    fade: usize,
    edge: usize,
    /// What is held back of speech: enough for either, and a sample more, so that no cut of the sound matters.
    keep: usize,
    /// Of the segment before: its last speech, and the silence after it.
    tail: Vec<f32>,
    tail_silence: Vec<f32>,
    seam: Option<Seam>,
    /// Of this segment: the silence before its first speech.
    lead: Vec<f32>,
    /// This segment as far as it is held back. Only speech and what is between it.
    held: Vec<f32>,
    state: State,
    /// Samples that left in earlier calls, and what `out` held when this one began.
    sent: u64,
    base: usize,
    /// Of this segment: its first speech, and the silence that was before it.
    start: u64,
    led: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the segment's first speech.
    Leading,
    /// The segment's first speech is gathered until it can be faded in.
    Meeting,
    Speaking,
}

impl Joiner {
    #[must_use]
    pub fn new(sample_rate_hz: u32, joining: Joining) -> Self {
        let samples_per_ms = f64::from(sample_rate_hz) / 1e3;
        let samples = |ms: f64| (ms.max(0.0) * samples_per_ms).round() as usize;
        let (fade, edge) = (samples(joining.crossfade_ms), samples(EDGE_FADE_MS).max(1));
        Self {
            joining,
            samples_per_ms,
            fade,
            edge,
            keep: fade.max(edge) + 1,
            tail: Vec::new(),
            tail_silence: Vec::new(),
            seam: None,
            lead: Vec::new(),
            held: Vec::new(),
            state: State::Leading,
            sent: 0,
            base: 0,
            start: 0,
            led: 0,
        }
    }

    /// The next sound of the segment whose turn it is; puts what is finished behind what `out` holds.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.base = out.len();
        self.take(pcm, out);
        self.sent += (out.len() - self.base) as u64;
    }

    fn take(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let mut pcm = pcm;
        if self.state == State::Leading {
            let speech = pcm.iter().position(|sample| sample.abs() > SILENCE).unwrap_or(pcm.len());
            self.lead.extend_from_slice(&pcm[..speech]);
            pcm = &pcm[speech..];
            if pcm.is_empty() {
                return;
            }
            self.begin(out);
        }
        self.held.extend_from_slice(pcm);
        // Silence at its end may be that of the segment, which no speech is mixed into.
        if self.state == State::Meeting && self.held.len() - trailing_silence(&self.held) >= self.keep {
            self.meet(out);
        }
        if self.state == State::Speaking {
            let keep = self.keep + trailing_silence(&self.held);
            let ready = self.held.len().saturating_sub(keep);
            out.extend(self.held.drain(..ready));
        }
    }

    /// The segment is complete; `seam` stands between it and the next one. Tells where it lies: if speech is to meet
    /// its end, some of that is still held back.
    pub fn end_segment(&mut self, seam: Seam, out: &mut Vec<f32>) -> Span {
        self.base = out.len();
        if self.state == State::Leading {
            // All of it was silence: it belongs to the pause.
            self.tail_silence.append(&mut self.lead);
            let here = self.sent + self.tail.len() as u64;
            return Span { start: here, end: here, origin: here as i64 };
        }
        let silence = trailing_silence(&self.held);
        self.tail_silence = self.held.split_off(self.held.len() - silence);
        if self.state == State::Meeting {
            self.meet(out);
        }
        self.tail = std::mem::take(&mut self.held);
        (self.seam, self.state) = (Some(seam), State::Leading);
        let end = self.place(out) + self.tail.len() as u64;
        if self.is_pause(self.tail_silence.len(), self.pause(seam)) {
            self.fade_out_tail();
            out.append(&mut self.tail);
        }
        self.sent += (out.len() - self.base) as u64;
        Span { start: self.start, end, origin: self.start as i64 - self.led as i64 }
    }

    /// The speech ends with the segment that ended last: its rest, without the silence after it.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if self.state != State::Leading {
            self.end_segment(Seam::None, out);
        }
        self.fade_out_tail();
        self.sent += self.tail.len() as u64;
        out.append(&mut self.tail);
    }

    /// Forgets what was pushed of the segment whose turn it is, if none of it has left and none was mixed.
    #[must_use]
    pub fn take_back(&mut self) -> bool {
        if self.state == State::Leading {
            self.lead.clear();
        }
        self.state == State::Leading
    }

    /// Where the next sample in `out` lies in the joined sound.
    fn place(&self, out: &[f32]) -> u64 {
        self.sent + (out.len() - self.base) as u64
    }

    fn pause(&self, seam: Seam) -> Pause {
        match seam {
            Seam::Sentence => self.joining.sentence,
            Seam::Clause => self.joining.clause,
            Seam::None => self.joining.none,
        }
    }

    fn samples(&self, ms: f64) -> usize {
        (ms.max(0.0) * self.samples_per_ms).round() as usize
    }

    /// Less silence than an edge takes to fade is a zero crossing: there speech meets speech.
    fn is_pause(&self, silence: usize, bounds: Pause) -> bool {
        self.samples(bounds.max_ms) > 0 && (self.samples(bounds.min_ms) > 0 || silence >= self.edge)
    }

    /// The segment's first speech comes: what lies between it and the one before is known.
    fn begin(&mut self, out: &mut Vec<f32>) {
        self.led = self.lead.len();
        let Some(seam) = self.seam else {
            // The silence before all speech.
            self.lead.clear();
            self.tail_silence.clear();
            self.state = State::Meeting;
            return;
        };
        let bounds = self.pause(seam);
        let natural = self.tail_silence.len() + self.lead.len();
        self.state = State::Meeting;
        if self.is_pause(natural, bounds) {
            let pause = natural.max(self.samples(bounds.min_ms)).min(self.samples(bounds.max_ms));
            self.fade_out_tail();
            out.append(&mut self.tail);
            // The natural silence stays where it touches speech; its middle is cut or lengthened.
            let after = self.tail_silence.len().min(pause);
            let before = self.lead.len().min(pause - after);
            out.extend_from_slice(&self.tail_silence[..after]);
            out.resize(out.len() + pause - after - before, 0.0);
            out.extend_from_slice(&self.lead[self.lead.len() - before..]);
        }
        self.tail_silence.clear();
        self.lead.clear();
    }

    /// Joins what is held of this segment to the end of the one before, if that is not out yet.
    fn meet(&mut self, out: &mut Vec<f32>) {
        self.state = State::Speaking;
        self.start = self.place(out);
        let fade = self.fade.min(self.tail.len()).min(self.held.len());
        if fade < self.edge {
            // Silence is before it, or nothing, or too little to be crossfaded.
            if self.held.first().is_some_and(|first| first.abs() > ABRUPT) {
                let edge = self.edge.min(self.held.len());
                for (index, sample) in self.held[..edge].iter_mut().enumerate() {
                    *sample *= rising(index, edge);
                }
            }
            self.fade_out_tail();
            out.append(&mut self.tail);
            return;
        }
        let kept = self.tail.len() - fade;
        self.start += kept as u64;
        let (before, after) = (self.tail[..kept].last().copied(), self.held.get(fade).copied());
        let largest =
            steepest(self.tail[kept.saturating_sub(1)..].iter()).max(steepest(self.held.iter().take(fade + 1)));
        let mixed = crossfaded(&self.tail[kept..], &self.held[..fade], before, after, largest);
        out.extend_from_slice(&self.tail[..kept]);
        self.tail.clear();
        self.held[..fade].copy_from_slice(&mixed);
    }

    fn fade_out_tail(&mut self) {
        if self.tail.last().is_some_and(|last| last.abs() > ABRUPT) {
            let edge = self.edge.min(self.tail.len());
            let from = self.tail.len() - edge;
            for (index, sample) in self.tail[from..].iter_mut().rev().enumerate() {
                *sample *= rising(index, edge);
            }
        }
    }
}

/// The largest step from one sample to the next.
fn steepest<'a>(samples: impl Iterator<Item = &'a f32> + Clone) -> f32 {
    samples.clone().zip(samples.skip(1)).map(|(left, right)| (right - left).abs()).fold(0.0, f32::max)
}

fn trailing_silence(sound: &[f32]) -> usize {
    sound.iter().rev().take_while(|sample| sample.abs() <= SILENCE).count()
}

/// Half a period of a raised cosine, from above 0 to below 1.
fn rising(index: usize, samples: usize) -> f32 {
    let place = (index as f32 + 1.0) / (samples as f32 + 1.0);
    (place * std::f32::consts::FRAC_PI_2).sin().powi(2)
}

/// `one` into `two`, which are as long, at equal power: where they are alike, their sum is made as much smaller as it
/// would be louder. No step in it, nor to `before` and `after`, is above `largest`.
fn crossfaded(one: &[f32], two: &[f32], before: Option<f32>, after: Option<f32>, largest: f32) -> Vec<f32> {
    let product = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    let energies = (product(one, one) * product(two, two)).sqrt();
    let likeness = if energies > 0.0 { (product(one, two) / energies).clamp(0.0, 1.0) as f32 } else { 0.0 };
    let samples = one.len();
    let mix = |law: &dyn Fn(f32) -> (f32, f32)| -> Vec<f32> {
        let sample = |index: usize| {
            let (out, into) = law((index as f32 + 1.0) / (samples as f32 + 1.0));
            one[index] * out + two[index] * into
        };
        (0..samples).map(sample).collect()
    };
    let steepest = |mixed: &[f32]| steepest(before.iter().chain(mixed).chain(after.iter()));
    let mut mixed = mix(&|place| {
        let (into, out) = (place * std::f32::consts::FRAC_PI_2).sin_cos();
        let louder = (1.0 + 2.0 * likeness * into * out).sqrt();
        (out / louder, into / louder)
    });
    if steepest(&mixed) > largest {
        // Of two unrelated sounds steps can add up: at equal gain they cannot.
        mixed = mix(&|place| (1.0 - place, place));
        let steps = steepest(&mixed);
        if steps > largest {
            // A tenth more, for the steps of the dip itself.
            let dip = 1.0 - 0.9 * largest / steps;
            for (index, sample) in mixed.iter_mut().enumerate() {
                let place = (index as f32 + 1.0) / (samples as f32 + 1.0);
                *sample *= 1.0 - dip * (place * std::f32::consts::PI).sin().powi(2);
            }
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: u32 = 24_000;

    /// A vowel: harmonics of `pitch_hz`, starting anywhere in its period.
    fn vowel(pitch_hz: f32, samples: usize, phase: f32, level: f32) -> Vec<f32> {
        let sample = |index: usize| {
            let angle = std::f32::consts::TAU * pitch_hz * index as f32 / RATE_HZ as f32 + phase;
            (1..16).map(|harmonic| (angle * harmonic as f32).sin() / harmonic as f32).sum::<f32>() * level
        };
        (0..samples).map(sample).collect()
    }

    fn joined(segments: &[(Vec<f32>, Seam)], joining: Joining, cut: usize) -> Vec<f32> {
        let mut joiner = Joiner::new(RATE_HZ, joining);
        let mut out = Vec::new();
        for (sound, seam) in segments {
            sound.chunks(cut).for_each(|piece| joiner.push(piece, &mut out));
            joiner.end_segment(*seam, &mut out);
        }
        joiner.finish(&mut out);
        out
    }

    fn largest_jump(sound: &[f32]) -> f32 {
        sound.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    fn padded(before: usize, sound: &[f32], after: usize) -> Vec<f32> {
        [vec![0.0; before], sound.to_vec(), vec![0.0; after]].concat()
    }

    #[test]
    fn a_seam_is_what_the_text_ends_with() {
        for text in ["Yes.", "Yes!”", "真的？」", "Wait… ", "सच।", "(Yes.)"] {
            assert_eq!(Seam::after(text), Seam::Sentence, "{text}");
        }
        for text in ["Yes,", "first:", "好，", "so —"] {
            assert_eq!(Seam::after(text), Seam::Clause, "{text}");
        }
        for text in ["", "Yes", "100", "好"] {
            assert_eq!(Seam::after(text), Seam::None, "{text}");
        }
    }

    #[test]
    fn only_true_silence_is_trimmed_at_the_ends() {
        let breath = vec![0.000_5; 480];
        let speech = vowel(120.0, 4_800, 0.0, 0.2);
        let sound = [vec![0.0; 2_400], breath.clone(), speech.clone(), breath.clone(), vec![1e-5; 2_400]].concat();
        let out = joined(&[(sound, Seam::Sentence)], Joining::default(), 1_000);
        assert_eq!(out, [breath.clone(), speech, breath].concat());
    }

    #[test]
    fn pauses_are_kept_within_their_bounds() {
        let speech = vowel(120.0, 4_800, 0.0, 0.2);
        let quiet = |out: &[f32]| {
            let (mut longest, mut run) = (0, 0);
            for sample in out {
                run = if sample.abs() <= SILENCE { run + 1 } else { 0 };
                longest = longest.max(run);
            }
            longest as f64 / f64::from(RATE_HZ) * 1e3
        };
        for (after_ms, before_ms, seam, expected_ms) in [
            (200.0, 100.0, Seam::Sentence, 300.0),
            (2_000.0, 100.0, Seam::Sentence, 800.0),
            (0.0, 0.0, Seam::Sentence, 120.0),
            (10.0, 0.0, Seam::Clause, 40.0),
            (300.0, 300.0, Seam::Clause, 400.0),
            (50.0, 20.0, Seam::None, 70.0),
            (300.0, 20.0, Seam::None, 150.0),
        ] {
            let samples = |ms: f64| (ms * 24.0) as usize;
            let segments = [
                (padded(0, &speech, samples(after_ms)), seam),
                (padded(samples(before_ms), &speech, 0), Seam::Sentence),
            ];
            let found = quiet(&joined(&segments, Joining::default(), 777));
            assert!((found - expected_ms).abs() < 1.0, "{after_ms} {before_ms} {seam:?}: {found}");
        }
    }

    #[test]
    fn speech_that_meets_speech_keeps_its_power() {
        let joining = Joining { none: Pause { min_ms: 0.0, max_ms: 0.0 }, ..Joining::default() };
        let rms = |sound: &[f32]| (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len() as f32).sqrt();
        // The same vowel going on, another pitch, and nearly silence against loud.
        for (other, phase) in [(120.0, 0.1), (120.0, 1.0), (171.0, 0.5)] {
            let one = vowel(120.0, 12_000, 0.1, 0.2);
            let two = vowel(other, 12_000, phase, 0.2);
            let out = joined(&[(one.clone(), Seam::None), (two, Seam::None)], joining, 1_000);
            assert_eq!(out.len(), 24_000 - 3_600);
            let (seam, usual) = (rms(&out[8_400..12_000]), rms(&one));
            assert!((0.7..1.35).contains(&(seam / usual)), "{other} {phase}: {}", seam / usual);
        }
    }

    #[test]
    fn spans_tell_where_speech_lies() {
        let speech = vowel(120.0, 4_800, 0.1, 0.2);
        let mut joiner = Joiner::new(RATE_HZ, Joining::default());
        let mut out = Vec::new();
        let mut spans = Vec::new();
        for (before, after, seam) in [(600, 240, Seam::Sentence), (120, 0, Seam::None), (0, 50, Seam::None)] {
            for piece in padded(before, &speech, after).chunks(1_000) {
                joiner.push(piece, &mut out);
            }
            spans.push(joiner.end_segment(seam, &mut out));
            // Where a pause follows all of it leaves, else the crossfade is held back.
            let held = spans[spans.len() - 1].end as usize - out.len();
            assert_eq!(held > 0, seam == Seam::None, "{held}");
        }
        joiner.finish(&mut out);
        // 120 ms lie between the first two, and the third begins 150 ms before the end of the second.
        let expected = [(0, 4_800, -600), (7_680, 12_480, 7_560), (8_880, 13_680, 8_880)];
        let expected = expected.map(|(start, end, origin)| Span { start, end, origin });
        assert_eq!((spans, out.len()), (expected.to_vec(), 13_680));
        for index in [1_000, 4_000] {
            assert_eq!(out[index], speech[index]);
        }
    }

    #[test]
    fn a_silent_segment_is_a_pause() {
        let speech = vowel(120.0, 4_800, 0.1, 0.2);
        let segments = [(speech.clone(), Seam::Sentence), (vec![0.0; 9_600], Seam::Sentence), (speech, Seam::Sentence)];
        assert_eq!(joined(&segments, Joining::default(), 1_000).len(), 4_800 + 9_600 + 4_800);
        assert!(joined(&[(vec![0.0; 9_600], Seam::None)], Joining::default(), 100).is_empty());
        assert!(joined(&[], Joining::default(), 100).is_empty());
    }

    proptest! {
        #[test]
        fn no_seam_clicks_and_no_cut_matters(
            pitches in proptest::collection::vec((90f32..300.0, 0f32..6.2, 200usize..9_000, 0.05f32..0.6), 2..5),
            silence in proptest::collection::vec(prop_oneof![Just((0, 0)), (0usize..600, 0usize..600)], 5),
            seams in proptest::collection::vec(prop_oneof![Just(Seam::None), Just(Seam::Clause), Just(Seam::Sentence)], 5),
            cut in 1usize..4_000, crossfade_ms in prop_oneof![Just(0.0), 0f64..8.0, 0f64..200.0],
            max_ms in prop_oneof![Just(0.0), 0f64..30.0])
        {
            let joining = Joining { none: Pause { min_ms: 0.0, max_ms }, crossfade_ms, ..Joining::default() };
            let segments: Vec<_> = pitches.iter().zip(silence).zip(seams).map(|((pitch, silence), seam)| {
                let (pitch_hz, phase, samples, level) = *pitch;
                (padded(silence.0, &vowel(pitch_hz, samples, phase, level), silence.1), seam)
            }).collect();
            let out = joined(&segments, joining, usize::MAX);
            prop_assert_eq!(&joined(&segments, joining, cut), &out);
            prop_assert!(out.iter().all(|sample| sample.is_finite()));
            // Everywhere, so within 2 ms of each seam too. Inside: without the silence that was put around it.
            let inside = |sound: &[f32]| {
                let speech = |sample: &f32| sample.abs() > SILENCE;
                let first = sound.iter().position(speech).unwrap_or(0);
                let last = sound.iter().rposition(speech).unwrap_or(0);
                largest_jump(&sound[first..=last])
            };
            let largest = segments.iter().map(|(sound, _)| inside(sound)).fold(0.0, f32::max);
            prop_assert!(largest_jump(&out) <= largest * 1.001, "{} > {}", largest_jump(&out), largest);
        }
    }
}
