//! The whole of segmentation, by example and by property.

use proptest::prelude::*;

use super::{
    clean::MAX_MARKS,
    cluster::{GRAPHEMES, MAX_CLUSTER_CODE_POINTS, general_category, is_speakable},
    *,
};

const LIMITS: Limits = Limits { first_chars: 80, max_chars: 300 };

fn texts(text: &str, first_chars: usize, max_chars: usize) -> Vec<String> {
    let pieces = segment(text, Limits { first_chars, max_chars });
    check(text, &pieces, Limits { first_chars, max_chars }, false);
    pieces.into_iter().map(|piece| piece.text).collect()
}

/// What holds for any text. `links`: they are read.
pub(super) fn check(text: &str, pieces: &[Piece], limits: Limits, links: bool) {
    let mut last_end = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let Range { start, end } = piece.span;
        assert!(last_end <= start && start < end && end <= text.len(), "{:?} after {last_end}", piece.span);
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end));
        last_end = end;

        let written = measure(&piece.text);
        if links && piece.text.contains(['/', '.']) {
            assert!(piece.chars <= written.chars && piece.speakable <= written.speakable, "{:?}", piece.text);
        } else {
            assert_eq!(Measure { chars: piece.chars, speakable: piece.speakable }, written);
        }
        assert!(piece.speakable > 0, "{:?}", piece.text);
        let soft = limits.first_chars.max(1) + limits.first_chars / 2;
        let limit = if index == 0 { soft.min(limits.max_chars) } else { limits.max_chars };
        assert!(piece.chars <= limit.max(1), "{} over {limit}: {:?}", piece.chars, piece.text);
        assert_eq!(piece.text, piece.text.trim());
        assert!(!piece.text.contains("  ") && !piece.text.contains(char::is_control), "{:?}", piece.text);
        assert_eq!(letters(&piece.text), letters(&text[start..end]), "the span holds what is said");
    }
    let said: String = pieces.iter().map(|piece| letters(&piece.text)).collect();
    assert_eq!(said, letters(text), "every letter and digit is said, in order");
}

pub(super) fn letters(text: &str) -> String {
    text.chars().filter(|&c| is_speakable(c)).collect()
}

/// Whether no cut of `pieces` is inside a cluster of `text`, but for clusters that are too long to keep, and for the
/// space after a sign that stands before numbers, which is trimmed.
fn keeps_clusters(text: &str, pieces: &[Piece]) -> bool {
    let ends: Vec<usize> = GRAPHEMES.segment_str(text).collect();
    let whole = |at: usize| match ends.binary_search(&at) {
        Ok(_) => true,
        Err(next) => {
            text[at..].starts_with(' ') || text[ends[next - 1]..ends[next]].chars().count() > MAX_CLUSTER_CODE_POINTS
        }
    };
    pieces.iter().all(|piece| whole(piece.span.start) && whole(piece.span.end))
}

#[test]
fn texts_are_cut_as_they_are_read() {
    let table: [(&str, &[&str]); 16] = [
        ("Hello there, my dear friend. How are you today?", &["Hello there, my dear friend.", "How are you today?"]),
        (
            "Hi. Yes. Oh! That was a rather long day, was it not?",
            &["Hi. Yes. Oh!", "That was a rather long day, was it not?"],
        ),
        (
            "Dr. Smith paid $3.50 to e.g. Bob. Then he left at once.",
            &["Dr. Smith paid $3.50 to e.g. Bob.", "Then he left at once."],
        ),
        ("A first line\n\nA second line\nAnd a third", &["A first line", "A second line", "And a third"]),
        ("This was written\nin a narrow column.", &["This was written in a narrow column."]),
        ("Great!!! 😀😀", &["Great!!! 😀😀"]),
        ("😀 Great, thank you all so much. 🎉", &["😀 Great, thank you all so much. 🎉"]),
        ("***\nChapter one\n---", &["Chapter one"]),
        ("今天天气很好。我们去公园吧！好不好？", &["今天天气很好。我们去公园吧！好不好？"]),
        ("“Stop right there!” he said. “I will not stop.”", &["“Stop right there!” he said.", "“I will not stop.”"]),
        (
            "See https://a.b/c?d=e.f, or ask user@host.com. It is easy.",
            &["See https://a.b/c?d=e.f, or ask user@host.com.", "It is easy."],
        ),
        ("1. Buy some more milk.\n2. Wash the old car.", &["1. Buy some more milk.", "2. Wash the old car."]),
        ("a\0b\u{200b}c \u{202e}d", &["abc d"]),
        ("", &[]),
        (" \n\t\u{200b}\u{301}", &[]),
        ("?! … 😀👩\u{200d}👧 ---", &[]),
    ];
    for (text, expected) in table {
        assert_eq!(texts(text, 80, 300), expected, "{text}");
    }
}

