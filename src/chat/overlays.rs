//! Who listens, and which one of them speaks. Pure but for the channels into which it puts what listeners are told; the
//! caller hands in the time.
//!
//! Listeners of three kinds: overlays have a name, acknowledge, and one of them speaks; plain listeners have none and
//! acknowledge nothing: what they are handed counts as said, and one of them speaks only where there is no overlay;
//! watchers never speak. All are told what is to be played and what is not any more; plain listeners nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::mpsc;

/// What listeners are told that wait for their connection. Who falls behind that far is cut off, and comes back.
pub const TOLD: usize = 256;

pub type Connection = u64;

/// One thing to tell, written once for all.
pub type Told = Arc<str>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Overlay(Arc<str>),
    Plain,
    Watcher,
}

#[derive(Debug)]
struct Listener {
    connection: Connection,
    kind: Kind,
    out: mpsc::Sender<Told>,
    since: Instant,
    /// Of an overlay that keeps to itself what became of an item.
    mute: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Nobody,
    /// Gone since then, if it is; it may come back.
    Overlay {
        name: Arc<str>,
        connection: Connection,
        gone: Option<Instant>,
    },
    Plain(Connection),
}

#[derive(Debug)]
pub struct Overlays {
    listeners: Vec<Listener>,
    next: Connection,
    role: Role,
    grace: Duration,
}

/// For `GET /v1/chat/state`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OverlayState {
    /// Null: a plain listener.
    #[schema(required)]
    pub overlay: Option<String>,
    pub speaking: bool,
    /// False: it only watches.
    pub may_speak: bool,
    pub connected_s: f64,
    /// False: it did not tell in time that it played an item, and has told nothing since.
    pub answers: bool,
}

/// Who speaks has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// None: nobody.
    pub to: Option<Connection>,
}

