//! The rules in their order. Each one passes a message on, changes what is said of it, or decides.

use super::{
    Decision, Memory, Now, Outcome, Rules, Speech, Step, Verdict,
    author::{age, approval, command, duplicate, rate, threshold, users, who},
    fold::readings,
    spoken::speech,
    words::{banned_again, caps, emoji, language, length, links_again, parts, repeats, words},
};
use crate::chat::message::{Kind, Message};

/// More is not looked at: no platform sends it.
const MAX_TEXT_BYTES: usize = 16 << 10;

pub(super) struct Case<'a> {
    pub rules: &'a Rules,
    pub message: &'a Message,
    /// What the streamer has the author called, where that is not the name.
    pub called: Option<&'a str>,
    /// Somebody paid enough for it.
    pub paid: bool,
    /// It is an ordinary message, or is treated as one.
    pub plain: bool,
    pub said: String,
    pub shown: String,
    pub trace: Vec<Step>,
}

/// What a rule that ends the list answers.
pub(super) type Decided<T = ()> = Result<T, Box<Decision>>;

impl Case<'_> {
    pub fn told(&mut self, rule: &'static str, outcome: Outcome, reason: impl Into<String>) {
        self.trace.push(Step { rule, outcome, reason: reason.into() });
    }

    pub fn pass(&mut self, rule: &'static str) -> Decided {
        self.told(rule, Outcome::Passed, "");
        Ok(())
    }

    pub fn refuse(&mut self, rule: &'static str, reason: impl Into<String>) -> Decided {
        self.told(rule, Outcome::Refused, reason);
        Err(Box::new(Decision::Refuse))
    }

    pub fn changed(&mut self, rule: &'static str, reason: impl Into<String>) -> Decided {
        self.told(rule, Outcome::Changed, reason);
        Ok(())
    }

    /// Puts what a rule made of the words in their place.
    pub fn say(&mut self, rule: &'static str, said: String, reason: &str) -> Decided {
        if said == self.said {
            return self.pass(rule);
        }
        self.said = said;
        self.changed(rule, reason)
    }
}

/// The verdict, and the words by which a repetition is found.
pub(super) fn judge(
    rules: &Rules,
    message: &Message,
    called: Option<&str>,
    memory: &Memory,
    now: Now,
) -> (Verdict, String) {
    let mut case = Case {
        rules,
        message,
        called,
        paid: message.kind.is_paid(),
        plain: matches!(message.kind, Kind::Chat),
        said: String::new(),
        shown: String::new(),
        trace: Vec::new(),
    };
    let mut folded = String::new();
    let decision = match decide(&mut case, memory, now, &mut folded) {
        Ok(speech) => Decision::Speak(speech),
        Err(decision) => *decision,
    };
    let (rule, reason) = match (&decision, case.trace.last()) {
        (Decision::Speak(_), _) | (_, None) => ("accepted", "no rule was against it".to_owned()),
        (_, Some(step)) => (step.rule, step.reason.clone()),
    };
    (Verdict { decision, rule, reason, trace: case.trace }, folded)
}

fn decide(case: &mut Case<'_>, memory: &Memory, now: Now, folded: &mut String) -> Decided<Speech> {
    users(case)?;
    let start = command(case)?;
    threshold(case)?;
    who(case, start)?;
    age(case, now)?;
    rate(case, memory, now.monotonic)?;
    let end = case.message.text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_TEXT_BYTES);
    let held = parts(case, start.unwrap_or(0)..end.unwrap_or(case.message.text.len()))?;
    emoji(case)?;
    repeats(case)?;
    links_again(case)?;
    caps(case)?;
    words(case)?;
    let language = language(case)?;
    length(case)?;
    banned_again(case, held)?;
    *folded = readings(&case.said, 'i').words.text;
    duplicate(case, memory, folded, now.monotonic)?;
    let speech = speech(case, language)?;
    approval(case, memory, held, speech)
}
