use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::{shape, *};
use crate::{
    chat::{
        Platform,
        message::{Amount, Emote, Kind, User},
    },
    config::{Approval, Banned, Caps, Links, Part, TooLong},
};

pub(super) fn message(text: &str) -> Message {
    Message {
        platform: Platform::Twitch,
        channel: "channel".into(),
        id: "1".into(),
        user: User { id: "7".into(), name: "Ann".into(), login: String::new(), masked: false, roles: Roles::default() },
        text: text.to_owned(),
        emotes: Vec::new(),
        kind: Kind::Chat,
        sent_at: None,
    }
}

/// In one of a few tries: a machine that stalls meanwhile does not make the work long.
pub(super) fn takes_less_than(bound: Duration, work: impl Fn()) -> bool {
    (0..5).any(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed() < bound
    })
}

pub(super) fn of(kind: Kind, text: &str) -> Message {
    Message { kind, ..message(text) }
}

pub(super) fn at(seconds: u64) -> Now {
    Now {
        monotonic: Duration::from_secs(seconds),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds),
    }
}

pub(super) fn rules(change: impl FnOnce(&mut ChatRules)) -> Rules {
    let mut settings = ChatRules::default();
    change(&mut settings);
    Rules::new(&settings).expect("settings that can be used")
}

pub(super) fn verdict(rules: &Rules, message: &Message) -> Verdict {
    rules.judge(message, None, &mut Memory::default(), at(0))
}

pub(super) fn said(rules: &Rules, message: &Message) -> String {
    match verdict(rules, message).decision {
        Decision::Speak(speech) => speech.text,
        other => panic!("{other:?}"),
    }
}

pub(super) fn refused_by(rules: &Rules, message: &Message) -> &'static str {
    let verdict = verdict(rules, message);
    assert_eq!(verdict.decision, Decision::Refuse, "{verdict:?}");
    assert!(!verdict.reason.is_empty());
    assert_eq!(verdict.trace.last().map(|step| step.rule), Some(verdict.rule));
    verdict.rule
}

#[test]
fn an_ordinary_message_is_spoken_as_it_is() {
    let verdict = verdict(&rules(|_| ()), &message("Hello there, friends!"));
    let Decision::Speak(speech) = verdict.decision else { panic!("{verdict:?}") };
    assert_eq!((speech.text.as_str(), speech.priority), ("Hello there, friends!", Priority::Everyone));
    let order: Vec<_> = verdict.trace.iter().map(|step| step.rule).collect();
    assert_eq!(
        order,
        [
            "ignored_users",
            "bots",
            "command",
            "threshold",
            "who",
            "age",
            "rate",
            "banned",
            "links",
            "emotes",
            "emoji",
            "repeats",
            "caps",
            "words",
            "language",
            "length",
            "duplicate",
            "approval"
        ]
    );
}

#[test]
fn who_may_speak() {
    let only = |who| rules(|settings| settings.who = who);
    let mut subscriber = message("hello");
    subscriber.user.roles.subscriber = true;
    assert_eq!(refused_by(&only(Who::Subscribers), &message("hello")), "who");
    assert_eq!(said(&only(Who::Subscribers), &subscriber), "hello");
    assert_eq!(refused_by(&only(Who::Vips), &subscriber), "who");
    assert_eq!(refused_by(&only(Who::Nobody), &subscriber), "who");
    // What was paid for is spoken whoever paid.
    assert_eq!(said(&only(Who::Nobody), &of(Kind::Cheer { bits: 100 }, "hi")), "Ann cheered 100: hi");
    let asked = rules(|settings| settings.only_command = true);
    assert_eq!(refused_by(&asked, &message("hello")), "who");
    assert_eq!(said(&asked, &message("!tts hello")), "hello");
}

#[test]
fn paid_goes_before_a_moderator_who_pays() {
    let mut cheer = of(Kind::Cheer { bits: 5 }, "hi");
    cheer.user.roles.moderator = true;
    let Decision::Speak(speech) = verdict(&rules(|_| ()), &cheer).decision else { panic!() };
    assert_eq!(speech.priority, Priority::Paid);
    cheer.kind = Kind::Chat;
    let Decision::Speak(speech) = verdict(&rules(|_| ()), &cheer).decision else { panic!() };
    assert_eq!(speech.priority, Priority::Moderator);
}

