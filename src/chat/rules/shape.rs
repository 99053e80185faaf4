//! Parts of a message that are not plain words: links, emoji, repetitions, capitals, length. Pure; time is proportional
//! to the text.

use std::{ops::Range, sync::LazyLock};

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{EmojiPresentation, ExtendedPictographic, GeneralCategory},
};
use icu_segmenter::GraphemeClusterSegmenter;
use regex::Regex;

use super::fold::plain;

/// A cluster of more code points counts as several: combining marks could make one of any length.
const MAX_CLUSTER_CODE_POINTS: usize = 16;
/// Of a letter: pointed Hebrew with cantillation has so many.
const MAX_MARKS: usize = 4;
/// Longer runs of digits are no numbers that anybody wants to hear.
const MAX_DIGITS: usize = 12;
/// Syllables up to here are looked at for repetition.
const MAX_SYLLABLE_CHARS: usize = 4;
/// Fewer letters do not shout.
const MIN_SHOUTED_LETTERS: usize = 8;

/// Beyond it a repetition is one, whatever is set: keeps the search for it linear.
const MAX_REPEATS: usize = 100;

static LINK: LazyLock<Regex> = LazyLock::new(|| {
    let ends = "com|net|org|tv|gg|io|ly|co|ru|de|uk|fr|es|nl|pl|br|jp|cn|vn|xyz|info|biz|dev|ai|eu|ca|au|kr|se|su|ua|gl|\
                tk|ml|be";
    // Words as well: a sentence that begins without a space ("it's over.be nice") is no address, unless a path follows.
    let words = "me|us|it|to|in|live|top|pro|fun|link|store|online|club|vip|stream|shop|site|click|zip|app";
    // Of a host that is not ASCII, whose last letter is none: "quá.ai" and "está.es" are sentences.
    let few = "com|org|info|biz|xyz|jp|cn|kr|ru|ua|vn";
    let cyrillic = "рф|рус|укр|бел|срб|мкд|қаз|бг";
    // A path ends where Chinese or another script without spaces goes on.
    let solid = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Hangul}\p{Thai}";
    let path = format!(r"[[!-~][\p{{L}}\p{{N}}\p{{M}}]--[{solid}]]");
    // ASCII's word boundary, as for Unicode's there is none between a Chinese letter and an address.
    let edge = r"(?-u:\b)";
    let dot = "[.。．｡]";
    // Bounded, as is the name in an address of mail: they run through dots, and each address would be read to the end.
    let scheme = format!("{edge}[a-z][a-z0-9+.-]{{0,20}}://");
    let host = format!("(?:[a-z0-9-]+{dot})+");
    let letter = format!(r"[[\p{{L}}\p{{N}}\p{{M}}_-]--[{solid}]]");
    let any = r"[\p{L}\p{N}\p{M}-]";
    let rest = format!("(?:[/:?#]{path}*)?");
    let pattern = [
        format!("{scheme}{path}+"),
        // Behind "https://" or "www." any script is an address.
        format!("{scheme}(?:{any}+{dot})+(?:{ends}|{words}|{cyrillic}){edge}{rest}"),
        format!("{scheme}{any}+(?:{dot}{any}+)*{rest}"),
        format!("{edge}www{dot}{path}+"),
        format!(r"{edge}www\.(?:{any}+\.)+(?:(?:{ends}|{words}|{cyrillic}){edge}|[a-z]+){rest}"),
        format!("{edge}[a-z0-9._%+-]{{1,64}}@{edge}{host}(?:{ends}){edge}{rest}"),
        format!("(?:{letter}+{dot})*{letter}*[a-z0-9-]{dot}(?:{ends}){edge}{rest}"),
        format!("{host}сом{rest}"),
        format!(r"(?:{letter}+\.)*{letter}+\.(?:{few}|net|{cyrillic})\b{rest}"),
        format!(r"[{solid}]+\.(?:{few})\b{rest}"),
        format!("{edge}{host}(?:{words})/{path}*"),
        format!(r"{edge}(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}{edge}(?:[/:]{path}*)?"),
        format!(
            r"{edge}[a-z0-9-]+(?:\s*[(\[{{]\s*(?:dot|\.)\s*[)\]}}]\s*|\s+dot\s+)(?:{ends}|{words}){edge}(?:/{path}*)?"
        ),
    ]
    .join("|");
    #[expect(clippy::expect_used, reason = "a constant")]
    Regex::new(&format!("(?i){pattern}")).expect("a regular expression")
});

/// Looked for in what is read: invisible characters and letters of another width or alphabet hide none.
pub(super) fn links(text: &str) -> Vec<Range<usize>> {
    let plain = plain(text);
    LINK.find_iter(&plain.text).map(|found| plain.origin(found.range())).collect()
}

/// Grapheme clusters; very long ones in parts.
pub(super) fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let ends = GraphemeClusterSegmenter::new().segment_str(text);
    let mut start = 0;
    ends.filter(|end| *end > 0).flat_map(move |end| {
        let cluster = &text[std::mem::replace(&mut start, end)..end];
        parts(cluster)
    })
}

