//! Text as those read it who look for a banned word behind disguises: other alphabets, accents, invisible characters,
//! digits for letters, marks or spaces between letters. Pure; time is proportional to the text.

use std::ops::Range;

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, Script},
};
use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;

use super::shape::clusters;

/// Letters, digits and single spaces, in lower case, and where each byte of it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    pub text: String,
    /// For each byte of `text`: the bytes of the original.
    origins: Vec<Range<usize>>,
}

impl Folded {
    fn push(&mut self, c: char, origin: &Range<usize>) {
        self.text.push(c);
        self.origins.resize(self.text.len(), origin.clone());
    }

    /// As one word.
    fn add(&mut self, words: &[&Word]) {
        for (at, letter) in words.iter().flat_map(|word| &word.letters).enumerate() {
            if at == 0 && !self.text.is_empty() {
                self.push(' ', &letter.origin);
            }
            self.push(letter.c, &letter.origin);
        }
    }

    /// Where a match stands in the original.
    pub fn origin(&self, found: Range<usize>) -> Range<usize> {
        let origins = &self.origins[found];
        origins.first().map_or(0, |first| first.start)..origins.iter().map(|origin| origin.end).max().unwrap_or(0)
    }
}

/// As it is read, with its accents: composed, letters of one width, without what cannot be seen. Marks stay as they are.
pub(super) fn composed(text: &str) -> Folded {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut visible = Folded::default();
    for (start, c) in text.char_indices() {
        if !ignorable.contains(c) && !matches!(c, '\u{fff9}'..='\u{fffb}') {
            visible.push(c, &(start..start + c.len_utf8()));
        }
    }
    if visible.text.is_ascii() {
        return visible;
    }
    let mut composed = Folded::default();
    let mut at = 0;
    for cluster in clusters(&visible.text) {
        let origin = visible.origin(at..at + cluster.len());
        at += cluster.len();
        match cluster.chars().next() {
            Some(c) if c.is_alphanumeric() || matches!(c, '．' | '：' | '／') => {
                cluster.nfkc().for_each(|c| composed.push(c, &origin));
            }
            _ => cluster.chars().for_each(|c| composed.push(c, &origin)),
        }
    }
    composed
}

/// `composed`, and in words that hold Latin letters what only looks like one as that letter: "evil.cоm" with a Cyrillic о.
pub(super) fn plain(text: &str) -> Folded {
    let composed = composed(text);
    if composed.text.is_ascii() {
        return composed;
    }
    let mut plain = Folded::default();
    let mut at = 0;
    let same = |one: &char, other: &char| one.is_alphanumeric() && other.is_alphanumeric();
    for word in composed.text.chars().collect::<Vec<_>>().chunk_by(same) {
        let latin = word.iter().any(char::is_ascii_alphabetic);
        for c in word {
            let origin = composed.origin(at..at + c.len_utf8());
            at += c.len_utf8();
            // An accent is no disguise of an address.
            if latin && !c.is_ascii() && c.nfd().nth(1).is_none() {
                c.to_lowercase().for_each(|lower| look_alike(lower, *c, |c| plain.push(c, &origin)));
            } else {
                plain.push(*c, &origin);
            }
        }
    }
    plain
}

/// The readings in which a word may hide.
#[derive(Default)]
pub(super) struct Readings {
    /// Every mark is a space: "fu-ck" is two words.
    pub words: Folded,
    /// Marks within a word are nothing.
    pub joined: Folded,
    /// Two words that look like one that was torn: "f uck", "fuc k", "fu ck", but not "as S tier".
    pub pairs: Folded,
    /// Letters that stand alone one after the other, three at least: "f u c k".
    pub spelled: Folded,
    /// Pieces of one letter and of two: "d ar n".
    pub pieces: Pieces,
    /// Without any space: for scripts that have none.
    pub solid: Folded,
    /// The same without a Latin letter or digit, or two, between letters of those scripts: "傻x瓜". Empty where there is
    /// none.
    pub gapped: Folded,
}

#[derive(Default)]
pub(super) struct Pieces {
    pub text: Folded,
    /// Where each begins and ends in the text, in order.
    places: Vec<Range<usize>>,
}

impl Pieces {
    fn add(&mut self, words: &[Word]) {
        for (at, word) in words.iter().enumerate() {
            if at == 0 && !self.text.text.is_empty() {
                self.text.push(' ', &word.letters[0].origin);
            }
            let start = self.text.text.len();
            word.letters.iter().for_each(|letter| self.text.push(letter.c, &letter.origin));
            self.places.push(start..self.text.text.len());
        }
    }

