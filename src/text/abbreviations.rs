//! Words whose full stop may not end a sentence. Data, with the question what follows them.

use std::{collections::HashMap, sync::LazyLock};

/// What a full stop after a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of a sentence.
    End,
    /// Part of the word: a name or the rest of the sentence follows.
    Abbreviation,
    /// Part of the word; ends the sentence as well if the next word is one that opens sentences.
    MayEnd,
    /// Part of the word if a number follows.
    BeforeNumber,
}

/// Looks `word` up, as written, without its last full stop.
pub(super) fn stop_after(word: &str) -> Stop {
    let mut letters = word.chars();
    let initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    // Initials, and U.S., Ph.D., a.m.: full stops between letters. A single letter in lower case is a word or a unit.
    let otherwise = if initial || is_dotted(word) { Stop::MayEnd } else { Stop::End };
    listed_stop(word).unwrap_or(otherwise)
}

fn listed_stop(word: &str) -> Option<Stop> {
    static STOPS: LazyLock<HashMap<&str, Stop>> = LazyLock::new(|| {
        let lists = [(ALWAYS, Stop::Abbreviation), (MAY_END, Stop::MayEnd), (BEFORE_NUMBER, Stop::BeforeNumber)];
        lists.into_iter().flat_map(|(list, stop)| list.split_ascii_whitespace().map(move |word| (word, stop))).collect()
    });
    if word.len() > LONGEST { None } else { STOPS.get(word.to_lowercase().as_str()).copied() }
}

/// Whether `word`, capitalised, opens sentences much more often than it continues one.
pub(super) fn opens_sentence(word: &str) -> bool {
    is_listed(word, OPENERS)
}

/// Whether an ordinal may follow: German writes "am 3. Oktober".
pub(super) fn precedes_ordinal(word: &str) -> bool {
    is_listed(word, BEFORE_ORDINAL)
}

pub(super) fn is_month(word: &str) -> bool {
    is_listed(word, MONTHS)
}

/// Whether full stops stand between groups of at most three letters.
fn is_dotted(word: &str) -> bool {
    word.contains('.')
        && word.split('.').all(|part| (1..=3).contains(&part.chars().count()) && part.chars().all(char::is_alphabetic))
}

/// `list` is in lower case, `word` as written.
fn is_listed(word: &str, list: &str) -> bool {
    if word.len() > LONGEST {
        return false;
    }
    let lower = word.to_lowercase();
    list.split_ascii_whitespace().any(|listed| listed == lower)
}

/// No listed word is longer, in bytes.
const LONGEST: usize = 16;

const ALWAYS: &str = "\
    mr mrs ms mx dr drs prof rev hon gen col lt sgt cpl capt cmdr maj adm gov sen rep pres supt st ste mt messrs \
    cf e.g i.e eg ie viz ca approx vs v \
    hr fr frl dipl ing bzw ggf vgl z.b d.h u.a o.ä u.ä i.d.r evtl inkl exkl geb gest abb sog zzgl bspw usf mag \
    mm mme mlle mgr mlles mmes p.ex c.-à-d \
    sra srta dña ud uds p.ej dott dottssa avv sig sigg sig.ra geom on \
    dhr mevr mw bijv o.a d.w.z m.b.t t.a.v \
    г ул им т.е т.к т.н проф акад \
    np m.in tj tzn ul např t.ex bl.a f.eks f.ex t.d";

const MAY_END: &str = "\
    etc inc ltd co corp jr sr bros llc plc al op cit ibid ed eds dept univ assn ave blvd rd esq \
    usw u.s.w enz ecc т.д т.п itd itp osv stk";

const BEFORE_NUMBER: &str = "\
    no nos nr nrs num núm nº fig figs p pp pg pág vol vols ch chap sec sect art arts abs kap bd ver ex eq para par z tel \
    jan feb mar apr jun jul aug sep sept oct nov dec okt dez mon tue tues wed thu thur thurs fri sat sun стр рис №";

const OPENERS: &str = "\
    the a an this that these those he she it we they i you his her its our their my your but and so then there when if in on \
    at as after before however while what who why how yes no not for with from to all some most many now here \
    der die das ein eine einen er sie es wir ihr ich du dann aber und doch dies diese dieser \
    le la les un une des il elle nous vous ils elles je tu mais et ce cette ces \
    el los las una él ella nosotros ellos pero y esto esta este lo gli uno io lui lei noi ma \
    o os as um uma ele ela eu mas het een hij zij wij ik maar он она они мы я но это";

const BEFORE_ORDINAL: &str =
    "am der die das den dem des vom zum zur im beim bis ab und seit ihr sein ein jeder jede jedes";

const MONTHS: &str = "\
    januar jänner februar märz april mai juni juli august september oktober november dezember \
    jahrhundert jahrhunderts jahrhunderte";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_listed_word_is_too_long_to_be_found() {
        for list in [ALWAYS, MAY_END, BEFORE_NUMBER, OPENERS, BEFORE_ORDINAL, MONTHS] {
            assert!(list.split_ascii_whitespace().all(|word| word.len() <= LONGEST && word.to_lowercase() == word));
        }
    }

    #[test]
    fn words_are_told_apart() {
        let table = [
            ("Dr", Stop::Abbreviation),
            ("e.g", Stop::Abbreviation),
            ("z.B", Stop::Abbreviation),
            ("J", Stop::MayEnd),
            ("U.S", Stop::MayEnd),
            ("Ph.D", Stop::MayEnd),
            ("a.m", Stop::MayEnd),
            ("etc", Stop::MayEnd),
            ("No", Stop::BeforeNumber),
            ("Fig", Stop::BeforeNumber),
            ("dog", Stop::End),
            ("3.14", Stop::End),
            ("example.com", Stop::End),
            ("", Stop::End),
        ];
        for (word, expected) in table {
            assert_eq!(stop_after(word), expected, "{word}");
        }
    }
}
