//! The in-process host against the Python `fake` engine. The other tests of the program need no Python; these need
//! NumPy, from the interpreter's own packages or from `.venv` (`make test` makes it).

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Once,
        mpsc::{self, Receiver, Sender},
    },
    time::Duration,
};

use crate::{
    engine::{Command, ConditioningId, Event, EventSink, FaultKind, Host, Segment, Ticket},
    voices::Voice,
};
use pyo3::prelude::*;

/// Only reached when something is broken.
const LIMIT: Duration = Duration::from_secs(60);

struct Channel(Sender<Event>);

impl EventSink for Channel {
    fn event(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

/// An installed package that is on no disk.
const INSTALLED: &std::ffi::CStr = c"
import importlib.metadata, sys

FILES = {
    'METADATA': 'Metadata-Version: 2.1\\nName: fake-for-tests\\nVersion: 1.0\\n',
    'entry_points.txt': '[ishowtts.engines]\\nfake = ishowtts.engines.fake:load\\n',
}

class Installed(importlib.metadata.Distribution):
    def read_text(self, filename):
        return FILES.get(filename)

    def locate_file(self, path):
        raise FileNotFoundError(path)

class Finder(importlib.metadata.DistributionFinder):
    def find_spec(self, fullname, path=None, target=None):
        return None

    def find_distributions(self, context=None):
        return iter([Installed()])

sys.meta_path.append(Finder())
";

/// Makes the package, NumPy and an entry point for `fake` known to an embedded interpreter, as installing would.
fn python() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        Python::initialize();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Python::attach(|py| -> PyResult<()> {
            let sys = py.import("sys")?;
            let version: (u8, u8) =
                sys.getattr("version_info")?.get_item(pyo3::types::PySlice::new(py, 0, 2, 1))?.extract()?;
            let packages = root.join(format!(".venv/lib/python{}.{}/site-packages", version.0, version.1));
            let path = sys.getattr("path")?;
            // As strings: Python passes over path objects there.
            path.call_method1("insert", (0, root.join("python").to_string_lossy()))?;
            path.call_method1("append", (packages.to_string_lossy(),))?;
            py.import("numpy")?;
            PyModule::from_code(py, INSTALLED, c"installed.py", c"installed").map(drop)
        })
        .expect("NumPy; `make test` installs it in .venv");
    });
}

struct Running {
    host: Box<dyn Host>,
    events: Receiver<Event>,
}

impl Running {
    fn start(options: &str) -> Self {
        python();
        let (sink, events) = mpsc::channel();
        let host = super::start("fake".to_owned(), options.to_owned(), 1)(Arc::new(Channel(sink)));
        Self { host, events }
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(LIMIT).expect("an event")
    }

    /// Loaded, with one voice prepared.
    fn ready(options: &str) -> Self {
        let running = Self::start(options);
        assert!(matches!(running.next(), Event::Loaded(_)));
        running.prepare(1);
        assert!(matches!(running.next(), Event::Prepared { nbytes: 5, .. }));
        running
    }

    fn prepare(&self, conditioning: u64) {
        let voice = Voice {
            id: "heart".to_owned(),
            version: "1".to_owned(),
            name: String::new(),
            description: String::new(),
            languages: vec!["en".to_owned()],
            licence: String::new(),
            speed: 1.0,
            hints: BTreeMap::new(),
            reference: None,
            shape: Default::default(),
            transient: false,
        };
        self.host.send(Command::Prepare { conditioning: ConditioningId(conditioning), voice: Arc::new(voice) });
    }

    fn send_admit(&self, slot: usize, ticket: u64, text: &str) {
        let segment =
            Segment { text: text.to_owned(), language: None, seed: 7, speed: 1.0, params: Arc::default(), timed: true };
        let segment = Arc::new(segment);
        let conditioning = ConditioningId(1);
        let budget_ms = Some(250.0);
        self.host.send(Command::Admit { slot, ticket: Ticket(ticket), segment, conditioning, budget_ms });
    }

    fn admit(&self, slot: usize, ticket: u64, text: &str) {
        self.send_admit(slot, ticket, text);
        assert!(matches!(self.next(), Event::Admitted { ticket: of, .. } if of == Ticket(ticket)));
    }

    /// What one step brought, without its end.
    fn advance(&self, slots: &[usize]) -> Vec<Event> {
        self.host.send(Command::Advance(slots.to_vec()));
        let mut events = Vec::new();
        loop {
            match self.next() {
                Event::StepDone { .. } => return events,
                event => events.push(event),
            }
        }
    }

