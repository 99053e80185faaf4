//! Segmentation of text in pieces, by example and by property.

use proptest::prelude::*;

use super::{
    Incremental, Limits, Piece, Reader,
    link::MAX_LINK,
    segment,
    tests::{check, hostile_text, limits, reader},
};

const LIMITS: Limits = Limits { first_chars: 80, max_chars: 300 };

/// What is released, and after how many characters.
fn released(text: &str) -> Vec<(usize, String)> {
    released_to(Reader::default(), text)
}

fn released_to(reader: Reader, text: &str) -> Vec<(usize, String)> {
    let mut incremental = Incremental::for_reader(LIMITS, reader);
    let mut found = Vec::new();
    for (index, c) in text.chars().enumerate() {
        let pieces = incremental.push(c.encode_utf8(&mut [0; 4]));
        found.extend(pieces.into_iter().map(|piece| (index + 1, piece.text)));
    }
    found.extend(incremental.flush().into_iter().map(|piece| (usize::MAX, piece.text)));
    found
}

/// `|` marks where a segment ends.
fn segments(marked: &str) {
    let expected: Vec<&str> = marked.split('|').map(str::trim).collect();
    let text = marked.replace('|', "");
    let found = released(&text);
    assert_eq!(found.iter().map(|(_, said)| said.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn the_first_clause_then_sentences() {
    for marked in [
        "Well, when the rain had stopped, |we went out into the garden, and it was green. |Then we came in again.",
        "Sure! Here is what you asked for: |one list of three, no more. |That is all of it. |",
        "Hello there. |Hi. How are you today? |Yes. |",
        "No commas in this first sentence. |A second one follows, with a clause. |The third.",
        "今天天气很好，|我们一起去公园散步吧。|真的很好！你说呢？",
        "“Stop it!” he said. |“I will not stop.” |She left the room.",
    ] {
        segments(marked.trim_end_matches(" |"));
    }
}

#[test]
fn what_may_go_on_is_not_torn() {
    for whole in [
        "It costs 1,000.50 dollars and 3.14 more than last year at v1.2.3 of it",
        "Dr. Smith met Mrs. Jones vs. Mr. T at St. Mary's",
        "See https://a.b/c?d=e.f,g and mail user@host.com:8080/x!y today",
        "He works at example.com and node.js is what he likes",
        "Am 3. Oktober kam der 2. Zug um 9:30 an",
        "Really...! maybe...",
        "We met at 9:30 a.m. on Monday at No. 5 of p. 12",
    ] {
        segments(whole);
    }
}

#[test]
fn what_is_released_is_released_soon() {
    // Two characters after its mark: the space and what follows it.
    let text = "When the rain had stopped, we went out again. Then we came in.";
    let found = released(text);
    assert_eq!(found[0], (text.find("we").unwrap() + 1, "When the rain had stopped,".to_owned()));
    assert_eq!(found[1], (text.find("Then").unwrap() + 1, "we went out again.".to_owned()));
    // A line break needs no mark; what follows an abbreviation decides.
    let text = "A title of some kind\nText";
    assert_eq!(released(text)[0], (text.find("Text").unwrap() + 1, "A title of some kind".to_owned()));
    let text = "I like apples, pears, plums, etc. Then I eat them.";
    assert_eq!(released(text)[0].1, "I like apples,");
    assert_eq!(released(text)[1], (text.find(" I eat").unwrap() + 1, "pears, plums, etc.".to_owned()));
}

#[test]
fn a_long_text_without_marks_is_released_in_bounded_pieces() {
    let text = "word and another word of the text ".repeat(60);
    let found = released(&text);
    assert!(found[0].0 <= 122 && found[0].1.chars().count() <= 120, "{:?}", found[0]);
    assert!(found.len() > 6 && found.iter().all(|(_, said)| said.chars().count() <= 300));
    let marks = format!("a{}b.", "\u{301}".repeat(10_000));
    assert_eq!(released(&marks).len(), 1);
}

#[test]
fn hurry_takes_whole_clauses_only() {
    let mut incremental = Incremental::new(LIMITS);
    let texts = |pieces: Vec<Piece>| pieces.into_iter().map(|piece| piece.text).collect::<Vec<_>>();
    let text = "The first sentence, as always it was. And when the second one comes, it ";
    assert_eq!(texts(incremental.push(text)).len(), 2);
    assert!(incremental.can_hurry(false));
    assert_eq!(texts(incremental.hurry(false)), ["And when the second one comes,"]);
    assert!(!incremental.can_hurry(true) && incremental.hurry(true).is_empty());
    assert!(incremental.push("is followed by the last one.").is_empty());
    assert!(!incremental.can_hurry(false) && incremental.hurry(false).is_empty());
    assert_eq!(texts(incremental.hurry(true)), ["it is followed by the last one."]);
    for open in
        ["it costs about 3.", "as said by our Dr.", "a long way to go,", "here at http://a.b/c?", "we use example.co."]
    {
        incremental.flush();
        incremental.push(open);
        assert!(!incremental.can_hurry(true), "{open}");
    }
    assert_eq!(texts(incremental.flush()), ["we use example.co."]);
    assert!(incremental.flush().is_empty());
}

#[test]
fn prose_is_cut_as_it_is_cut_in_whole() {
    let text = "The lighthouse stood alone. Nobody had climbed it for years, as far as anyone knew. Hi. Dr. Brown did, \
                however! He went up at 9:30 a.m. on a Monday; it was cold.\n\nA new paragraph follows here. The end?";
    let said = |pieces: Vec<Piece>| {
        pieces.into_iter().map(|piece| (piece.text, piece.span, piece.place.span())).collect::<Vec<_>>()
    };
    assert_eq!(said(in_chunks(text, &[7], LIMITS, &Reader::default())), said(segment(text, LIMITS)));
}

fn reads_links() -> Reader {
    Reader { links: true, ..Reader::default() }
}

#[test]
fn a_link_is_released_whole() {
    let path = "path/".repeat(80);
    for link in [
        format!("https://example.com/{path}?q=A.B!C?D"),
        format!("www.Example.com/{path}"),
        format!("docs.example.com/{path}x"),
    ] {
        for marked in [
            format!("See {link}. |That page says all that there is to say."),
            format!("The page is this one |({link}), which says all that there is to say. |Another sentence."),
            format!("{link}\n|A second line."),
            format!("看看这个{link}，|里面都有。第二句话在这里，也不短。"),
            format!("One is {link} and another one is |{link} as well. |Those were two of them."),
        ] {
            let expected: Vec<String> = marked.split('|').map(|part| part.trim().to_owned()).collect();
            let found = released_to(reads_links(), &marked.replace('|', ""));
            assert_eq!(found.iter().map(|(_, said)| said.clone()).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn a_long_link_holds_nothing_up() {
    let link = format!("https://example.com/{}", "0123456789".repeat(1000));
    // What stands before it is said while it comes, and what is beyond the longest link is text like any other.
    let text = format!("You will find all of it at {link}");
    let found = released_to(reads_links(), &text);
    assert_eq!(found[0], (27 + 80, "You will find all of it at".to_owned()));
    assert!(found[1].1.starts_with(&link[..MAX_LINK]) && found[1].1.len() < MAX_LINK + 300);
    assert!(found[1].0 < 27 + MAX_LINK + 400, "{}", found[1].0);
    // Nothing waits for more than a few words.
    let mut incremental = Incremental::for_reader(LIMITS, reads_links());
    assert_eq!(incremental.push("Here is a first sentence. And here is another one at ").len(), 1);
    incremental.push(&link[..50]);
    assert!(!incremental.can_hurry(true));
    incremental.push(&link[50..100]);
    assert_eq!(incremental.hurry(false)[0].text, "And here is another one at");
    assert!(!incremental.can_hurry(true));
    assert_eq!(incremental.flush()[0].text, link[..100]);
    incremental.push("我推荐你看看这个网页，都在https://example.com/abc。");
    assert!(incremental.can_hurry(true));
    incremental.flush();
    // It may go on, and what is behind it does not.
    incremental.push("Is it www.example.com?");
    assert!(!incremental.can_hurry(true));
    incremental.push(" ");
    assert!(incremental.can_hurry(true));
}

/// The text in pieces of so many characters, again and again.
fn in_chunks(text: &str, sizes: &[usize], limits: Limits, reader: &Reader) -> Vec<Piece> {
    let mut incremental = Incremental::for_reader(limits, reader.clone());
    let (mut pieces, mut chars) = (Vec::new(), text.chars().peekable());
    let mut sizes = sizes.iter().cycle();
    while chars.peek().is_some() {
        let size = sizes.next().copied().unwrap_or(1).max(1);
        let chunk: String = chars.by_ref().take(size).collect();
        pieces.extend(incremental.push(&chunk));
    }
    pieces.extend(incremental.flush());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunks_give_the_same_segments(
        text in hostile_text(),
        limits in limits(),
        reader in reader(),
        sizes in prop::collection::vec(1usize..40, 1..6),
    ) {
        let whole = in_chunks(&text, &[usize::MAX], limits, &reader);
        check(&text, &whole, limits, reader.links);
        for piece in &whole {
            let chars: String = text.chars().skip(piece.place.span().start).take(piece.place.span().len()).collect();
            prop_assert_eq!(&chars, &text[piece.span.clone()]);
        }
        prop_assert_eq!(&in_chunks(&text, &[1], limits, &reader), &whole);
        prop_assert_eq!(&in_chunks(&text, &sizes, limits, &reader), &whole);
    }

    #[test]
    fn nothing_is_lost_or_said_twice_whatever_hurries(
        text in hostile_text(),
        limits in limits(),
        reader in reader(),
        acts in prop::collection::vec(0usize..12, 1..20),
    ) {
        let mut incremental = Incremental::for_reader(limits, reader);
        let mut pieces = Vec::new();
        let mut acts = acts.iter().cycle();
        for c in text.chars() {
            pieces.extend(incremental.push(c.encode_utf8(&mut [0; 4])));
            match acts.next() {
                Some(0) => pieces.extend(incremental.flush()),
                Some(stalled @ (1 | 2)) => pieces.extend(incremental.hurry(*stalled == 1)),
                _ => {}
            }
        }
        pieces.extend(incremental.flush());
        let said: String = pieces.iter().map(|piece| super::tests::letters(&piece.text)).collect();
        prop_assert_eq!(said, super::tests::letters(&text));
        prop_assert!(pieces.is_sorted_by(|one, next| one.span.end <= next.span.start));
    }
}
