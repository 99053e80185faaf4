//! What the rules answer: whether a message is spoken, and which rule said so. Plain data; no thread of its own.

use serde::{Deserialize, Serialize};

/// How urgent speech is; the first is the most urgent. Paid goes before all, also for a moderator who pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Paid,
    /// Moderators and the broadcaster.
    Moderator,
    /// Subscribers and VIPs.
    Subscriber,
    Everyone,
}

/// What is to be said, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speech {
    /// What is said: after all rules, with the template around it.
    pub text: String,
    /// What the overlay shows: emotes, emoji and capitals as they were written; words, links and length as in `text`.
    pub display_text: String,
    /// The author's name as it may be shown.
    pub name: String,
    /// BCP 47; none where it cannot be told.
    pub language: Option<String>,
    /// Where a language is routed to; none: the server's own choice.
    pub engine: Option<String>,
    pub voice: Option<String>,
    pub priority: Priority,
}

/// What somebody who may do so asked for in the chat. Whether the named voice or user exists is not known here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", content = "argument", rename_all = "snake_case")]
pub enum Command {
    /// Stop what is playing, go on with the next.
    Skip,
    Pause,
    Resume,
    /// Drop all that waits.
    Clear,
    /// The sender wants to be heard in this voice from now on.
    Voice(String),
    /// The sender wants the voice back that they would have without ever having chosen one.
    ResetVoice,
    /// Of all speech, 0 to 1.
    Volume(f32),
    /// By name as it is typed, without "@".
    Mute(String),
    Unmute(String),
    /// The oldest message that waits for approval.
    Approve,
    Reject,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    Speak(Speech),
    /// To be spoken once a person approves it.
    Hold(Speech),
    Act(Command),
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The rule had nothing against it.
    Passed,
    /// The rule changed what is said or shown.
    Changed,
    /// The rule decided: it is not spoken.
    Refused,
    /// The rule wants a person's approval.
    Held,
    /// The rule took it for a command.
    Acted,
}

/// One rule that looked at the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub rule: &'static str,
    pub outcome: Outcome,
    /// For people.
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    #[serde(flatten)]
    pub decision: Decision,
    /// The rule that decided; "accepted" where none had anything against it.
    pub rule: &'static str,
    /// For people: why.
    pub reason: String,
    /// Every rule that looked at the message, in order; the last one decided.
    pub trace: Vec<Step>,
}

impl Verdict {
    /// By what is asked before the rules are.
    #[must_use]
    pub fn refused(rule: &'static str, reason: &str) -> Self {
        let step = Step { rule, outcome: Outcome::Refused, reason: reason.to_owned() };
        Self { decision: Decision::Refuse, rule, reason: reason.to_owned(), trace: vec![step] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paid_is_the_most_urgent() {
        let mut all = [Priority::Everyone, Priority::Moderator, Priority::Paid, Priority::Subscriber];
        all.sort();
        assert_eq!(all, [Priority::Paid, Priority::Moderator, Priority::Subscriber, Priority::Everyone]);
        assert_eq!(serde_json::to_string(&all).expect("json"), r#"["paid","moderator","subscriber","everyone"]"#);
    }

    #[test]
    fn a_verdict_is_one_flat_object() {
        let verdict = Verdict {
            decision: Decision::Act(Command::Voice("wren".into())),
            rule: "command",
            reason: "!voice".into(),
            trace: Vec::new(),
        };
        let json = serde_json::to_value(&verdict).expect("json");
        let expected = serde_json::json!({
            "decision": "act", "command": "voice", "argument": "wren", "rule": "command", "reason": "!voice", "trace": [],
        });
        assert_eq!(json, expected);
    }
}