fn parts(cluster: &str) -> impl Iterator<Item = &str> {
    let mut rest = cluster;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(MAX_CLUSTER_CODE_POINTS).map_or(rest.len(), |(end, _)| end);
        let (part, others) = rest.split_at(end);
        rest = others;
        Some(part)
    })
}

pub(super) fn is_emoji(cluster: &str) -> bool {
    let mut chars = cluster.chars();
    let Some(first) = chars.next() else { return false };
    let pictures = || CodePointSetData::new::<ExtendedPictographic>();
    CodePointSetData::new::<EmojiPresentation>().contains(first)
        || (pictures().contains(first) && !first.is_ascii() && !matches!(first, '©' | '®' | '™'))
        || (cluster.contains('\u{20e3}') && first.is_ascii())
}

/// Keeps the first `most` emoji.
pub(super) fn limit_emoji(text: &str, most: usize) -> String {
    let mut seen = 0;
    let mut kept = String::with_capacity(text.len());
    for cluster in clusters(text) {
        if is_emoji(cluster) {
            seen += 1;
            if seen > most {
                continue;
            }
        }
        kept.push_str(cluster);
    }
    tidy(&kept)
}

/// What is repeated more than `most` times in a row, a letter, a syllable or a word, stays `most` times. Digits are part
/// of numbers and stay.
pub(super) fn limit_repeats(text: &str, most: usize) -> String {
    let most = most.clamp(1, MAX_REPEATS);
    let all: Vec<&str> = clusters(text).collect();
    let lower: Vec<String> = all.iter().map(|cluster| cluster.to_lowercase()).collect();
    let is_digit: Vec<bool> = all.iter().map(|cluster| cluster.chars().all(char::is_numeric)).collect();
    let mut kept: Vec<&str> = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        let allowed = |period: usize| if is_digit[at] && period == 1 { MAX_DIGITS } else { most };
        let repeated = (1..=MAX_SYLLABLE_CHARS)
            .map(|period| (run_of(&lower[at..], period), period))
            .find(|(run, period)| *run > allowed(*period));
        let (run, period) = repeated.unwrap_or((1, 1));
        let has_digit = is_digit[at..at + period].contains(&true);
        let kept_runs = if repeated.is_none() || (has_digit && period > 1) { run } else { most };
        kept.extend(&all[at..at + period * kept_runs]);
        // Past all of the run, also where it stays: looking at each of its parts again would be quadratic.
        at += period * run;
    }
    limit_words(&kept.concat(), most)
}

/// How many times the first `period` clusters stand there, one after the other.
fn run_of(all: &[String], period: usize) -> usize {
    let Some(first) = all.get(..period) else { return 0 };
    all.chunks_exact(period).take_while(|chunk| *chunk == first).count()
}