#[test]
fn thresholds_and_templates() {
    let usd = |micros| Amount { micros, currency: "USD".into() };
    let rules = rules(|settings| {
        settings.min_bits = 100;
        settings.min_amounts = [("usd".to_owned(), "5".to_owned())].into();
        settings.min_raid_viewers = 10;
        settings.rewards = vec!["Speak".into()];
    });
    assert_eq!(said(&rules, &of(Kind::Cheer { bits: 100 }, "hi")), "Ann cheered 100: hi");
    // Too little is an ordinary message.
    let Decision::Speak(speech) = verdict(&rules, &of(Kind::Cheer { bits: 99 }, "hi")).decision else { panic!() };
    assert_eq!((speech.text.as_str(), speech.priority), ("hi", Priority::Everyone));
    assert_eq!(said(&rules, &of(Kind::SuperChat { amount: usd(12_500_000) }, "")), "Ann sent 12.50 USD");
    assert_eq!(said(&rules, &of(Kind::SuperChat { amount: usd(4_990_000) }, "hi")), "hi");
    assert_eq!(refused_by(&rules, &of(Kind::SuperChat { amount: usd(4_990_000) }, "")), "threshold");
    assert_eq!(refused_by(&rules, &of(Kind::Raid { viewers: 9 }, "")), "threshold");
    assert_eq!(said(&rules, &of(Kind::Raid { viewers: 10 }, "")), "Ann raids with 10 viewers");
    let reward = |title: &str| of(Kind::Redemption { reward_id: "r".into(), title: title.into(), points: 5 }, "hey");
    assert_eq!(said(&rules, &reward("speak")), "hey");
    assert_eq!(refused_by(&rules, &reward("Hydrate")), "threshold");
    let gift = Kind::Gift { name: "小心心".into(), count: 3, amount: None };
    assert_eq!(refused_by(&rules, &of(gift.clone(), "")), "threshold", "a free one is worth less than 5 USD");
    let Decision::Speak(speech) = verdict(&super::tests::rules(|_| ()), &of(gift, "")).decision else { panic!() };
    assert_eq!(speech.text, "Ann sent 3 小心心");
    // How much it was is not known.
    let unknown = of(Kind::SuperChat { amount: usd(0) }, "hi");
    assert_eq!(said(&super::tests::rules(|_| ()), &unknown), "hi");
}

#[test]
fn commands() {
    let rules = rules(|_| ());
    assert_eq!(verdict(&rules, &message("!voice wren")).decision, Decision::Act(Command::Voice("wren".into())));
    assert_eq!(refused_by(&rules, &message("!skip")), "command");
    assert_eq!(refused_by(&rules, &message("!discord")), "command");
    assert_eq!(refused_by(&rules, &message("!tts")), "words");
    // What was paid for is spoken.
    assert_eq!(said(&rules, &of(Kind::Cheer { bits: 1 }, "!skip this")), "Ann cheered 1: !skip this");
}

#[test]
fn bots_and_ignored_users() {
    let mut bot = message("Follow the channel");
    bot.user.name = "NightBot".into();
    assert_eq!(refused_by(&rules(|_| ()), &bot), "bots");
    bot.user = User { roles: Roles { bot: true, ..Roles::default() }, ..message("").user };
    assert_eq!(refused_by(&rules(|_| ()), &bot), "bots");
    let rules = rules(|settings| settings.ignored_users = vec!["@ANN".into()]);
    assert_eq!(refused_by(&rules, &of(Kind::Cheer { bits: 1 }, "hi")), "ignored_users");
    let by_login = |login: &str| {
        let named = message("Follow the channel");
        Message { user: User { name: "夜間".into(), login: login.into(), ..named.user }, ..named }
    };
    assert_eq!(refused_by(&rules, &by_login("ann")), "ignored_users");
    assert_eq!(refused_by(&rules, &by_login("nightbot")), "bots");
}

