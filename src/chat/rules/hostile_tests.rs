//! What people do to get past the rules, what must not be mistaken for it, and chat as it is in many languages.

use std::time::Duration;

use super::{shape, tests::*, *};
use crate::chat::message::{Amount, Emote, Kind};

const ENGLISH: &str = include_str!("../../../tests/data/english_chat.txt");

const LINES: &[(&str, &str)] = &[
    ("主播今天状态不错啊，这把稳了", "zh"),
    ("哈哈哈哈哈哈 笑死我了", "zh"),
    ("今日もかわいいですね、応援してます", "ja"),
    ("草ｗｗｗｗｗ", "ja"),
    ("오늘 방송 너무 재밌어요 ㅋㅋㅋㅋㅋ", "ko"),
    ("Chào anh, hôm nay stream vui quá trời luôn", "vi"),
    ("Сегодня отличный стрим, спасибо за игру!", "ru"),
    ("Дякую за стрім, було дуже цікаво дивитися", "uk"),
    ("Das war richtig knapp, schöner Schuss!", "de"),
    ("Trop fort, j'ai jamais vu ça de ma vie", "fr"),
    ("jajajaja no puede ser, qué mala suerte tienes", "es"),
    ("kkkkkkkk mano que jogada absurda foi essa", "pt"),
    ("مرحبا من مصر، البث رائع اليوم", "ar"),
    ("भाई क्या खेला आज, मज़ा आ गया", "hi"),
    ("สวัสดีครับ วันนี้เล่นเกมอะไร", "th"),
    ("Bugün yayın çok güzel, eline sağlık", "tr"),
    ("Ale akcja, brawo, świetny mecz!", "pl"),
    ("שלום לכולם, איזה משחק מטורף", "he"),
];

fn banning(words: &[&str]) -> Rules {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    rules(|settings| settings.banned_words = words)
}