    /// Whether somebody tore a word up so: into whole pieces, three at least, two of which are a single letter.
    pub fn are_of(&self, found: &Range<usize>) -> bool {
        let first = self.places.binary_search_by_key(&found.start, |place| place.start);
        let last = self.places.binary_search_by_key(&found.end, |place| place.end);
        let (Ok(first), Ok(last)) = (first, last) else { return false };
        let Some(pieces) = self.places.get(first..=last) else { return false };
        let alone = |place: &&Range<usize>| self.text.text[(*place).clone()].chars().nth(1).is_none();
        pieces.len() >= 3 && pieces.iter().filter(alone).count() >= 2
    }
}

struct Letter {
    c: char,
    origin: Range<usize>,
}

/// A token's letters and digits.
struct Word {
    letters: Vec<Letter>,
    /// There was nothing else in it.
    bare: bool,
}

impl Word {
    fn is_alone(&self) -> bool {
        self.letters.len() == 1
    }

    fn has_vowel(&self) -> bool {
        self.letters.iter().any(|letter| matches!(letter.c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y'))
    }

    /// As it stands there: no accent or other alphabet was taken off.
    fn is_ascii(&self) -> bool {
        self.letters.iter().all(|letter| letter.c.is_ascii_alphabetic() && letter.origin.len() == 1)
    }

    /// Of "he 'll" and "she 'll".
    fn is_contraction(&self) -> bool {
        self.letters.iter().map(|letter| letter.c).eq("ll".chars())
    }
}

/// Whether two words that stand side by side look like one. Two ordinary words never do, whatever they make together
/// ("pen is", "go ok"): one part is no word by itself.
fn is_torn(first: &Word, second: &Word) -> bool {
    if !first.bare || !second.bare || (first.is_alone() && second.is_alone()) {
        return false;
    }
    if first.is_alone() {
        return true;
    }
    // "chín k" is Vietnamese, "рад к" Russian.
    if !first.is_ascii() || !second.is_ascii() {
        return false;
    }
    if second.is_alone() {
        // "as s", "rap e": many a language has words of one vowel.
        return first.letters.len() >= 3 && !second.has_vowel();
    }
    [first, second].iter().any(|word| !word.has_vowel() && !word.is_contraction())
}

/// `one` is what 1, ! and | stand for: l in one reading, i in another.
pub(super) fn readings(text: &str, one: char) -> Readings {
    let letters = letters(text);
    let mut readings = Readings::default();
    let mut found = Vec::new();
    let mut has_gaps = false;
    for token in tokens(&letters) {
        has_gaps |= add_without_gaps(token, &mut readings.gapped);
        let plain = unleet(token, one);
        let mut parted = true;
        for letter in &plain {
            if letter.c.is_alphanumeric() {
                if parted && !readings.words.text.is_empty() {
                    readings.words.push(' ', &letter.origin);
                }
                readings.words.push(letter.c, &letter.origin);
                readings.solid.push(letter.c, &letter.origin);
            }
            parted = !letter.c.is_alphanumeric();
        }
        let size = plain.len();
        let letters: Vec<Letter> = plain.into_iter().filter(|letter| letter.c.is_alphanumeric()).collect();
        if !letters.is_empty() {
            found.push(Word { bare: letters.len() == size, letters });
        }
    }
    for word in &found {
        readings.joined.add(&[word]);
    }
    // "@name" speaks to somebody, "@ss" does not.
    for token in tokens(&letters).filter(|token| token[0].c == '@' && token.len() > 1) {
        let letters = unleet(&token[1..], one).into_iter().filter(|letter| letter.c.is_alphanumeric()).collect();
        readings.joined.add(&[&Word { letters, bare: false }]);
    }
    // "darn420", "2darn".
    for token in tokens(&letters) {
        let is_letter = |letter: &Letter| letter.c.is_alphabetic();
        let (first, last) = (token.iter().position(is_letter), token.iter().rposition(is_letter));
        let (Some(first), Some(last)) = (first, last) else { continue };
        let numbered = is_number(&token[..first]) || is_number(&token[last + 1..]);
        if numbered && last - first + 1 >= MIN_LETTERS_BESIDE_DIGITS {
            let letters = unleet(&token[first..=last], one).into_iter().filter(|letter| letter.c.is_alphanumeric());
            readings.joined.add(&[&Word { letters: letters.collect(), bare: false }]);
        }
    }
    for two in found.windows(2) {
        if let [first, second] = two
            && is_torn(first, second)
        {
            readings.pairs.add(&[first, second]);
        }
    }
    let is_piece = |word: &Word| word.bare && word.letters.len() <= 2;
    for run in found.chunk_by(|one, other| is_piece(one) && is_piece(other)).filter(|run| run.len() >= 3) {
        readings.pieces.add(run);
    }
    if !has_gaps {
        readings.gapped = Folded::default();
    }
    for run in found.chunk_by(|one, other| one.is_alone() && other.is_alone()).filter(|run| run.len() >= 3) {
        readings.spelled.add(&run.iter().collect::<Vec<_>>());
    }
    readings
}

/// Whether what stands at an end of a word is a number. A single digit may be a letter of the word: "hell0".
fn is_number(end: &[Letter]) -> bool {
    let digits = || end.iter().map(|letter| letter.c).filter(char::is_ascii_digit);
    digits().count() >= 2 || digits().any(|digit| matches!(digit, '2' | '6'))
}

/// Fewer are not looked at without their digits.
const MIN_LETTERS_BESIDE_DIGITS: usize = 3;

/// The letters and digits of a token but for what Latin stands between letters of a script without spaces. Whether some
/// did.
fn add_without_gaps(token: &[Letter], to: &mut Folded) -> bool {
    let all: Vec<&Letter> = token.iter().filter(|letter| letter.c.is_alphanumeric()).collect();
    // Marks stand for letters in the other reading.
    let mut gaps = all.len() < token.len() && all.iter().any(|letter| is_of_solid_script(letter.c));
    let mut before = false;
    let mut runs = all.chunk_by(|one, other| one.c.is_ascii() == other.c.is_ascii()).peekable();
    while let Some(run) = runs.next() {
        let after = runs.peek().is_some_and(|next| is_of_solid_script(next[0].c));
        if run[0].c.is_ascii() && run.len() <= 2 && before && after {
            gaps = true;
            continue;
        }
        run.iter().for_each(|letter| to.push(letter.c, &letter.origin));
        before = run.last().is_some_and(|last| is_of_solid_script(last.c));
    }
    gaps
}

/// Where no space tells words apart.
pub(super) fn is_of_solid_script(c: char) -> bool {
    let solid = [
        Script::Han,
        Script::Hiragana,
        Script::Katakana,
        Script::Hangul,
        Script::Thai,
        Script::Lao,
        Script::Khmer,
        Script::Myanmar,
    ];
    !c.is_ascii() && solid.contains(&CodePointMapData::<Script>::new().get(c))
}

pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`' | '´')
}

/// "darn's": the rest, from the apostrophe on, begins with an s that ends the word.
fn is_possessive(rest: &str) -> bool {
    let mut after = rest.chars().skip(1);
    matches!(after.next(), Some('s' | 'S')) && !after.next().is_some_and(char::is_alphanumeric)
}

/// Lower case, without accents, invisible characters and apostrophes (but for one before an s), look-alikes as the Latin letters that they imitate.
fn letters(text: &str) -> Vec<Letter> {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut letters = Vec::with_capacity(text.len());
    for (start, c) in text.char_indices() {
        let origin = start..start + c.len_utf8();
        if is_apostrophe(c) && is_possessive(&text[start..]) {
            letters.push(Letter { c: '\'', origin });
            continue;
        }
        if ignorable.contains(c) || is_apostrophe(c) {
            continue;
        }
        for part in c.nfkd().filter(|part| !is_accent(*part)) {
            for lower in part.to_lowercase().filter(|lower| !is_accent(*lower)) {
                look_alike(lower, part, |c| letters.push(Letter { c, origin: origin.clone() }));
            }
        }
    }
    letters
}

/// `written`: what `c` is the small letter of; some of those look like another letter.
fn look_alike(c: char, written: char, mut push: impl FnMut(char)) {
    let imitates = [Script::Common, Script::Latin, Script::Greek, Script::Cyrillic, Script::Cherokee, Script::Coptic];
    if c.is_ascii() || !imitates.contains(&CodePointMapData::<Script>::new().get(c)) {
        return push(c);
    }
    match c {
        'ß' => "ss".chars().for_each(push),
        // The table knows them as look-alikes of capitals or of other small letters.
        'і' | 'ı' | 'ι' => push('i'),
        'н' => push('h'),
        'в' => push('b'),
        'т' => push('t'),
        'м' => push('m'),
        'к' => push('k'),
        'п' => push('n'),
        '€' => push('e'),
        'ƒ' => push('f'),
        'υ' | 'µ' | 'μ' => push('u'),
        '¢' | '©' => push('c'),
        '®' => push('r'),
        '£' => push('l'),
        '†' => push('t'),
        '¥' => push('y'),
        'ð' => push('d'),
        // Turned upside down.
        'ɐ' => push('a'),
        'ǝ' => push('e'),
        'ɥ' => push('h'),
        'ʞ' => push('k'),
        'ɯ' => push('m'),
        'ɹ' => push('r'),
        'ʇ' => push('t'),
        'ʎ' => push('y'),
        // Letters in squares and circles, and those of which flags are made.
        '\u{1f150}'..='\u{1f169}' => push(latin(c, '\u{1f150}')),
        '\u{1f170}'..='\u{1f189}' => push(latin(c, '\u{1f170}')),
        '\u{1f1e6}'..='\u{1f1ff}' => push(latin(c, '\u{1f1e6}')),
        _ => {
            if let Some((letter, _)) = ('a'..='z').zip(SMALL_CAPITALS.chars()).find(|(_, small)| *small == c) {
                return push(letter);
            }
            let found = [c, written]
                .into_iter()
                .map(imitated)
                .find(|found| !found.is_empty() && found.chars().all(|c| c.is_ascii_alphanumeric()));
            match found {
                Some(found) => found.chars().for_each(|c| push(c.to_ascii_lowercase())),
                None => push(c),
            }
        }
    }
}

/// What the table of look-alikes says, without strokes and hooks: "đ" is a d with one.
fn imitated(c: char) -> String {
    let mut buffer = [0; 4];
    skeleton(c.encode_utf8(&mut buffer)).filter(|c| !is_accent(*c)).collect()
}

/// From a to z; x has none.
const SMALL_CAPITALS: &str = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ";

/// The letter at the place of `c` in an alphabet that begins with `first`.
fn latin(c: char, first: char) -> char {
    ('a'..='z').nth((c as usize).saturating_sub(first as usize)).unwrap_or(c)
}

/// Marks that are added to letters of scripts that can be read without them.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

fn tokens(letters: &[Letter]) -> impl Iterator<Item = &[Letter]> {
    letters.split(|letter| letter.c.is_whitespace()).filter(|token| !token.is_empty())
}

/// Digits and marks as the letters that they stand for, in tokens that have letters at all: 455 is a number.
fn unleet(token: &[Letter], one: char) -> Vec<Letter> {
    let has_letter = token.iter().any(|letter| letter.c.is_alphabetic());
    let last = token.iter().rposition(|letter| letter.c.is_alphanumeric()).unwrap_or(0);
    let read = |(at, letter): (usize, &Letter)| {
        let c = match letter.c {
            c if !has_letter => c,
            '0' => 'o',
            '1' => one,
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            '8' => 'b',
            '9' => 'g',
            '+' if at < last => 't',
            '!' | '|' if at < last => one,
            c => c,
        };
        Letter { c, origin: letter.origin.clone() }
    };
    token.iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Readings {
        readings(text, 'i')
    }

    #[test]
    fn disguises_are_seen_through() {
        for disguised in [
            "Hello",
            "h\u{200b}e\u{200d}l\u{ad}lo",
            "ｈｅｌｌｏ",
            "𝓱𝓮𝓵𝓵𝓸",
            "hеllо", // Cyrillic е and о
            "h̷é̵l̶l̷ö",
            "h3ll0",
            "h.e.l.l.o",
            "h-e_l*l~o",
            "he-llo",
            "hello!!",
        ] {
            assert_eq!(read(disguised).joined.text, "hello", "{disguised:?}");
        }
        assert_eq!(read("$h!p").joined.text, "ship");
        assert_eq!(readings("1ove", 'l').joined.text, "love");
        assert_eq!(read("so h e * l. l o there").spelled.text, "hello");
        assert_eq!(read("oh h ello").pairs.text, "hello");
        assert_eq!(read("oh hell o, tell m").pairs.text, "tellm");
        assert_eq!(read("oh h el l o there").pieces.text.text, "ohhello");
        assert_eq!(read("你x好 1 you").gapped.text, "你好1you");
        assert_eq!(read("hello2, 99hello").joined.text, "hello2 gghello hello hello");
        assert_eq!(read("hello's").words.text, "hello s");
    }

    #[test]
    fn what_is_no_disguise_stays() {
        assert_eq!(read("455 points").words.text, "455 points");
        assert_eq!(read("my brother's ex").joined.text, "my brothers ex");
        assert_eq!(read("the U.S. hit them").pairs.text, "");
        assert_eq!(read("you are great!").words.text, "you are great");
        assert_eq!(read("草 泥，马").solid.text, "草泥马");
    }

    #[test]
    fn a_match_is_found_again_in_the_original() {
        let text = "say h\u{200b}é-llo!";
        let joined = readings(text, 'i').joined;
        let at = joined.text.find("hello").expect("it is there");
        assert_eq!(&text[joined.origin(at..at + 5)], "h\u{200b}é-llo");
    }
}