#[test]
fn banned_words() {
    let with = |banned| rules(move |settings| (settings.banned, settings.banned_words) = (banned, vec!["darn".into()]));
    assert_eq!(refused_by(&with(Banned::Refuse), &message("oh d4rn it")), "banned");
    assert_eq!(said(&with(Banned::Replace), &message("oh d.a.r.n it, darn!")), "oh beep it, beep !");
    let held = verdict(&with(Banned::Hold), &message("darn"));
    assert!(matches!(held.decision, Decision::Hold(_)) && held.rule == "approval");
    // An emote in the middle of the word.
    let mut parted = message("da Kappa rn");
    parted.emotes = vec![Emote { name: "Kappa".into(), bytes: 3..8 }];
    let dropped = rules(|settings| {
        settings.emotes = Part::Drop;
        settings.banned_words = vec!["da rn".into()];
    });
    assert_eq!(refused_by(&dropped, &parted), "banned");
    // In a name that a template would say.
    let mut named = of(Kind::Cheer { bits: 1 }, "hi");
    named.user.name = "xX_d4rn_Xx".into();
    assert_eq!(said(&with(Banned::Refuse), &named), "someone cheered 1: hi");
}

#[test]
fn links_emotes_and_emoji() {
    assert_eq!(said(&rules(|_| ()), &message("see https://example.org/x now")), "see link now");
    assert_eq!(said(&rules(|settings| settings.links = Links::Drop), &message("see example.com now")), "see now");
    assert_eq!(refused_by(&rules(|settings| settings.links = Links::Refuse), &message("example dot com")), "links");
    let mut emotes = message("Kappa 😀 Kappa hi Kappa");
    emotes.emotes = [0..5, 11..16, 20..25].map(|bytes| Emote { name: "Kappa".into(), bytes }).to_vec();
    let verdict = verdict(&rules(|_| ()), &emotes);
    let Decision::Speak(speech) = verdict.decision else { panic!() };
    assert_eq!(speech.text, "Kappa 😀 Kappa hi");
    assert_eq!(speech.display_text, "Kappa 😀 Kappa hi Kappa");
    let silent = rules(|settings| (settings.emotes, settings.emoji) = (Part::Drop, Part::Drop));
    assert_eq!(said(&silent, &emotes), "hi");
    emotes.text = "Kappa".into();
    emotes.emotes.truncate(1);
    assert_eq!(refused_by(&silent, &emotes), "words");
}

#[test]
fn a_link_is_not_said_because_an_emoji_stood_in_it() {
    let text = "go to evil.😀c😀o😀m now";
    let with = |links| rules(move |settings| (settings.links, settings.emoji) = (links, Part::Drop));
    assert_eq!(said(&with(Links::Say), &message(text)), "go to link now");
    assert_eq!(said(&with(Links::Drop), &message(text)), "go to now");
    assert_eq!(refused_by(&with(Links::Refuse), &message(text)), "links");
}

#[test]
fn repetitions_capitals_and_length() {
    assert_eq!(said(&rules(|_| ()), &message("NOOOOOOO WAYYYYYY")), "nooo wayyy");
    assert_eq!(refused_by(&rules(|settings| settings.caps = Caps::Refuse), &message("WHAT IS THIS")), "caps");
    let loud = of(Kind::Cheer { bits: 100 }, "WHAT IS THIS");
    assert_eq!(said(&rules(|settings| settings.caps = Caps::Refuse), &loud), "Ann cheered 100");
    let short = rules(|settings| settings.max_chars = 12);
    assert_eq!(said(&short, &message("twelve characters at most")), "twelve");
    assert_eq!(said(&short, &message("一二三四五六七八九十一二三四")), "一二三四五六七八九十一二");
    let strict = rules(|settings| (settings.max_chars, settings.too_long) = (5, TooLong::Refuse));
    assert_eq!(refused_by(&strict, &message("longer than that")), "length");
    // What was paid for is cut, not refused, and may be longer.
    assert_eq!(said(&strict, &of(Kind::Cheer { bits: 1 }, "longer than that")), "Ann cheered 1: longer than that");
}

