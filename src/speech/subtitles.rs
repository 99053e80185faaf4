//! Captions as files that players read: SubRip and WebVTT. Pure.

use std::{borrow::Borrow, fmt::Write as _};

use super::Caption;

/// What broadcasters put on a line, and two of them on the screen.
const LINE_CHARS: usize = 42;
const CUE_CHARS: usize = 2 * LINE_CHARS;

/// What is shown for a time.
struct Cue {
    start_ms: f64,
    end_ms: f64,
    text: String,
}

/// SubRip. `text`: what the captions were made of.
#[must_use]
pub fn srt<C: Borrow<Caption>>(text: &str, captions: &[C]) -> String {
    let mut file = String::new();
    for (index, cue) in cues(text, captions).iter().enumerate() {
        let (start, end) = (time(cue.start_ms, ','), time(cue.end_ms, ','));
        // A file in memory does not fail to be written.
        let _ = write!(file, "{}\n{start} --> {end}\n{}\n\n", index + 1, cue.text);
    }
    file
}

/// WebVTT. `text`: what the captions were made of.
#[must_use]
pub fn vtt<C: Borrow<Caption>>(text: &str, captions: &[C]) -> String {
    let mut file = String::from("WEBVTT\n\n");
    for cue in cues(text, captions) {
        let (start, end) = (time(cue.start_ms, '.'), time(cue.end_ms, '.'));
        let text = cue.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(file, "{start} --> {end}\n{text}\n\n");
    }
    file
}

fn cues<C: Borrow<Caption>>(text: &str, captions: &[C]) -> Vec<Cue> {
    let chars: Vec<char> = text.chars().collect();
    captions.iter().flat_map(|caption| cues_of(&chars, caption.borrow())).collect()
}

/// One segment, in several cues where it is too long for one and the times of its words are known.
fn cues_of(chars: &[char], caption: &Caption) -> Vec<Cue> {
    let written = |start: usize, end: usize| -> String {
        let end = end.min(chars.len());
        let part: String = chars[start.min(end)..end].iter().collect();
        wrapped(&part)
    };
    let whole = caption.end_char - caption.start_char;
    if whole <= CUE_CHARS || caption.words.len() < 2 {
        let text = written(caption.start_char, caption.end_char);
        return vec![Cue { start_ms: caption.start_ms, end_ms: caption.end_ms, text }];
    }
    let parts = whole.div_ceil(CUE_CHARS);
    let mut starts = vec![0];
    for (index, word) in caption.words.iter().enumerate().skip(1) {
        let begun = caption.words[starts[starts.len() - 1]].start_char;
        // Parts of about the same length read better than full ones and a rest.
        if word.end_char.saturating_sub(begun) > whole.div_ceil(parts).max(LINE_CHARS) {
            starts.push(index);
        }
    }
    let cue = |(place, &start): (usize, &usize)| {
        let (word, next) = (&caption.words[start], starts.get(place + 1).map(|next| &caption.words[*next]));
        Cue {
            start_ms: if place == 0 { caption.start_ms } else { word.start_ms },
            end_ms: next.map_or(caption.end_ms, |next| next.start_ms),
            text: written(
                if place == 0 { caption.start_char } else { word.start_char },
                next.map_or(caption.end_char, |next| next.start_char),
            ),
        }
    };
    starts.iter().enumerate().map(cue).collect()
}

/// Whitespace folded, lines of at most `LINE_CHARS` where words allow. An empty line would end the cue.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let chars = word.chars().count();
        if length > 0 && length + 1 + chars > LINE_CHARS {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
            length += 1;
        }
        // Would be read as a time line.
        lines.push_str(&word.replace("-->", "->"));
        length += chars;
    }
    lines
}

fn time(ms: f64, point: char) -> String {
    let ms = ms.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::CaptionWord;

    fn caption(text: &str, start_char: usize, start_ms: f64, words: bool) -> Caption {
        let chars = text.chars().count();
        let mut at = 0;
        let word = |word: &str| {
            let (start, end) = (at, at + word.chars().count());
            at = end + 1;
            CaptionWord {
                start_ms: start_ms + start as f64 * 10.0,
                end_ms: start_ms + end as f64 * 10.0,
                start_char: start_char + start,
                end_char: start_char + end,
                text: word.to_owned(),
            }
        };
        Caption {
            segment: 0,
            start_ms,
            end_ms: start_ms + chars as f64 * 10.0,
            start_char,
            end_char: start_char + chars,
            text: text.to_owned(),
            spoken: text.to_owned(),
            words: if words { text.split(' ').map(word).collect() } else { Vec::new() },
            params: crate::engine::Params::new(),
        }
    }

    #[test]
    fn a_file_of_two_segments() {
        let text = "Übung & <b>Spiel</b>. Zwei.";
        let captions = [caption("Übung & <b>Spiel</b>.", 0, 0.0, false), caption("Zwei.", 22, 3_661_234.0, false)];
        assert_eq!(
            srt(text, &captions),
            "1\n00:00:00,000 --> 00:00:00,210\nÜbung & <b>Spiel</b>.\n\n2\n01:01:01,234 --> 01:01:01,284\nZwei.\n\n"
        );
        assert_eq!(
            vtt(text, &captions),
            "WEBVTT\n\n00:00:00.000 --> 00:00:00.210\nÜbung &amp; &lt;b&gt;Spiel&lt;/b&gt;.\n\n\
             01:01:01.234 --> 01:01:01.284\nZwei.\n\n"
        );
    }

    #[test]
    fn a_long_segment_becomes_cues_without_gap_or_loss() {
        let text = "word ".repeat(60);
        let cues = cues(&text, &[caption(text.trim_end(), 0, 500.0, true)]);
        assert!(cues.len() > 3);
        assert_eq!((cues[0].start_ms, cues[cues.len() - 1].end_ms), (500.0, 500.0 + 2_990.0));
        assert!(cues.windows(2).all(|pair| pair[0].end_ms == pair[1].start_ms));
        assert!(cues.iter().all(|cue| cue.text.lines().count() <= 2 && cue.text.lines().all(|line| line.len() <= 42)));
        let shown: Vec<_> = cues.iter().flat_map(|cue| cue.text.split_whitespace()).collect();
        assert_eq!(shown, text.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_in_a_text_ends_its_cue_early() {
        let text = "a\n\n --> b\n-->c";
        let file = srt(text, &[caption(text, 0, 0.0, false)]);
        assert_eq!(file.matches("-->").count(), 1);
        assert_eq!(file.matches("\n\n").count(), 1);
    }
}