fn limit_words(text: &str, most: usize) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut run = 0;
    for word in text.split_whitespace() {
        let same = kept.last().is_some_and(|last| last.to_lowercase() == word.to_lowercase());
        run = if same { run + 1 } else { 1 };
        if run <= most {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Mostly capitals, in a text long enough to tell.
pub(super) fn shouts(text: &str) -> bool {
    let cased = || text.chars().filter(|c| c.is_uppercase() || c.is_lowercase());
    let letters = cased().count();
    let capitals = cased().filter(|c| c.is_uppercase()).count();
    letters >= MIN_SHOUTED_LETTERS && capitals * 10 >= letters * 7
}

/// At most `most` grapheme clusters, cut after a word where there is one in the second half.
pub(super) fn cut(text: &str, most: usize) -> Option<String> {
    let mut end = 0;
    let mut last_word = None;
    for (count, cluster) in clusters(text).enumerate() {
        if count == most {
            let at = last_word.filter(|at| *at * 2 >= end).unwrap_or(end);
            return Some(text[..at].trim_end().to_owned());
        }
        if cluster.chars().all(char::is_whitespace) {
            last_word = Some(end);
        }
        end += cluster.len();
    }
    None
}

/// Single spaces, none at the ends, no control characters, nothing that turns the direction of what stands beside it on
/// the overlay or cannot be seen, and no towers of marks.
pub(super) fn tidy(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        if c.is_ascii() {
            marks = 0;
            visible.push(if c.is_control() { ' ' } else { c });
            continue;
        }
        let is_mark = matches!(
            CodePointMapData::<GeneralCategory>::new().get(c),
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        );
        marks = if is_mark { marks + 1 } else { 0 };
        match c {
            '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {}
            // Those of flags, which follow, mean something.
            '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e001f}' => {}
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => visible.push(' '),
            _ if marks > MAX_MARKS => {}
            _ => visible.push(if c.is_control() { ' ' } else { c }),
        }
    }
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn is_speakable(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        for (text, link) in [
            ("see https://example.org/a?b now", "https://example.org/a?b"),
            ("go to twitch.tv/somebody!", "twitch.tv/somebody!"),
            ("www.example.museum", "www.example.museum"),
            ("join discord.gg", "discord.gg"),
            ("free at example dot com", "example dot com"),
            ("example (.) com", "example (.) com"),
            ("点 bilibili.com/video 看", "bilibili.com/video"),
            ("点bilibili.com/video看", "bilibili.com/video"),
            ("看看这个https://example.org/a,好看", "https://example.org/a,"),
            ("これhttps://youtu.be/abcを見て", "https://youtu.be/abc"),
            ("来example。com吧", "example。com"),
            ("youtu.be", "youtu.be"),
            ("t.me/somebody", "t.me/somebody"),
            ("mail ann.b@example.org", "ann.b@example.org"),
            ("my ip is 203.0.113.7:25565 lol", "203.0.113.7:25565"),
            ("https://ru.wikipedia.org/wiki/Россия ага", "https://ru.wikipedia.org/wiki/Россия"),
            ("看https://a.com很好看", "https://a.com"),
            ("看https://a.com，很好看", "https://a.com"),
            ("see https://例え.jp now", "https://例え.jp"),
            ("https://例え.jpを見て", "https://例え.jp"),
            ("https://例え.com/x", "https://例え.com/x"),
            ("https://日本/", "https://日本/"),
            ("https://한국.kr", "https://한국.kr"),
            ("https://ไทย.com", "https://ไทย.com"),
            ("https://例子.中国", "https://例子.中国"),
            ("www.例え.jp", "www.例え.jp"),
            ("例え.com", "例え.com"),
            ("サーバー.jp/x", "サーバー.jp/x"),
            ("зайди на пример.рф!", "пример.рф"),
            ("http://пример.рф/", "http://пример.рф/"),
            ("пример.com", "пример.com"),
            ("in münchen.de steht", "münchen.de"),
            ("t\u{200b}.co/abc", "t\u{200b}.co/abc"),
            ("evil.c\u{200b}om now", "evil.c\u{200b}om"),
            ("evil\u{fff9}.com", "evil\u{fff9}.com"),
            ("http\u{200b}://evil.com", "http\u{200b}://evil.com"),
            ("ｅｖｉｌ.ｃｏｍ", "ｅｖｉｌ.ｃｏｍ"),
            ("evil.ｃom", "evil.ｃom"),
            ("ｈｔｔｐｓ：／／ａ．ｊｐ", "ｈｔｔｐｓ：／／ａ．ｊｐ"),
            ("evil.cоm", "evil.cоm"), // Cyrillic о
            ("еvil.com", "еvil.com"), // Cyrillic е
            ("EVIL.СОМ", "EVIL.СОМ"), // Cyrillic СОМ
            ("my_site.com", "my_site.com"),
        ] {
            let found = links(text);
            assert_eq!(found.len(), 1, "{text:?}");
            assert_eq!(&text[found[0].clone()], link);
        }
        for text in [
            "1.5 times",
            "wait...what",
            "e.g. this",
            "I like dots.",
            "v1.2.3",
            "so.true",
            "no.it is",
            "see you.in a bit",
            "go.to bed",
            "草ｗｗｗ。すごい",
            "草www。すごい",
            "太好了.下次再来",
            "生日快乐.中国",
            "我在用.net开发",
            "좋아요.한국 최고",
            "было круто.со мной",
            "всё.но нет",
            "vui quá.ai biết",
            "hay quá.gg",
            "ya está.es que no",
            "perché.io credo",
            "hmm…com on",
            "１．５倍",
        ] {
            assert!(links(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn repetitions_are_cut() {
        for (text, cut) in [
            ("nooooooo", "nooo"),
            ("hahahahahaha", "hahaha"),
            ("lol LOL lol lol lol", "lol LOL lol"),
            ("哈哈哈哈哈哈", "哈哈哈"),
            ("!!!!!!!!", "!!!"),
            ("100000 points", "100000 points"),
            ("12121212", "12121212"),
            ("666", "666"),
            ("book keeper", "book keeper"),
            ("👍🏽👍🏽👍🏽👍🏽👍🏽", "👍🏽👍🏽👍🏽"),
        ] {
            assert_eq!(limit_repeats(text, 3), cut, "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_clusters_and_cut_at_words() {
        assert_eq!(cut("short", 5), None);
        assert_eq!(cut("one two three", 10).as_deref(), Some("one two"));
        assert_eq!(cut("这是一个很长的句子", 4).as_deref(), Some("这是一个"));
        assert_eq!(cut("👨‍👩‍👧‍👦👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 2).as_deref(), Some("👨‍👩‍👧‍👦👨‍👩‍👧‍👦"));
        let zalgo = format!("a{}", "\u{301}".repeat(1_000));
        assert!(cut(&zalgo, 10).is_some_and(|cut| cut.chars().count() <= 160));
    }

    #[test]
    fn emoji() {
        assert_eq!(limit_emoji("hi 😀😀 you ❤️ 1️⃣", 1), "hi 😀 you");
        assert_eq!(limit_emoji("© 2024 is 5", 0), "© 2024 is 5");
        assert!(
            shouts("WHAT IS GOING ON") && !shouts("LOL") && !shouts("What Is Going On") && !shouts("你好你好你好你好")
        );
    }
}
