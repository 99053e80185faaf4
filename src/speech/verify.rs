//! Never a success without the speech: what an engine must have made for text that has words.

/// Speech takes about 60 ms a letter or digit; less than this, at speed 1, cannot be all of it.
const MIN_MS_PER_SPEAKABLE: f64 = 8.0;
/// Root mean square over a segment; speech, pauses included, lies 20 dB and more above it.
const MIN_RMS: f64 = 1e-3;

/// What is written stretched ("sooooo") may be said with so many of the same letter.
const STRETCHED: usize = 3;
/// What is longer without a space is an address, of which the host alone may be said, or no word at all.
const WORD: usize = 32;

/// Of the `speakable` letters and digits of `text`, those that any engine says: it may read a text in its own way first.
pub(super) fn said_of(text: &str, speakable: usize) -> usize {
    let unsaid: usize = text.split_whitespace().map(unsaid).sum();
    speakable.saturating_sub(unsaid).max(1)
}

fn unsaid(word: &str) -> usize {
    let (mut letters, mut run, mut stretched) = (0, 0, 0);
    let mut last = None;
    for letter in word.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()) {
        letters += 1;
        run = if last == Some(letter) { run + 1 } else { 1 };
        last = Some(letter);
        stretched += usize::from(run > STRETCHED);
    }
    // Scripts without spaces write whole sentences in one.
    let beyond = if word.is_ascii() { (letters - stretched).saturating_sub(WORD) } else { 0 };
    stretched + beyond
}

/// Adds up what one segment has brought so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    samples: u64,
    energy: f64,
}

impl Heard {
    pub fn add(&mut self, pcm: &[f32]) {
        self.samples += pcm.len() as u64;
        self.energy += pcm.chunks(1024).map(|block| f64::from(block.iter().map(|x| x * x).sum::<f32>())).sum::<f64>();
    }

    /// What is wrong, if something is: `speakable` letters and digits were to be said at `speed`.
    pub fn fault(&self, speakable: usize, speed: f64, sample_rate_hz: u32) -> Option<String> {
        let ms = self.samples as f64 * 1e3 / f64::from(sample_rate_hz);
        if self.samples == 0 {
            return Some("it returned no sound for text that has words".to_owned());
        }
        if ms < speakable as f64 * MIN_MS_PER_SPEAKABLE / speed {
            return Some(format!("it returned {ms:.0} ms of sound for {speakable} letters and digits"));
        }
        let rms = (self.energy / self.samples as f64).sqrt();
        (rms < MIN_RMS).then(|| "it returned silence for text that has words".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Heard, said_of};

    fn heard(amplitude: f32, samples: usize) -> Heard {
        let mut heard = Heard::default();
        heard.add(&vec![amplitude; samples]);
        heard
    }

    #[test]
    fn speech_passes() {
        assert_eq!(heard(0.1, 24_000).fault(15, 1.0, 24_000), None);
        assert_eq!(heard(0.1, 6_000).fault(15, 4.0, 24_000), None);
    }

    #[test]
    fn what_an_engine_may_leave_out_is_not_missed() {
        let table = [
            ("so good", 6, 6),
            ("sooooooo good", 12, 8),
            (&"a".repeat(72), 72, 3),
            ("aAaAaA", 6, 3),
            ("哈哈哈哈哈哈", 6, 3),
            (&format!("https://example.com/{} now", "ab/".repeat(40)), 98, 35),
            (&"你好吗".repeat(20), 60, 60),
            (&"word ".repeat(20), 80, 80),
            ("aaaa", 0, 1),
        ];
        for (text, speakable, said) in table {
            assert_eq!(said_of(text, speakable), said, "{text}");
        }
    }

    #[test]
    fn nothing_too_little_and_silence_are_found() {
        assert!(heard(0.1, 0).fault(1, 1.0, 24_000).is_some());
        assert!(heard(0.1, 2_400).fault(50, 1.0, 24_000).is_some());
        assert!(heard(1e-5, 24_000).fault(15, 1.0, 24_000).is_some());
    }
}