#[test]
fn sentences_do_not_end_within_links() {
    let reader = Reader { links: true, ..Reader::default() };
    let link = format!("https://example.com/{}?Answer!Then", "x".repeat(100));
    let text = format!("This is a first sentence ({link}). And this is the second one of them.");
    let pieces = segment_for(&text, LIMITS, &reader);
    assert_eq!(pieces.len(), 2, "{pieces:?}");
    assert!(pieces[0].text.ends_with(&format!("({link}).")) && pieces[0].chars < 60);
}

#[test]
fn the_first_segment_is_small() {
    let clauses =
        "When the rain had finally stopped, we went out into the garden, where everything was green and wet again.";
    assert_eq!(
        texts(clauses, 80, 300),
        [
            "When the rain had finally stopped, we went out into the garden,",
            "where everything was green and wet again."
        ]
    );
    // A little over the limit and without a clause: whole, as a cut between words would be heard.
    let whole = "The captain of the old unsinkable vessel looked out over the endless grey northern sea";
    assert_eq!(texts(whole, 80, 300), [whole]);
    let long = "The captain of the old unsinkable vessel looked out over the endless grey northern sea for the ship \
                he had been promised by the owner of the line";
    assert_eq!(
        texts(long, 80, 300),
        [
            "The captain of the old unsinkable vessel looked out over the endless grey",
            "northern sea for the ship he had been promised by the owner of the line"
        ]
    );
    // Short sentences are put together, but not beyond the limit.
    assert_eq!(texts("Oh no. What is it? Let me see.", 20, 300), ["Oh no. What is it?", "Let me see."]);
}

#[test]
fn the_limit_holds_for_every_segment() {
    let word = "Donaudampfschifffahrtsgesellschaft";
    let text = format!("{word}, {word}. {}", "one two three four five, ".repeat(40));
    let parts = texts(&text, 40, 60);
    assert!(parts[2..].iter().all(|part| part.chars().count() > 20), "{parts:?}");
    assert_eq!(texts("你好", 1, 1), ["你", "好"]);
    assert_eq!(texts("ab", 0, 0), ["a", "b"]);
}

#[test]
fn marks_and_runs_are_bounded() {
    let marks = "\u{301}".repeat(100_000);
    let pieces = segment(&format!("a{marks} b{marks}"), LIMITS);
    assert_eq!(pieces.len(), 1);
    assert_eq!(pieces[0].text.chars().count(), 3 + 2 * MAX_MARKS);
    for c in ['a', '5', 'я', '好', 'ก', 'क', '\u{1100}'] {
        let text = c.to_string().repeat(5_000);
        let pieces = segment(&text, LIMITS);
        check(&text, &pieces, LIMITS, false);
        assert!(pieces.len() >= 16 || c == '\u{1100}', "{c}: {}", pieces.len());
    }
}