#[test]
fn a_banned_word_is_found_behind_every_disguise() {
    let rules = banning(&["badword", "傻逼", "сука"]);
    let disguised = [
        "BADWORD",
        "b a d w o r d",
        "b  a  d  w  o  r  d",
        "b.a.d.w.o.r.d",
        "b_a_d_w_o_r_d",
        "b-a-d w-o-r-d b.adword",
        "bad\u{200b}word",
        "bad\u{ad}word",
        "bad\u{34f}word",
        "bad\u{2060}wo\u{feff}rd",
        "bad\u{3164}word",
        "bad\u{e0061}word",
        "b\u{202e}adword",
        "b4dw0rd",
        "b@dw0rd",
        "baaaadwooooord",
        "BaAaDwOrD",
        "bádwörd",
        "b̸a̷d̵w̶o̸r̷d̶",
        "ｂａｄｗｏｒｄ",
        "𝐛𝐚𝐝𝐰𝐨𝐫𝐝",
        "𝖇𝖆𝖉𝖜𝖔𝖗𝖉",
        "ⓑⓐⓓⓦⓞⓡⓓ",
        "🅑🅐🅓🅦🅞🅡🅓",
        "🅱🅰🅳🆆🅾🆁🅳",
        "🇧🇦🇩🇼🇴🇷🇩",
        "ʙᴀᴅᴡᴏʀᴅ",
        "bаdwоrd", // Cyrillic а and о
        "bαdwοrd", // Greek
        "oh badword!!!",
        "\"badword\"",
        "@badword",
        "#badword",
        "你这个傻逼",
        "傻 逼",
        "傻\u{200b}逼",
        "傻.逼",
        "傻😀逼",
        "СУКА",
        "с у к а",
        "cykа", // Latin c and y
    ];
    let missed: Vec<_> =
        disguised.into_iter().filter(|text| verdict(&rules, &message(text)).decision != Decision::Refuse).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn what_only_looks_like_it_is_spoken() {
    let rules = banning(&["ass", "hell", "cock", "cum", "tit", "rape", "nig", "hit"]);
    let fine = [
        "class is in session, assassin",
        "hello from Michelle's shell",
        "peacock cocktail cockpit",
        "document the cucumber accumulation",
        "title of constitution",
        "grape drapes",
        "he's hitting it, white hat",
        "night knight",
        "as soon as S tier",
        "a s s",
    ];
    let last = fine.len() - 1;
    for text in &fine[..last] {
        assert!(matches!(verdict(&rules, &message(text)).decision, Decision::Speak(_)), "{text}");
    }
    // Spelled out it is meant.
    assert_eq!(refused_by(&rules, &message(fine[last])), "banned");
}

#[test]
fn nobody_loses_a_line_of_ordinary_english_chat() {
    let rules = banning(&["ass", "shit", "fuck", "bitch", "cunt", "nigger", "faggot", "retard", "cock", "dick"]);
    let lost: Vec<_> = ENGLISH
        .lines()
        .filter(|line| line.chars().any(char::is_alphabetic))
        .filter(|line| !matches!(verdict(&rules, &message(line)).decision, Decision::Speak(_) | Decision::Act(_)))
        .collect();
    assert!(lost.len() * 200 <= ENGLISH.lines().count(), "{lost:?}");
}

#[test]
fn slurs_are_not_spoken_unless_somebody_wants_them_to_be() {
    let decode = |text: &str| super::lists::entries(&[text.to_owned()]).expect("a list");
    let open = rules(|settings| settings.banned_lists.clear());
    for entry in ["en", "zh", "vi"].into_iter().flat_map(decode) {
        let word = entry.trim_matches(['*', '=']);
        for text in [format!("{word}!"), format!("so ein {} hier", word.to_uppercase())] {
            assert_eq!(refused_by(&rules(|_| ()), &message(&text)), "banned");
            assert!(matches!(verdict(&open, &message(&text)).decision, Decision::Speak(_)));
        }
        let mut named = message("hello");
        named.user.name = format!("{word} 99");
        let Decision::Speak(speech) = verdict(&rules(|_| ()), &named).decision else { panic!() };
        assert_eq!(speech.name, "someone");
    }
}

#[test]
fn harmless_words_are_not_taken_for_slurs() {
    let fine = [
        "greetings from Nigeria and Niger",
        "don't snigger, be niggardly",
        "my Maine Coon is asleep",
        "je suis en retard, désolé pour le retard",
        "hvilket fag er det",
        "hola Kike, qué tal",
        "kaffir lime leaves in the soup",
        "the white power cable",
        "mới đến, chào cả nhà",
        "bé dễ thương quá",
        "mọi người ơi, bóng đá hay quá",
        "khua chiêng gõ trống",
        "支持主播，黑色的鬼屋",
        "小日子过得不错",
        "高丽参真贵",
    ];
    for text in fine {
        assert!(matches!(verdict(&rules(|_| ()), &message(text)).decision, Decision::Speak(_)), "{text}");
    }
    let lost: Vec<_> =
        ENGLISH.lines().filter(|line| verdict(&rules(|_| ()), &message(line)).rule == "banned").collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn every_language_is_spoken_whole_and_told_apart() {
    let all = rules(|_| ());
    let mut told = 0;
    for (line, language) in LINES {
        let Decision::Speak(speech) = verdict(&all, &message(line)).decision else { panic!("{line}") };
        assert_eq!(speech.display_text, *line);
        told += usize::from(speech.language.as_deref() == Some(language));
    }
    assert!(told * 4 >= LINES.len() * 3, "{told} of {}", LINES.len());
}

#[test]
fn a_list_of_languages_keeps_english_out_too() {
    let french = rules(|settings| settings.languages = vec!["fr".into()]);
    assert_eq!(refused_by(&french, &message("I think that you should really try the other weapon first")), "language");
    for text in ["gg", "Trop fort, j'ai jamais vu ça de ma vie"] {
        assert!(matches!(verdict(&french, &message(text)).decision, Decision::Speak(_)), "{text}");
    }
}

#[test]
fn moderators_are_not_slowed_down() {
    let rules = rules(|settings| settings.user_cooldown_s = 60.0);
    let mut memory = Memory::default();
    let mut moderator = message("please be kind");
    moderator.user.roles.moderator = true;
    for _ in 0..3 {
        assert!(matches!(rules.judge(&moderator, None, &mut memory, at(0)).decision, Decision::Speak(_)));
    }
}

#[test]
fn names_of_gifts_and_rewards_are_looked_at() {
    let rules = banning(&["badword"]);
    let gift = Kind::Gift { name: "b4dword".into(), count: 1, amount: None };
    assert_eq!(said(&rules, &of(gift, "")), "Ann sent 1 something");
    let long = Kind::Gift { name: "rose ".repeat(1_000), count: 1, amount: None };
    assert!(shape::clusters(&said(&rules, &of(long, ""))).count() < 100);
}

#[test]
fn names_on_the_stream_are_fit_to_be_read() {
    let rules = banning(&["badword"]);
    for (name, shown) in [
        ("Ann_99", "Ann_99"),
        ("观***", "观***"),
        ("@ann", "ann"),
        ("xX_b4dw0rd_Xx", "someone"),
        ("b\u{200b}adword", "someone"),
        ("A\u{202e}nn", "Ann"),
        ("\u{3164}", "someone"),
        ("★☆", "★☆"),
        ("visit evil.com now", "someone"),
        ("ev\u{200b}il.com", "someone"),
        ("Dr. Who", "Dr. Who"),
        (&"名".repeat(256), &"名".repeat(30)),
        (&format!("Z{}", "\u{30d}".repeat(200)), "Z\u{30d}\u{30d}\u{30d}\u{30d}"),
    ] {
        let mut message = message("hello");
        message.user.name = name.to_owned();
        let Decision::Speak(speech) = verdict(&rules, &message).decision else { panic!() };
        assert_eq!(speech.name, shown, "{name:?}");
    }
    let mut handle = of(Kind::Cheer { bits: 1 }, "hi");
    handle.user.name = "@ann".into();
    assert_eq!(said(&rules, &handle), "ann cheered 1: hi");
    handle.user.name = "visit evil.com now".into();
    assert_eq!(said(&rules, &handle), "someone cheered 1: hi");
}

#[test]
fn a_nickname_is_only_what_is_said() {
    let rules = rules(|settings| settings.ignored_users = vec!["Troll".into()]);
    let judged = |name: &str, called: &str| {
        let mut message = of(Kind::Cheer { bits: 1 }, "hi");
        message.user.name = name.into();
        rules.judge(&message, Some(called), &mut Memory::default(), at(0))
    };
    assert_eq!(judged("troll", "Sir Lancelot").rule, "ignored_users");
    let Decision::Speak(speech) = judged("ann", "Troll").decision else { panic!() };
    assert_eq!((speech.text.as_str(), speech.name.as_str()), ("Troll cheered 1: hi", "ann"));
}

#[test]
fn the_bits_are_told_once() {
    let mut cheer = of(Kind::Cheer { bits: 100 }, "Cheer100 nice shot Kappa");
    cheer.emotes = [("Cheer", 0..8), ("Kappa", 19..24)].map(|(name, bytes)| Emote { name: name.into(), bytes }).into();
    assert_eq!(said(&rules(|_| ()), &cheer), "Ann cheered 100: nice shot Kappa");
}

#[test]
fn the_overlay_is_not_turned_round_or_towered_over() {
    let zalgo = format!("h{}ello \u{202e}dlrow", "\u{30d}".repeat(500));
    let Decision::Speak(speech) = verdict(&rules(|_| ()), &message(&zalgo)).decision else { panic!() };
    for text in [speech.text, speech.display_text] {
        assert!(!text.contains('\u{202e}') && text.chars().count() < 20, "{text:?}");
    }
    // Joiners and marks that mean something stay.
    for text in ["می‌خواهم", "👩‍👩‍👧 hi", "क्ष त्र", "Tiếng Việt rất hay"] {
        let Decision::Speak(speech) = verdict(&rules(|_| ()), &message(text)).decision else { panic!() };
        assert_eq!(speech.display_text, text);
    }
}

#[test]
fn no_text_takes_long() {
    let rules = banning(&["badword", "a b c", "*aaab*"]);
    let size = 200_000;
    let units = [
        "12", "a1", "1", "a", "ab", "abcd", "a ", "!", "😀", "\u{301}", "a.io ", "www.", "(dot)", "哈", "🇧",
        "x1y2z3w4", "b a ", "a.com+", "例.com ", "a.b.", "傻x", "b ad ", "m\u{323}", "a://例",
    ];
    for unit in units {
        let text = unit.repeat(size / unit.len());
        for mut message in [message(&text), of(Kind::Cheer { bits: 5 }, &text)] {
            message.user.name.clone_from(&text);
            message.emotes = (0..2_000).map(|at| Emote { name: "e".into(), bytes: at * 4..at * 4 + 4 }).collect();
            let amount = Amount { micros: u64::MAX, currency: text.clone() };
            for kind in [message.kind.clone(), Kind::Gift { name: text.clone(), count: u64::MAX, amount: Some(amount) }]
            {
                message.kind = kind;
                // Quadratic ones took many seconds; this takes milliseconds, but tests run unoptimised and side by side.
                assert!(takes_less_than(Duration::from_secs(3), || drop(verdict(&rules, &message))), "{unit:?}");
            }
        }
    }
}