#[test]
fn rates_and_copies() {
    let rules = rules(|settings| (settings.user_cooldown_s, settings.user_max_per_minute) = (5.0, 2));
    let mut memory = Memory::default();
    let mut judged = |text: &str, user: &str, seconds| {
        let mut message = message(text);
        message.user.id = user.into();
        let verdict = rules.judge(&message, None, &mut memory, at(seconds));
        (matches!(verdict.decision, Decision::Speak(_)), verdict.rule)
    };
    assert_eq!(judged("one", "a", 0), (true, "accepted"));
    assert_eq!(judged("two", "a", 4), (false, "rate"));
    assert_eq!(judged("two", "b", 4), (true, "accepted"));
    // What was refused does not count.
    assert_eq!(judged("Two!", "a", 6), (true, "accepted"));
    assert_eq!(judged("three", "a", 20), (false, "rate"));
    assert_eq!(judged("one", "a", 61), (true, "accepted"));
    assert_eq!(judged("ONE...", "a", 68), (false, "duplicate"));
    assert_eq!(judged("one", "a", 100), (true, "accepted"));
    for user in ["c", "d"] {
        assert_eq!(judged("one", user, 101), (true, "accepted"));
    }
    assert_eq!(judged("one", "e", 102), (false, "duplicate"));
}

#[test]
fn old_messages() {
    let mut old = message("hello");
    old.sent_at = Some(at(0).wall - Duration::from_secs(61));
    assert_eq!(refused_by(&rules(|_| ()), &old), "age");
    old.kind = Kind::Cheer { bits: 1 };
    assert_eq!(said(&rules(|_| ()), &old), "Ann cheered 1: hello");
    // A clock that is behind.
    old = Message { sent_at: Some(at(100).wall), ..message("hello") };
    assert_eq!(said(&rules(|_| ()), &old), "hello");
}

#[test]
fn languages_and_routes() {
    let rules = rules(|settings| {
        settings.languages = vec!["en".into(), "zh-CN".into()];
        settings.engines = [("zh".to_owned(), "f5".to_owned())].into();
        settings.voices = [("zh".to_owned(), "mei".to_owned())].into();
    });
    let Decision::Speak(speech) = verdict(&rules, &message("今天天气真好，我们出去玩吧")).decision else {
        panic!()
    };
    assert_eq!((speech.engine.as_deref(), speech.voice.as_deref()), (Some("f5"), Some("mei")));
    assert!(speech.language.is_some_and(|tag| tag.starts_with("zh")));
    assert_eq!(refused_by(&rules, &message("Сегодня очень хорошая погода")), "language");
    let cheer = of(Kind::Cheer { bits: 100 }, "Сегодня очень хорошая погода");
    let Decision::Speak(speech) = verdict(&rules, &cheer).decision else { panic!() };
    assert_eq!([&*speech.text, &*speech.display_text], ["Ann cheered 100"; 2]);
    assert_eq!(said(&rules, &message("short")), "short");
}

#[test]
fn approval() {
    let held = |approval, message: &Message| {
        let rules = rules(|settings| settings.approval = approval);
        matches!(verdict(&rules, message).decision, Decision::Hold(_))
    };
    let (plain, paid) = (message("hello"), of(Kind::Cheer { bits: 1 }, "hello"));
    assert!(!held(Approval::Nothing, &plain));
    assert!(held(Approval::First, &plain));
    assert!(held(Approval::Unpaid, &plain) && !held(Approval::Unpaid, &paid));
    assert!(held(Approval::All, &paid));
    let rules = rules(|settings| settings.approval = Approval::First);
    let mut memory = Memory::default();
    assert!(matches!(rules.judge(&plain, None, &mut memory, at(0)).decision, Decision::Hold(_)));
    // Until somebody has approved one, each is the first.
    assert!(matches!(rules.judge(&message("again"), None, &mut memory, at(9)).decision, Decision::Hold(_)));
    memory.welcome(plain.platform, &plain.user.id);
    assert!(matches!(rules.judge(&message("once more"), None, &mut memory, at(19)).decision, Decision::Speak(_)));
}