/// Characters that segmentation treats specially, and plain ones around them.
const PALETTE: &[&str] = &[
    "a",
    "b",
    "word",
    "Word",
    "A",
    "Dr",
    "etc",
    "I",
    "1",
    "23",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\n\n",
    "\t",
    ".",
    ".",
    "...",
    "!",
    "?",
    ",",
    ";",
    ":",
    "\"",
    "'",
    "(",
    ")",
    "“",
    "”",
    "…",
    "—",
    "-",
    "/",
    "@",
    "https://a.b/",
    "https://",
    "www.",
    "user:pw@",
    "example.com",
    "example.com/",
    ":8080/",
    "a/b?x=1&y=2#z",
    "https://www.example.com/a-path/of/some/length?with=a+query&that=is%20long#and-more",
    "。",
    "，",
    "「",
    "」",
    "你好",
    "カー",
    "한국",
    "ไทย",
    "ภาษา",
    "नमस्ते",
    "क",
    "्",
    "ष",
    "العربية",
    "\u{600}",
    "\u{640}",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{20dd}",
    "\u{200b}",
    "\u{200c}",
    "\u{200d}",
    "\u{feff}",
    "\u{202e}",
    "\u{ad}",
    "\0",
    "\u{85}",
    "\u{2028}",
    "\u{a0}",
    "\u{3000}",
    "😀",
    "👩",
    "🏽",
    "\u{fe0f}",
    "🇩",
    "🇪",
    "\u{e0067}",
    "\u{1100}",
    "\u{1161}",
    "\u{3164}",
    "\u{fffd}",
    "\u{10ffff}",
    "‼",
    "ß",
    "я",
    "𝓗",
    "۔",
    "؟",
    "।",
    "።",
    "«",
    "»",
];

pub(super) fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(PALETTE), 0..120).prop_map(|parts| parts.concat()),
        prop::collection::vec(any::<char>(), 0..80).prop_map(String::from_iter),
        (prop::sample::select(PALETTE), prop::sample::select(PALETTE), 1..400usize)
            .prop_map(|(one, other, count)| format!("{one}{other}").repeat(count)),
    ]
}

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    (0..100usize, 0..300usize).prop_map(|(first_chars, max_chars)| Limits { first_chars, max_chars })
}

/// Of one that reads links, and of one that does not.
pub(super) fn reader() -> impl Strategy<Value = Reader> {
    any::<bool>().prop_map(|links| Reader { links, ..Reader::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_cut_soundly(text in hostile_text(), limits in limits(), reader in reader()) {
        check(&text, &segment_for(&text, limits, &reader), limits, reader.links);
    }

    #[test]
    fn clusters_and_links_stay_whole(text in hostile_text(), limits in limits(), reader in reader()) {
        // Of the text as it is said: to take a character out can join what it held apart, and the other way round.
        let clean = super::clean::clean(&text, reader.links).text.into_owned();
        prop_assume!(*super::clean::clean(&clean, reader.links).text == *clean);
        let pieces = segment_for(&clean, limits, &reader);
        prop_assert!(keeps_clusters(&clean, &pieces), "{clean:?}");
        let links = if reader.links { Links::find(&clean, 1) } else { Links::default() };
        for Range { start, end } in pieces.into_iter().map(|piece| piece.span) {
            prop_assert!(links.torn_at(start).is_none() && links.torn_at(end).is_none(), "{clean:?} at {start}, {end}");
        }
    }

    #[test]
    fn scripts_do_not_part_links(text in hostile_text(), limits in limits()) {
        let reader = Reader { scripts: vec!["Latn".to_owned()], links: true };
        check(&text, &segment_for(&text, limits, &reader), limits, true);
    }

    #[test]
    fn marks_never_pile_up(text in hostile_text(), limits in limits(), reader in reader()) {
        use icu_properties::props::GeneralCategoryGroup as Group;
        for piece in segment_for(&text, limits, &reader) {
            let mut marks = 0;
            for c in piece.text.chars() {
                marks = if Group::Mark.contains(general_category(c)) { marks + 1 } else { 0 };
                prop_assert!(marks <= MAX_MARKS, "{:?}", piece.text);
            }
        }
    }

    #[test]
    fn a_letter_is_foreign_or_of_the_scripts(text in hostile_text()) {
        let latin = ["Latn".to_string()];
        prop_assert_eq!(foreign_letter(&text, &[]), None);
        if let Some(c) = foreign_letter(&text, &latin) {
            prop_assert!(c.is_alphabetic() && !c.is_ascii() && text.contains(c));
        }
    }
}