impl Overlays {
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { listeners: Vec::new(), next: 1, role: Role::Nobody, grace }
    }

    /// A new connection. The role is not given yet: `elect` does that.
    pub fn join(&mut self, kind: Kind, now: Instant) -> (Connection, mpsc::Receiver<Told>) {
        let (out, told) = mpsc::channel(TOLD);
        let connection = self.next;
        self.next += 1;
        self.listeners.push(Listener { connection, kind, out, since: now, mute: false });
        (connection, told)
    }

    pub fn leave(&mut self, connection: Connection, now: Instant) {
        self.listeners.retain(|listener| listener.connection != connection);
        match &mut self.role {
            Role::Overlay { connection: speaks, gone, .. } if *speaks == connection => *gone = Some(now),
            Role::Plain(speaks) if *speaks == connection => self.role = Role::Nobody,
            _ => {}
        }
    }

    /// The overlay that speaks is not relied on any more: another one is elected, if one is there that is. Its name.
    pub fn distrust(&mut self) -> Option<Arc<str>> {
        let Role::Overlay { name, connection, gone: None } = &self.role else { return None };
        let listener = self.listeners.iter_mut().find(|listener| listener.connection == *connection)?;
        listener.mute = true;
        Some(Arc::clone(name))
    }

    /// Whether an overlay is there that is relied on, other than the one that speaks.
    #[must_use]
    pub fn has_another(&self) -> bool {
        let Role::Overlay { name, .. } = &self.role else { return false };
        self.named().any(|(other, _, mute)| !mute && other != *name)
    }

    /// An overlay told something: it is relied on again.
    pub fn heard(&mut self, overlay: &str) {
        for listener in &mut self.listeners {
            if matches!(&listener.kind, Kind::Overlay(name) if **name == *overlay) {
                listener.mute = false;
            }
        }
    }

    /// The overlays, with their connections, and whether they are not relied on.
    fn named(&self) -> impl DoubleEndedIterator<Item = (Arc<str>, Connection, bool)> + '_ {
        self.listeners.iter().filter_map(|listener| match &listener.kind {
            Kind::Overlay(name) => Some((Arc::clone(name), listener.connection, listener.mute)),
            _ => None,
        })
    }

    /// Decides who speaks. Some: somebody else than before.
    pub fn elect(&mut self, now: Instant) -> Option<Changed> {
        let role = match &self.role {
            Role::Overlay { name, connection, gone } => {
                // The newest connection of the same name: a reload is often seen before the end of what it replaces.
                match (self.named().rfind(|(other, ..)| other == name), gone) {
                    (Some((_, _, true)), _) if self.has_another() => Role::Nobody,
                    (Some((name, newest, _)), _) => Role::Overlay { name, connection: newest, gone: None },
                    (None, Some(since)) if now.duration_since(*since) < self.grace => self.role.clone(),
                    (None, None) => Role::Overlay { name: Arc::clone(name), connection: *connection, gone: Some(now) },
                    (None, Some(_)) => Role::Nobody,
                }
            }
            other => other.clone(),
        };
        let role = match role {
            Role::Overlay { .. } => role,
            Role::Plain(_) | Role::Nobody => match self.named().min_by_key(|(.., mute)| *mute) {
                Some((name, connection, _)) => Role::Overlay { name, connection, gone: None },
                None => match role {
                    Role::Plain(connection) => Role::Plain(connection),
                    _ => self
                        .listeners
                        .iter()
                        .find(|listener| listener.kind == Kind::Plain)
                        .map_or(Role::Nobody, |plain| Role::Plain(plain.connection)),
                },
            },
        };
        let before = self.speaking();
        self.role = role;
        let to = self.speaking();
        (to != before).then_some(Changed { to })
    }

    /// Who speaks, if it is connected.
    #[must_use]
    pub fn speaking(&self) -> Option<Connection> {
        match &self.role {
            Role::Overlay { connection, gone: None, .. } | Role::Plain(connection) => Some(*connection),
            Role::Overlay { .. } | Role::Nobody => None,
        }
    }

    /// Whether this overlay is the one that speaks, connected or not.
    #[must_use]
    pub fn speaks(&self, overlay: &str) -> bool {
        matches!(&self.role, Role::Overlay { name, .. } if **name == *overlay)
    }

    /// Whether what is handed over counts as said.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.role, Role::Plain(_))
    }

    /// What the speaking one can still be told before it is cut off.
    #[must_use]
    pub fn room(&self) -> usize {
        let speaking = self.speaking();
        self.listeners
            .iter()
            .find(|listener| Some(listener.connection) == speaking)
            .map_or(0, |listener| listener.out.capacity())
    }

    /// What is to be played, or is not any more.
    pub fn tell(&mut self, connection: Connection, told: &Told) {
        self.send(|listener| listener.connection == connection, told);
    }

    /// As `tell`.
    pub fn tell_all(&mut self, told: &Told) {
        self.send(|_| true, told);
    }

    /// How things are.
    pub fn inform(&mut self, connection: Connection, told: &Told) {
        self.send(|listener| listener.connection == connection && listener.kind != Kind::Plain, told);
    }

    /// As `inform`.
    pub fn inform_all(&mut self, told: &Told) {
        self.send(|listener| listener.kind != Kind::Plain, told);
    }

    fn send(&mut self, to: impl Fn(&Listener) -> bool, told: &Told) {
        // Dropping its sender ends the connection, whose end then calls `leave`.
        self.listeners.retain(|listener| !to(listener) || listener.out.try_send(Arc::clone(told)).is_ok());
    }

    #[must_use]
    pub fn states(&self, now: Instant) -> Vec<OverlayState> {
        let speaking = self.speaking();
        self.listeners
            .iter()
            .map(|listener| OverlayState {
                overlay: match &listener.kind {
                    Kind::Overlay(name) => Some(name.to_string()),
                    Kind::Plain | Kind::Watcher => None,
                },
                speaking: Some(listener.connection) == speaking,
                may_speak: listener.kind != Kind::Watcher,
                connected_s: now.duration_since(listener.since).as_secs_f64(),
                answers: !listener.mute,
            })
            .collect()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.listeners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn named(name: &str) -> Kind {
        Kind::Overlay(name.into())
    }

    #[test]
    fn one_speaks_and_another_takes_over_once_it_is_gone_for_good() {
        let now = Instant::now();
        let mut overlays = Overlays::new(GRACE);
        let (first, _a) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(first) }));
        let (second, _b) = overlays.join(named("b"), now);
        assert_eq!(overlays.elect(now), None);
        overlays.leave(first, now);
        assert_eq!(overlays.elect(now), None, "it may come back");
        assert_eq!(overlays.speaking(), None);
        assert_eq!(overlays.elect(now + GRACE), Some(Changed { to: Some(second) }));
        let (third, _c) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now + GRACE), None, "{third} waits");
    }

    #[test]
    fn a_reload_keeps_the_role_whichever_end_comes_first() {
        let now = Instant::now();
        let mut overlays = Overlays::new(GRACE);
        let (first, _a) = overlays.join(named("a"), now);
        let (_, _b) = overlays.join(named("b"), now);
        overlays.elect(now);
        let (again, _c) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(again) }));
        overlays.leave(first, now);
        assert_eq!(overlays.elect(now), None);
        overlays.leave(again, now);
        overlays.elect(now);
        let (third, _d) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(third) }));
    }

    #[test]
    fn plain_listeners_speak_only_where_there_is_no_overlay_and_watchers_never() {
        let now = Instant::now();
        let mut overlays = Overlays::new(GRACE);
        let (_, _w) = overlays.join(Kind::Watcher, now);
        assert_eq!(overlays.elect(now), None);
        let (plain, _p) = overlays.join(Kind::Plain, now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(plain) }));
        assert!(overlays.is_plain());
        let (overlay, _o) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(overlay) }));
        assert!(!overlays.is_plain());
    }

    #[test]
    fn who_does_not_answer_gives_way_to_one_that_may() {
        let now = Instant::now();
        let mut overlays = Overlays::new(GRACE);
        let (first, _a) = overlays.join(named("a"), now);
        overlays.elect(now);
        assert!(!overlays.has_another());
        assert_eq!(overlays.distrust().as_deref(), Some("a"));
        assert_eq!(overlays.elect(now), None, "there is no other");
        let (second, _b) = overlays.join(named("b"), now);
        assert!(overlays.has_another());
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(second) }));
        overlays.leave(second, now);
        assert_eq!(overlays.elect(now + GRACE), Some(Changed { to: Some(first) }), "better than nobody");
        overlays.heard("a");
        let (_, _c) = overlays.join(named("b"), now);
        assert_eq!(overlays.elect(now), None, "it answers again");
        overlays.distrust();
        let (again, _d) = overlays.join(named("a"), now);
        assert_eq!(overlays.elect(now), Some(Changed { to: Some(again) }), "another life");
    }

    #[test]
    fn who_does_not_read_is_cut_off() {
        let now = Instant::now();
        let mut overlays = Overlays::new(GRACE);
        let (_, mut told) = overlays.join(named("a"), now);
        overlays.elect(now);
        for _ in 0..=TOLD {
            overlays.tell_all(&"x".into());
        }
        assert!(overlays.len() == 0);
        let mut read = 0;
        while told.try_recv().is_ok() {
            read += 1;
        }
        assert_eq!(read, TOLD);
        assert!(told.is_closed() || told.try_recv().is_err());
        overlays.elect(now);
        assert_eq!(overlays.elect(now + GRACE), None, "gone without having left: nobody speaks");
        assert_eq!(overlays.speaking(), None);
    }
}