#[test]
fn settings_that_cannot_be_used_are_told() {
    let fault = |change: fn(&mut ChatRules)| {
        let mut settings = ChatRules::default();
        change(&mut settings);
        Rules::new(&settings).err().expect("a fault")
    };
    assert!(fault(|settings| settings.templates.raid = "{nobody}".into()).contains("chat.rules.templates.raid"));
    assert!(fault(|settings| settings.banned_patterns = vec!["[".into()]).contains("chat.rules.banned_patterns"));
    assert!(
        fault(|settings| drop(settings.min_amounts.insert("USD".into(), "five".into()))).contains("min_amounts.USD")
    );
    assert!(fault(|settings| drop(settings.min_amounts.insert("$".into(), "5".into()))).contains("currency"));
    let languages = fault(|settings| settings.languages = vec!["en-GB".into(), "english".into()]);
    assert!(languages.contains("chat.rules.languages: ") && languages.contains("\"english\""), "{languages}");
    assert!([", en,", ", vi,", ", zh"].iter().all(|known| languages.contains(known)), "{languages}");
    assert!(fault(|settings| settings.languages = vec!["xx".into()]).contains("\"xx\""));
    assert!(fault(|settings| drop(settings.engines.insert("zh-CN".into(), "f5".into()))).contains("engines: "));
    assert!(fault(|settings| drop(settings.voices.insert("xx".into(), "heart".into()))).contains("voices: "));
}

fn any_message() -> impl Strategy<Value = Message> {
    let text = prop_oneof![
        any::<String>(),
        r"[!a-zA-Z0-9 .:/@😀🏽👍‍️️\u{200d}\u{301}哈了กำ]{0,80}",
        r"(ab|!|darn|d|a|r|n| |\.|https://|哈){0,60}",
    ];
    let kind = prop_oneof![
        Just(Kind::Chat),
        any::<u64>().prop_map(|bits| Kind::Cheer { bits }),
        (any::<u64>(), "[A-Z]{3}")
            .prop_map(|(micros, currency)| Kind::SuperChat { amount: Amount { micros, currency } }),
        any::<u64>().prop_map(|viewers| Kind::Raid { viewers }),
    ];
    (text, any::<String>(), kind, proptest::collection::vec((0..90usize, 0..20usize), 0..5)).prop_map(
        |(text, name, kind, emotes)| {
            let mut message = of(kind, &text);
            message.user.name = name;
            // Also such as a broken parser would make.
            message.emotes = emotes
                .into_iter()
                .map(|(start, size)| Emote { name: "e".into(), bytes: start..start + size })
                .collect();
            message
        },
    )
}

proptest! {
    #[test]
    fn nothing_that_is_said_is_longer_than_allowed_or_banned(message in any_message(), most in 1..40usize) {
        let rules = rules(|settings| {
            (settings.max_chars, settings.max_paid_chars) = (most, most);
            settings.banned_words = vec!["darn".into(), "哈了".into()];
        });
        let verdict = verdict(&rules, &message);
        prop_assert!(verdict.trace.iter().all(|step| step.outcome == Outcome::Passed || !step.reason.is_empty()));
        if let Decision::Speak(speech) = verdict.decision {
            for text in [&speech.text, &speech.display_text] {
                prop_assert!(shape::clusters(text).count() <= most, "{text:?}");
            }
            if message.kind == Kind::Chat {
                prop_assert!(rules.banned.find(&speech.text).is_empty(), "{:?}", speech.text);
            }
            prop_assert!(speech.text.chars().any(char::is_alphanumeric));
            prop_assert!(!speech.text.contains(char::is_control));
        }
    }

    #[test]
    fn hostile_patterns_take_linear_time(size in 1..4_000usize) {
        let rules = rules(|settings| settings.banned_patterns = vec!["(a+)+$".into(), "(a|aa)*b".into()]);
        let message = message(&"a".repeat(size));
        prop_assert!(takes_less_than(Duration::from_secs(2), || drop(verdict(&rules, &message))));
    }
}

/// `cargo test --release --lib chat::rules::tests::figure -- --ignored --nocapture` prints what a message costs.
#[test]
#[ignore = "a figure, not a test"]
fn figure() {
    let words: Vec<String> = (0..500).map(|index| format!("banned{index}word")).collect();
    let rules = rules(|settings| settings.banned_words = words);
    let lines =
        ["hello chat, what a game!", "LOOOOL that was sooo close https://example.org", "今天天气真好，我们出去玩吧 😀"];
    let mut memory = Memory::default();
    let begun = Instant::now();
    const ROUNDS: u64 = 20_000;
    for round in 0..ROUNDS {
        let mut message = message(lines[usize::try_from(round).unwrap() % lines.len()]);
        message.user.id = (round % 5_000).to_string();
        rules.judge(&message, None, &mut memory, at(round));
    }
    println!("{:.1} µs a message with 500 banned words", begun.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
}