    fn close(self) {
        self.host.send(Command::Close);
        self.host.join();
        assert_eq!(self.events.recv_timeout(LIMIT).ok(), None, "nothing comes after the end");
    }
}

fn samples(event: &Event) -> (u64, usize, bool) {
    match event {
        Event::Chunk { ticket, pcm, last, .. } => {
            assert!(pcm.iter().any(|sample| sample.abs() > 0.2), "sound");
            (ticket.0, pcm.len(), *last)
        }
        other => panic!("sound expected, not {other:?}"),
    }
}

fn failed(event: &Event) -> (u64, FaultKind, &str) {
    match event {
        Event::Failed { ticket, fault } => (ticket.0, fault.kind, &fault.message),
        other => panic!("a failure expected, not {other:?}"),
    }
}

#[test]
fn loads_and_tells_about_itself() {
    let running =
        Running::start(r#"{"slots": 4, "shared": 2, "steps": 3, "scripts": ["Latn"], "sample_rate_hz": 8000}"#);
    let Event::Loaded(info) = running.next() else { panic!("not loaded") };
    assert_eq!((info.max_slots, info.max_shared, info.cost.steps, info.sample_rate_hz), (4, 2, 3, 8000));
    assert_eq!((info.name.as_str(), info.scripts.as_slice()), ("fake", ["Latn".to_owned()].as_slice()));
    assert_eq!(info.params["type"], "object");
    running.close();
}

#[test]
fn options_and_names_that_do_not_exist_break_it_with_what_would() {
    let running = Running::start(r#"{"stpes": 3}"#);
    let Event::Broken(fault) = running.next() else { panic!("not broken") };
    assert_eq!(fault.kind, FaultKind::Invalid);
    assert!(fault.message.contains("did you mean 'steps'"), "{fault}");
    running.close();

    let (sink, events) = mpsc::channel();
    let host = super::start("fkae".to_owned(), "{}".to_owned(), 1)(Arc::new(Channel(sink)));
    let Ok(Event::Broken(fault)) = events.recv_timeout(LIMIT) else { panic!("not broken") };
    assert!(fault.message.contains("did you mean 'fake'"), "{fault}");
    host.send(Command::Close);
    host.join();
}

#[test]
fn a_failed_load_shows_no_details_and_still_answers() {
    let running = Running::start(r#"{"fail_load": true}"#);
    let Event::Broken(fault) = running.next() else { panic!("not broken") };
    assert!(fault.message.contains("RuntimeError") && !fault.message.contains("told"), "{fault}");
    running.prepare(1);
    assert!(matches!(running.next(), Event::PrepareFailed { .. }));
    running.send_admit(0, 1, "Hello.");
    assert!(matches!(running.next(), Event::Failed { .. }));
    assert!(running.advance(&[0]).is_empty());
    running.close();
}

#[test]
fn slots_advance_only_when_named_and_deliver_all_their_sound() {
    let running = Running::ready(r#"{"slots": 2, "steps": 2, "audio_ms_per_char": 10}"#);
    running.admit(0, 10, "four");
    running.admit(1, 11, "eighteen");
    assert_eq!(running.advance(&[1]).iter().map(samples).collect::<Vec<_>>(), [(11, 960, false)]);
    let both = running.advance(&[0, 1]);
    assert_eq!(both.iter().map(samples).collect::<Vec<_>>(), [(10, 480, false), (11, 960, true)]);
    assert_eq!(running.advance(&[0, 1]).iter().map(samples).collect::<Vec<_>>(), [(10, 480, true)]);
    assert!(running.advance(&[0, 1]).is_empty(), "both are free");
    running.close();
}

#[test]
fn a_cancelled_slot_is_free_and_its_successor_gets_its_own_sound() {
    let running = Running::ready(r#"{"steps": 2, "audio_ms_per_char": 10}"#);
    running.admit(0, 1, "first");
    assert_eq!(running.advance(&[0]).len(), 1);
    running.host.send(Command::Cancel { slot: 0, ticket: Ticket(1) });
    running.admit(0, 2, "second one");
    running.host.send(Command::Cancel { slot: 0, ticket: Ticket(1) });
    assert_eq!(running.advance(&[0]).iter().map(samples).collect::<Vec<_>>(), [(2, 1200, false)]);
    running.close();
}

#[test]
fn refusals_are_answers_and_leave_the_slot_free() {
    let running = Running::ready(r#"{"faults": true}"#);
    running.send_admit(0, 1, "[refuse]");
    assert!(matches!(running.next(), Event::Refused { ticket: Ticket(1), reason } if reason.contains("refuse")));
    running.send_admit(0, 2, "[invalid]");
    assert_eq!(failed(&running.next()).1, FaultKind::Invalid);
    running.admit(0, 3, "Hello.");
    assert_eq!(running.advance(&[0]).len(), 1);
    running.close();
}

#[test]
fn sound_that_is_none_ends_its_segment_alone() {
    for (marker, kind, told) in [
        ("[nan]", FaultKind::NoSpeech, "NaN"),
        ("[inf]", FaultKind::NoSpeech, "infinite"),
        ("[dtype]", FaultKind::Failed, "float64"),
        ("[shape]", FaultKind::Failed, "[1, "),
        ("[error]", FaultKind::Failed, "ValueError"),
    ] {
        let running = Running::ready(r#"{"slots": 2, "steps": 2, "faults": true}"#);
        running.admit(0, 1, marker);
        running.admit(1, 2, "Hello.");
        let events = running.advance(&[0, 1]);
        let (ticket, fault, message) = failed(&events[0]);
        assert_eq!((ticket, fault), (1, kind), "{marker}");
        assert!(message.contains(told), "{marker}: {message}");
        assert_eq!(samples(&events[1]).0, 2);
        // The engine would raise if it held the slot still.
        running.admit(0, 3, "Again.");
        assert_eq!(running.advance(&[0, 1]).len(), 2);
        running.close();
    }
}

#[test]
fn a_step_that_raises_ends_what_was_in_it_and_nothing_else() {
    for marker in ["[raise]", "[exit]"] {
        let running = Running::ready(r#"{"slots": 3, "steps": 2, "faults": true}"#);
        running.admit(0, 1, marker);
        running.admit(1, 2, "With it.");
        running.admit(2, 3, "Beside it.");
        let events = running.advance(&[0, 1]);
        assert_eq!(events.iter().map(|event| failed(event).0).collect::<Vec<_>>(), [1, 2], "{marker}");
        assert!(events.iter().all(|event| !failed(event).2.contains("/a/path")), "{marker}");
        assert_eq!(samples(&running.advance(&[2])[0]).0, 3);
        running.admit(0, 4, "Again.");
        running.admit(1, 5, "Again.");
        assert_eq!(running.advance(&[0, 1, 2]).len(), 3);
        running.close();
    }
}

#[test]
fn words_come_with_their_times() {
    let running = Running::ready(r#"{"audio_ms_per_char": 10}"#);
    running.admit(0, 1, "Dear me.");
    let events = running.advance(&[0]);
    let [Event::Chunk { transcript: Some(transcript), .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(transcript.spoken, "Dear me.");
    let words: Vec<_> = transcript.words.iter().map(|word| (word.text.as_str(), word.span.clone())).collect();
    assert_eq!(words, [("Dear", 0..4), ("me.", 5..8)]);
    assert_eq!((transcript.words[1].start_ms, transcript.words[1].end_ms), (50.0, 80.0));
    running.close();
}

#[test]
fn a_word_that_is_none_ends_its_segment() {
    let running = Running::ready(r#"{"faults": true}"#);
    running.admit(0, 1, "[backwards]");
    assert!(failed(&running.advance(&[0])[0]).2.contains("ends before it starts"));
    running.close();
}

#[test]
fn sound_goes_out_while_the_rest_of_its_step_is_made() {
    let running = Running::ready(r#"{"slots": 2, "faults": true}"#);
    running.admit(0, 1, "Hello.");
    running.admit(1, 2, "[wait]");
    running.host.send(Command::Advance(vec![0, 1]));
    assert_eq!(samples(&running.next()).0, 1);
    Python::attach(|py| py.import("ishowtts.engines.fake")?.getattr("LET_GO")?.call_method0("set").map(drop))
        .expect("an event");
    assert_eq!(samples(&running.next()).0, 2);
    assert!(matches!(running.next(), Event::StepDone { .. }));
    running.close();
}

#[test]
fn a_step_that_raises_between_two_slots_keeps_what_it_gave() {
    let running = Running::ready(r#"{"slots": 3, "faults": true}"#);
    running.admit(0, 1, "Hello.");
    running.admit(1, 2, "[tear]");
    running.admit(2, 3, "Beside it.");
    let events = running.advance(&[0, 1, 2]);
    assert_eq!((samples(&events[0]).0, failed(&events[1]).0, failed(&events[2]).0), (1, 2, 3));
    running.admit(1, 4, "Again.");
    assert_eq!(samples(&running.advance(&[1])[0]).0, 4);
    running.close();
}

#[test]
fn a_broken_engine_fails_all_it_held_and_says_so() {
    let running = Running::ready(r#"{"slots": 2, "faults": true}"#);
    running.admit(0, 1, "[break]");
    running.admit(1, 2, "Beside it.");
    assert_eq!(failed(&running.advance(&[0])[0]).0, 1);
    assert_eq!(failed(&running.next()).0, 2);
    assert!(matches!(running.next(), Event::Broken(fault) if fault.message.contains("told to break")));
    running.send_admit(0, 3, "Hello.");
    assert_eq!(failed(&running.next()).0, 3);
    running.close();
}

#[test]
fn what_is_forgotten_is_gone_also_before_it_is_prepared() {
    let running = Running::ready(r#"{"prepare_ms": 20}"#);
    running.host.send(Command::Forget(ConditioningId(1)));
    running.send_admit(0, 1, "Hello.");
    assert!(failed(&running.next()).2.contains("not prepared"));
    running.prepare(1);
    running.host.send(Command::Forget(ConditioningId(1)));
    assert!(matches!(running.next(), Event::Prepared { .. }));
    running.send_admit(0, 2, "Hello.");
    assert!(failed(&running.next()).2.contains("not prepared"));
    running.close();
}

#[test]
fn closing_finishes_what_was_sent_before() {
    let running = Running::ready("{}");
    running.send_admit(0, 1, "Hello.");
    running.host.send(Command::Advance(vec![0]));
    running.host.send(Command::Close);
    running.host.send(Command::Advance(vec![0]));
    running.host.join();
    let events: Vec<_> = running.events.try_iter().collect();
    assert!(matches!(events[..], [Event::Admitted { .. }, Event::Chunk { last: true, .. }, Event::StepDone { .. }]));
}

#[test]
fn what_the_engine_chose_is_told() {
    let running = Running::ready(r#"{"faults": true, "steps": 2}"#);
    running.send_admit(0, 1, "Please [choose] now.");
    let Event::Admitted { steps_left, chosen, .. } = running.next() else { panic!("not admitted") };
    assert_eq!((steps_left, chosen.hurried), (2, true), "a quarter of a second is little");
    assert_eq!(serde_json::json!(chosen.params), serde_json::json!({"steps": 2, "timed": true}));
    running.close();
}

#[test]
fn a_malformed_description_is_told_by_field() {
    python();
    let told = |change: &str| {
        Python::attach(|py| {
            let code = format!(
                "from ishowtts.engine import Cost, EngineInfo\nimport dataclasses\n\
                 info = EngineInfo('x', '1', 24000, ('en',), (), False, 'MIT', 'cpu', 200, Cost(1, 1.0, 1.0, 60.0))\n\
                 info = dataclasses.replace(info, {change})"
            );
            let module = PyModule::from_code(py, &std::ffi::CString::new(code)?, c"info.py", c"info")?;
            Ok::<_, PyErr>(super::convert::engine_info(&module.getattr("info")?))
        })
        .expect("valid Python")
    };
    assert!(told("device='cuda'").is_ok());
    assert!(told("max_slots=1024, max_shared=10**18, max_segment_chars=10**6").is_ok());
    for (change, field) in [
        ("sample_rate_hz='24k'", "sample_rate_hz"),
        ("sample_rate_hz=0", "sample_rate_hz"),
        // What no format but plain samples could be made of.
        ("sample_rate_hz=7999", "from 8000 to 192000"),
        ("languages='en'", "languages"),
        ("languages=None", "languages"),
        ("max_slots=0", "max_slots"),
        ("max_slots=-1", "max_slots is out of range"),
        ("max_slots=1.0", "max_slots is of the wrong type"),
        // What the books of so many slots would take would end the program.
        ("max_slots=1025", "max_slots is 1025; 1024 at most"),
        ("max_slots=10**9", "max_slots is 1000000000; 1024 at most"),
        ("max_shared=2**64", "max_shared is out of range"),
        ("max_segment_chars=2**63", "max_segment_chars is 9223372036854775808; 1000000 at most"),
        ("revision=''", "revision"),
        ("params={1: object()}", "params"),
        ("cost=None", "steps"),
        ("cost=Cost(1, float('nan'), 1.0, 60.0)", "fixed_ms"),
        ("cost=Cost(1, 1.0, 10**400, 60.0)", "ms_per_char is out of range"),
        ("cost=Cost(2**32, 1.0, 1.0, 60.0)", "steps is out of range"),
    ] {
        let message = told(change).expect_err(change);
        assert!(message.contains(field), "{change}: {message}");
    }
}
