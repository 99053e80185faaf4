//! Where sentences end: the Unicode rules, less the breaks that abbreviations, ellipses, addresses and quoted speech make
//! them see. Pure, on the caller's thread.
//!
//! An ellipsis ends no sentence, as nothing tells whether it does; clause.rs cuts at it where a cut is needed.

use icu_properties::{CodePointSetData, props::SentenceTerminal};
use icu_segmenter::{SentenceSegmenter, options::SentenceBreakInvariantOptions};

use super::{
    abbreviations::{Stop, is_month, opens_sentence, precedes_ordinal, stop_after},
    cluster::is_boundary,
};

/// How far a break looks back for the word, and on for the next one, in bytes: work per break is bounded.
const WORD_REACH: usize = 48;

/// Calls `sentence` with the start and the end of each sentence of `line`, in order and without gaps.
pub(super) fn for_each_sentence(line: &str, mut sentence: impl FnMut(usize, usize)) {
    let mut start = 0;
    let sentences = SentenceSegmenter::new(SentenceBreakInvariantOptions::default());
    for at in sentences.segment_str(line).skip(1) {
        let at = before_openers(line, start, at);
        if at == line.len() || (ends_sentence(line, start, at) && is_boundary(line, start, at)) {
            sentence(start, at);
            start = at;
        }
    }
}

/// The Unicode rules take brackets for closing ones when no space is between: `吗？「是` would break behind the bracket.
fn before_openers(line: &str, start: usize, at: usize) -> usize {
    if at == line.len() {
        return at;
    }
    let opens = |c: char| matches!(c, '(' | '[' | '「' | '『' | '（' | '【' | '《' | '〈' | '“' | '‘' | '«' | '‹');
    let body = line[start..at].trim_end_matches(opens);
    if body.is_empty() { at } else { start + body.len() }
}

/// Whether the terminator before `at` ends a sentence that started at `start`, given that something follows.
pub(super) fn ends_sentence(line: &str, start: usize, at: usize) -> bool {
    let left = line[start..at].trim_end();
    let right = &line[at..];
    let spaced = left.len() < at - start;
    let body = left.trim_end_matches(is_closer);
    let closed = body.len() < left.len();
    match body.chars().next_back() {
        Some('.') => ends_at_full_stop(body, right, spaced),
        Some('!' | '?') if !spaced && !closed => ends_within_token(body, right),
        // "Stop!" he said.
        Some('!' | '?' | '…') if closed => !right.chars().next().is_some_and(char::is_lowercase),
        _ => true,
    }
}

fn ends_at_full_stop(body: &str, right: &str, spaced: bool) -> bool {
    // Without a space: a file name or an address, unless a script follows that has no spaces.
    if !spaced && right.starts_with(|c: char| c.is_ascii()) {
        return false;
    }
    let stem = body.trim_end_matches(['.', '…']);
    if stem.len() + 1 < body.len() {
        return stem.ends_with(['!', '?']);
    }
    let word = last_word(stem);
    let before = &stem[..stem.len() - word.len()];
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return !is_ordinal(word, before, right);
    }
    match stop_after(word) {
        Stop::End => true,
        Stop::Abbreviation => false,
        Stop::BeforeNumber => !right.starts_with(|c: char| c.is_numeric() || c == '#'),
        Stop::MayEnd => {
            let (next, dotted) = next_word(right);
            if word == "I" {
                // "So did I." is far more common than an initial, but for the company of other initials.
                return !(dotted && is_initial(next) || before.trim_end().ends_with('.'));
            }
            !dotted && opens_sentence(next)
        }
    }
}

/// "1." opens a list entry, "am 3. Oktober" is a date.
fn is_ordinal(digits: &str, before: &str, right: &str) -> bool {
    if before.trim().is_empty() {
        return digits.len() <= 3;
    }
    let previous = last_word(before.trim_end());
    digits.len() <= 2 && (is_month(next_word(right).0) || precedes_ordinal(previous))
}

/// `?` and `!` with a character right behind them: "https://a.b/c?D=e", "Yahoo!Mail", but also "Really?Yes".
fn ends_within_token(body: &str, right: &str) -> bool {
    let opens = right.starts_with(|c: char| c.is_uppercase() || (!c.is_ascii() && !c.is_lowercase()));
    opens && !tail(body).rsplit(char::is_whitespace).next().is_some_and(|token| token.contains(['/', '@', '=']))
}

/// Marks that may end a sentence.
pub(super) fn is_terminal(c: char) -> bool {
    if c.is_ascii() { matches!(c, '.' | '!' | '?') } else { CodePointSetData::new::<SentenceTerminal>().contains(c) }
}

