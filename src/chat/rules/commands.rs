//! Commands that viewers type: `!tts hello`, `!voice wren`, `!skip`. Pure.

use super::{Command, allowed, shape};
use crate::{
    chat::message::Roles,
    config::{ChatCommands, Who},
};

/// From an ASCII mark to its full-width form.
const FULL_WIDTH: u32 = 0xfee0;

/// What the beginning of a message is.
#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    /// No command.
    Words,
    /// `!tts`: the rest is to be spoken. Where the rest begins, in bytes.
    Tts {
        rest: usize,
    },
    Command {
        name: &'static str,
        command: Command,
    },
    /// One of ours that this viewer may not use, or that lacks what it needs.
    Refused(String),
    /// Of some other bot.
    Foreign,
}

pub(super) fn typed(text: &str, prefix: &str, who: &ChatCommands, roles: Roles) -> Typed {
    let leading = text.len() - text.trim_start().len();
    let Some(after) = without_prefix(&text[leading..], prefix) else { return Typed::Words };
    let name_end = after.find(char::is_whitespace).unwrap_or(after.len());
    let (name, rest) = after.split_at(name_end);
    // Programs put an invisible letter behind what is sent twice, as platforms refuse copies.
    let (name, argument) = (shape::tidy(name), shape::tidy(rest));
    if !name.starts_with(char::is_alphabetic) {
        // "!!!" and "!?" are words.
        return Typed::Words;
    }
    let may = |who: Who, name: &'static str, command: Result<Command, &str>| {
        if !allowed(who, roles) {
            return Typed::Refused(format!("{prefix}{name} is not for everybody"));
        }
        match command {
            Ok(command) => Typed::Command { name, command },
            Err(usage) => Typed::Refused(format!("{prefix}{name} needs {usage}")),
        }
    };
    let user = || argument.trim_start_matches('@').to_owned();
    let named = |make: fn(String) -> Command| if user().is_empty() { Err("a name") } else { Ok(make(user())) };
    match name.to_lowercase().as_str() {
        "tts" | "say" if allowed(who.tts, roles) => Typed::Tts { rest: text.len() - rest.trim_start().len() },
        "tts" | "say" => Typed::Refused(format!("{prefix}tts is not for everybody")),
        "voice" => may(who.voice, "voice", Ok(voice(&argument))),
        "skip" => may(who.skip, "skip", Ok(Command::Skip)),
        "pause" => may(who.pause, "pause", Ok(Command::Pause)),
        "resume" => may(who.resume, "resume", Ok(Command::Resume)),
        "clear" => may(who.clear, "clear", Ok(Command::Clear)),
        "volume" => may(who.volume, "volume", volume(&argument).ok_or("a number from 0 to 100")),
        "mute" => may(who.mute, "mute", named(Command::Mute)),
        "unmute" => may(who.unmute, "unmute", named(Command::Unmute)),
        "approve" => may(who.approve, "approve", Ok(Command::Approve)),
        "reject" => may(who.reject, "reject", Ok(Command::Reject)),
        _ => Typed::Foreign,
    }
}

/// Chinese keyboards write "！skip".
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut letters = text.chars();
    let is = |letter: char, wanted: char| {
        letter == wanted || wanted.is_ascii_graphic() && letter as u32 == wanted as u32 + FULL_WIDTH
    };
    let same =
        !prefix.is_empty() && prefix.chars().all(|wanted| letters.next().is_some_and(|letter| is(letter, wanted)));
    same.then_some(letters.as_str())
}

fn voice(argument: &str) -> Command {
    match argument {
        "" | "default" | "reset" => Command::ResetVoice,
        name => Command::Voice(name.to_owned()),
    }
}

/// In percent.
fn volume(argument: &str) -> Option<Command> {
    let percent: f32 = argument.trim_end_matches('%').trim().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(Command::Volume(percent / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(text: &str) -> Typed {
        typed(text, "!", &ChatCommands::default(), Roles::default())
    }

    fn moderator(text: &str) -> Typed {
        typed(text, "!", &ChatCommands::default(), Roles { moderator: true, ..Roles::default() })
    }

    #[test]
    fn what_is_typed() {
        assert_eq!(viewer("hello !tts"), Typed::Words);
        assert_eq!(viewer("!!!"), Typed::Words);
        assert_eq!(viewer(" !TTS  hello"), Typed::Tts { rest: 7 });
        assert_eq!(viewer("!tts"), Typed::Tts { rest: 4 });
        assert_eq!(viewer("!uptime"), Typed::Foreign);
        assert_eq!(viewer("！tts 你好"), Typed::Tts { rest: "！tts ".len() });
        assert_eq!(moderator("！skip"), Typed::Command { name: "skip", command: Command::Skip });
        assert_eq!(viewer("¡tts"), Typed::Words);
        assert_eq!(viewer("!voice Wren"), Typed::Command { name: "voice", command: Command::Voice("Wren".into()) });
        assert_eq!(viewer("!voice"), Typed::Command { name: "voice", command: Command::ResetVoice });
        assert!(matches!(viewer("!skip"), Typed::Refused(_)));
        assert_eq!(moderator("!skip"), Typed::Command { name: "skip", command: Command::Skip });
        assert_eq!(moderator("!volume 40%"), Typed::Command { name: "volume", command: Command::Volume(0.4) });
        assert!(matches!(moderator("!volume NaN"), Typed::Refused(_)));
        assert!(matches!(moderator("!mute"), Typed::Refused(_)));
        assert_eq!(moderator("!mute @Ann"), Typed::Command { name: "mute", command: Command::Mute("Ann".into()) });
        for invisible in ["\u{e0000}", "\u{200b}", "\u{2060} "] {
            let mute = Typed::Command { name: "mute", command: Command::Mute("Ann".into()) };
            assert_eq!(moderator(&format!("!mute @Ann {invisible}")), mute, "{invisible:?}");
            let skip = Typed::Command { name: "skip", command: Command::Skip };
            assert_eq!(moderator(&format!("!skip{invisible}")), skip, "{invisible:?}");
        }
    }
}
