use proptest::prelude::*;

use super::*;

const LINES: &str = include_str!("fixtures/irc.txt");

fn read_all(shared_chat: bool) -> Vec<Incoming> {
    let mut reader = Reader::new(shared_chat);
    LINES.lines().map(|line| reader.read(&Line::parse(line).expect("a line"))).collect()
}

fn message_of(incoming: &Incoming) -> &Message {
    match incoming {
        Incoming::Event(Event::Message(message)) | Incoming::Redeemed { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_as_twitch_documents_it() {
    let all = read_all(true);
    let message = message_of(&all[0]);
    assert_eq!((message.channel.as_str(), message.id.as_str()), ("lovingt3s", "885196de-cb67-427a-baa8-82f9b0fcd05f"));
    assert_eq!((message.user.id.as_str(), message.user.name.as_str()), ("713936733", "lovingt3s"));
    assert_eq!(message.user.roles, Roles { broadcaster: true, ..Roles::default() });
    assert_eq!((message.emotes.len(), message.emotes[0].bytes.clone()), (1, 0..11));
    let sent = message.sent_at.expect("told").duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert_eq!(sent.as_millis(), 1_643_904_084_794);
}

#[test]
fn bits_with_emotes_behind_other_scripts() {
    let all = read_all(true);
    let message = message_of(&all[1]);
    assert_eq!(message.kind, Kind::Cheer { bits: 100 });
    assert_eq!(message.text, "cheer100 🎉你好 go Kappa");
    let names: Vec<&str> = message.emotes.iter().map(|emote| &message.text[emote.bytes.clone()]).collect();
    assert_eq!(names, ["cheer100", "Kappa"]);
    assert!(message.user.roles.subscriber && message.kind.is_paid());
    assert_eq!((&*message.user.name, &*message.user.login), ("Ünal", "unal"));
}

#[test]
fn actions_rewards_and_roles() {
    let all = read_all(true);
    assert_eq!((message_of(&all[2]).text.as_str(), message_of(&all[2]).user.name.as_str()), ("waves", "Mod One"));
    assert!(message_of(&all[2]).user.roles.moderator);
    let Incoming::Redeemed { reward_id, message } = &all[3] else { panic!("{:?}", all[3]) };
    assert_eq!(reward_id, "92af127c-7326-4483-a52b-b0da0be61c01");
    assert_eq!(message.user.roles, Roles { vip: true, bot: true, ..Roles::default() });
}

#[test]
fn notices() {
    let all = read_all(true);
    let kinds: Vec<Option<&Kind>> = all[4..11]
        .iter()
        .map(|incoming| match incoming {
            Incoming::Event(Event::Message(message)) => Some(&message.kind),
            _ => None,
        })
        .collect();
    let subscription = Kind::Subscription { tier: "Prime".into(), months: 6, amount: None };
    let five = Kind::SubscriptionGift { tier: "1".into(), count: 5 };
    let one = Kind::SubscriptionGift { tier: "2".into(), count: 1 };
    let raid = Kind::Raid { viewers: 15 };
    let amount = Some(Amount { micros: 5_500_000, currency: "USD".into() });
    let donation = Kind::Gift { name: "Good Cause".into(), count: 1, amount };
    // The second gift is one of the five before it.
    let expected =
        [Some(&subscription), Some(&five), None, Some(&one), Some(&raid), Some(&donation), Some(&Kind::Chat)];
    assert_eq!(kinds, expected);
    assert_eq!(message_of(&all[4]).text, "Great stream -- keep it up!");
    assert_eq!(message_of(&all[8]).user.name, "TestChannel");
}

#[test]
fn subscriptions_of_every_kind() {
    let all = read_all(true);
    let messages: Vec<Option<&Message>> = all[12..20]
        .iter()
        .map(|incoming| match incoming {
            Incoming::Event(Event::Message(message)) => Some(message),
            Incoming::Nothing => None,
            other => panic!("{other:?}"),
        })
        .collect();
    let subscription = |tier: &str, months| Kind::Subscription { tier: tier.into(), months, amount: None };
    let gift = |tier: &str, count| Kind::SubscriptionGift { tier: tier.into(), count };
    let expected = [
        Some(("ann", subscription("3", 1), "here to stay")),
        // Twitch tells no plan of these.
        Some(("ben", subscription("", 1), "")),
        Some(("ben", subscription("", 1), "")),
        Some(("cem", subscription("1", 1), "")),
        Some(("ananonymousgifter", gift("1", 1), "")),
        Some(("ananonymousgifter", gift("2", 2), "")),
        // One of the two before it.
        None,
        Some(("dan", subscription("1", 2), "from next door")),
    ];
    let told = messages
        .iter()
        .map(|message| message.map(|one| (one.user.name.to_lowercase(), one.kind.clone(), one.text.clone())));
    let expected = expected.map(|one| one.map(|(name, kind, text)| (name.to_owned(), kind, text.to_owned())));
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(messages.iter().flatten().all(|message| message.kind.is_paid()));
    assert_eq!(read_all(false)[19], Incoming::Nothing);
}

#[test]
fn a_shared_chat_is_heard_only_if_wanted() {
    assert_eq!(message_of(&read_all(true)[11]).text, "from next door");
    assert_eq!(message_of(&read_all(true)[11]).user.roles, Roles::default());
    assert_eq!(read_all(false)[11], Incoming::Nothing);
}

#[test]
fn what_is_taken_back() {
    let platform = Platform::Twitch;
    let channel = || "bar".to_owned();
    let removed = |seconds| {
        let (user_id, user_name) = ("87654321".to_owned(), Some("ronni".to_owned()));
        Incoming::Event(Event::UserRemoved { platform, channel: channel(), user_id, user_name, seconds })
    };
    let expected = [
        Incoming::Event(Event::Deleted { platform, channel: channel(), id: "abc-123-def".into() }),
        removed(Some(350)),
        removed(None),
        Incoming::Event(Event::Cleared { platform, channel: channel() }),
        Incoming::Reconnect,
        Incoming::Ping("tmi.twitch.tv".into()),
        Incoming::Notice { id: None, text: "Login authentication failed".into() },
        Incoming::Joined,
        Incoming::Welcome,
    ];
    assert_eq!(read_all(true)[20..], expected);
}

proptest! {
    #[test]
    fn any_line_is_read_without_a_panic(line in "\\PC{0,300}") {
        if let Some(line) = Line::parse(&line) {
            let _ = Reader::new(true).read(&line);
        }
    }

    /// Tags of the right names with any values.
    #[test]
    fn any_tags_are_read_without_a_panic(
        command in prop_oneof![Just("PRIVMSG"), Just("USERNOTICE"), Just("CLEARCHAT"), Just("CLEARMSG"), Just("NOTICE")],
        values in prop::collection::vec("[0-9a-z,:/\\\\-]{0,24}", 12),
        text in "\\PC{0,80}",
    ) {
        let names = ["id", "emotes", "bits", "badges", "tmi-sent-ts", "msg-param-donation-amount", "msg-param-exponent",
            "ban-duration", "target-user-id", "msg-param-origin-id", "user-type", "display-name"];
        for notice in ["resub", "subgift", "submysterygift", "raid", "charitydonation", "sharedchatnotice", "x"] {
            let tags: Vec<String> = names.iter().zip(&values).map(|(name, value)| format!("{name}={value}")).collect();
            let line = format!("@msg-id={notice};{} :a!b@c {command} #bar :{text}", tags.join(";"));
            let _ = Reader::new(true).read(&Line::parse(&line).expect("a line"));
        }
    }
}