/// Closing quotes and brackets, and quotes that may close.
pub(super) fn is_closer(c: char) -> bool {
    match c {
        '"' | '\'' | ')' | ']' | '}' | '*' | '_' => true,
        '\0'..='\u{7f}' => false,
        _ => matches!(
            c,
            '’' | '”'
                | '“'
                | '‘'
                | '»'
                | '«'
                | '›'
                | '‹'
                | '」'
                | '』'
                | '）'
                | '】'
                | '》'
                | '〉'
                | '〕'
                | '］'
                | '｣'
        ),
    }
}

pub(super) fn is_opener(c: char) -> bool {
    matches!(c, '"' | '\'' | '(' | '[' | '{' | '‘' | '“' | '„' | '«' | '‹' | '»' | '¿' | '¡' | '*' | '_' | '—' | '–')
}

fn is_initial(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.next().is_none()
}

/// The last `WORD_REACH` bytes of `text`.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(WORD_REACH);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// The word at the end of `text`, with the full stops inside it.
pub(super) fn last_word(text: &str) -> &str {
    let tail = tail(text);
    let from = tail
        .rfind(|c: char| c.is_whitespace() || is_opener(c))
        .map_or(0, |at| at + tail[at..].chars().next().map_or(0, char::len_utf8));
    &tail[from..]
}

/// The word that `text` begins with, past opening quotes, and whether a full stop follows it.
fn next_word(text: &str) -> (&str, bool) {
    let mut to = text.len().min(WORD_REACH);
    while !text.is_char_boundary(to) {
        to -= 1;
    }
    let text = text[..to].trim_start_matches(|c| is_opener(c) || c == ' ');
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    (&text[..end], text[end..].starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(line: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for_each_sentence(line, |start, end| found.push(line[start..end].trim()));
        found
    }

    /// `|` marks where sentences are expected to end.
    fn check(marked: &[&str]) {
        for marked in marked {
            let expected: Vec<&str> = marked.split('|').map(str::trim).collect();
            assert_eq!(sentences(&marked.replace('|', "")), expected);
        }
    }

    #[test]
    fn english() {
        check(&[
            "Hello there. |How are you? |Fine!",
            "Dr. Smith met Mrs. Jones vs. Mr. T at St. Mary's. |They left.",
            "J. K. Rowling and George W. Bush wrote. |Who read?",
            "The U.S. Army went to the U.K. They came back.".replace("U.K. ", "U.K. |").as_str(),
            "We met at 9:30 a.m. on Monday. |At 10 p.m. Central we left.",
            "Apples, pears, etc. are fruit. |Bring apples, etc. |Then go.",
            "See No. 5 and Fig. 3 on p. 12. |No. |I will not.",
            "It costs 3.14 or 1,000.50 dollars. |Version v1.2.3 is out. |Good.",
            "Use fruit, e.g. Apples, i.e. Those. |Fine.",
            "Go to https://a.b/c?d=e.f and https://A.b/C?D=E. |Mail user@Host.com. |Done.",
            "Wait... what? |I thought... Well, no… Maybe.",
            "“Stop!” he said. |“Why?” |She left.",
            "\"Is it?\" she asked. |(It was.) |So be it.",
            "So did I. |Then we left.",
            "What?! |No way!!! |Really?Yes.".replace("?Yes", "?|Yes").as_str(),
            "1. Buy milk. |2. Buy eggs.",
            "Acme Inc. |The firm grew. |Acme Inc. Chairman Bob agreed.",
            "Node.js and ASP.NET are here. |README.Md too.",
        ]);
    }

    #[test]
    fn other_languages() {
        check(&[
            "Am 3. Oktober kam Dr. Müller. |Der 2. Weltkrieg endete, z.B. In Berlin. |Es war 1945.",
            "Das kostet ca. 5 Euro usw. |Dann gingen wir.",
            "M. Dupont et Mme. Durand sont là. |Ça va ?| Oui !",
            "¿Qué tal, Sr. García? |¡Muy bien! |Ud. Sabe.",
            "你好。|世界！|真的吗？|「是的。」|好。",
            "こんにちは。|元気ですか？|はい！",
            "Привет, как дела? |Т.е. Хорошо. |Да.",
            "नमस्ते। |आप कैसे हैं? |ठीक।",
            "مرحبا. |كيف حالك؟ |بخير.",
            "안녕하세요. |반갑습니다!",
            "Καλημέρα. |Τι κάνεις;",
            "Բարև։ |Ինչպե՞ս ես։",
        ]);
    }

    #[test]
    fn nothing_is_lost_on_odd_lines() {
        for line in ["...", ".", "!!!???", "a.a.a.A.", "?A?A?A", "\"\"\"", "。。。", ". . . .", "1.2.3.", "I.", "…"]
        {
            let mut at = 0;
            for_each_sentence(line, |start, end| {
                assert_eq!(start, at);
                at = end;
            });
            assert_eq!(at, line.len(), "{line}");
        }
    }
}
