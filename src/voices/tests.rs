use std::{fs, sync::Arc};

use tempfile::TempDir;

use super::*;
use crate::{audio::encode::wav_file, error::Error};

/// A clip of a tone, which tells clips apart.
fn wav(frequency_hz: f64) -> Vec<u8> {
    let step = std::f64::consts::TAU * frequency_hz / 8e3;
    let samples: Vec<f32> = (0..8_000).map(|n| (0.3 * (step * f64::from(n)).sin()) as f32).collect();
    wav_file(&samples, 8_000).to_vec()
}

fn manifest(id: &str) -> String {
    format!("id = \"{id}\"\nname = \"Mine\"\nlanguages = [\"en-GB\"]\nlicence = \"CC0-1.0\"\n")
}

fn root() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn add(root: &TempDir, id: &str, manifest: &str) -> PathBuf {
    let folder = root.path().join(id);
    fs::create_dir_all(&folder).expect("created");
    fs::write(folder.join("voice.toml"), manifest).expect("written");
    folder
}

fn open(directory: &Path) -> (Store, Vec<Problem>) {
    Store::open(directory, "heart", &crate::config::Config::default().voices.aliases)
}

fn load(directory: &Path) -> (Arc<Library>, Vec<Problem>) {
    let (store, problems) = open(directory);
    (store.library(), problems)
}

fn aliases(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(alias, voice)| ((*alias).to_owned(), (*voice).to_owned())).collect()
}

/// Loads `root`, which holds one bad voice beside a good one.
fn only_problem(root: &TempDir) -> Problem {
    add(root, "good", &manifest("good"));
    let (library, problems) = load(root.path());
    assert_eq!(library.iter().count(), 9, "{problems:?}");
    assert!(library.get("good").is_ok());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(!problems[0].to_string().contains('\n'), "{}", problems[0]);
    problems[0].clone()
}

#[test]
fn shipped_voices_are_in_order() {
    let (library, problems) = load(Path::new(""));
    assert_eq!(problems, []);
    let ids: Vec<&str> = library.iter().map(|voice| voice.id.as_str()).collect();
    assert_eq!(ids, ["alder", "finch", "hazel", "heart", "oak", "rowan", "willow", "wren"]);
    assert_eq!(library.default_voice().expect("there").id, "heart");
    assert_eq!(library.get("onyx").expect("an alias").id, "rowan");
    let rowan = library.get("Rowan").expect("whatever the case");
    assert_eq!(
        rowan.hints["hibari"],
        serde_json::json!({"voice": "heart", "pitch_semitones": -7, "formant_semitones": -3.5})
    );
    let versions: std::collections::BTreeSet<_> = library.iter().map(|voice| &voice.version).collect();
    assert_eq!(versions.len(), 8);
    assert!(library.iter().all(|voice| voice.reference.is_some() && !voice.only_cloned()));
    assert_eq!(library.aliases().count(), 13);
    assert!(library.aliases().any(|pair| pair == ("shimmer", "wren")));
}

#[test]
fn a_missing_directory_is_fine_and_a_file_in_its_place_is_not() {
    let root = root();
    assert_eq!(load(&root.path().join("none")).1, []);
    fs::write(root.path().join("file"), "").expect("written");
    let (library, problems) = load(&root.path().join("file"));
    assert_eq!((library.iter().count(), problems.len()), (8, 1));
}

#[test]
fn the_users_own_voices_win() {
    let root = root();
    let clip =
        add(&root, "heart", &format!("{}[reference]\ntext = \"Hi.\"\n", manifest("heart"))).join("reference.wav");
    fs::write(&clip, wav(200.0)).expect("written");
    add(&root, "alloy", &manifest("alloy"));
    fs::create_dir(root.path().join(".tmp-1")).expect("created");
    fs::write(root.path().join("notes.txt"), "").expect("written");
    let (library, problems) = load(root.path());
    assert_eq!(problems, []);
    let heart = library.get("HEART").expect("there");
    assert_eq!(heart.reference, reference(200.0, "Hi.", None));
    assert_eq!(library.get("alloy").expect("the voice, not the alias").id, "alloy");
    assert!(library.aliases().all(|(alias, _)| alias != "alloy"));
    fs::write(&clip, wav(300.0)).expect("written");
    assert_ne!(load(root.path()).0.get("heart").expect("there").version, heart.version);
}

#[test]
fn a_bad_voice_hides_no_other() {
    let bad = root();
    add(&bad, "bad", "id = ");
    let problem = only_problem(&bad);
    assert_eq!(problem.path, Some(bad.path().join("bad/voice.toml")));
    assert!(problem.fault.message.starts_with("line 1: "), "{problem}");

    let shadow = root();
    add(&shadow, "heart", "");
    only_problem(&shadow);
    assert_eq!(load(shadow.path()).0.get("heart").expect("the shipped one").name, "Heart");

    let empty = root();
    fs::create_dir(empty.path().join("bad")).expect("created");
    assert!(only_problem(&empty).fault.message.contains("is missing"));

    let named = root();
    add(&named, "My Voice", &manifest("My Voice"));
    assert!(only_problem(&named).fault.message.contains("rename it"));

    let manifest_folder = root();
    fs::create_dir_all(manifest_folder.path().join("bad/voice.toml")).expect("created");
    assert_eq!(only_problem(&manifest_folder).fault.message, "is not a file");

    let mp3 = root();
    fs::write(add(&mp3, "bad", &manifest("bad")).join("reference.wav"), "ID3").expect("written");
    assert!(only_problem(&mp3).fault.message.contains("not a WAV file"));
}

#[test]
fn large_files_are_not_read() {
    let large = root();
    add(&large, "bad", &format!("{}#{}", manifest("bad"), "x".repeat(64 << 10)));
    assert!(only_problem(&large).fault.message.contains("larger than 64 KiB"));
    let long = root();
    let clip = fs::File::create(add(&long, "bad", &manifest("bad")).join("reference.wav")).expect("created");
    clip.set_len((32 << 20) + 1).expect("sparse");
    assert!(only_problem(&long).fault.message.contains("larger than 32768 KiB"));
}

#[cfg(unix)]
#[test]
fn links_stay_inside() {
    use std::os::unix::fs::symlink;
    let outside = root();
    let elsewhere = add(&outside, "bad", &manifest("bad"));

    let folder = root();
    symlink(&elsewhere, folder.path().join("bad")).expect("linked");
    assert!(only_problem(&folder).fault.message.contains("link out of"));

    let file = root();
    fs::create_dir(file.path().join("bad")).expect("created");
    symlink(elsewhere.join("voice.toml"), file.path().join("bad/voice.toml")).expect("linked");
    assert!(only_problem(&file).fault.message.contains("link out of"));

    let dangling = root();
    symlink("/nowhere/at/all", dangling.path().join("bad")).expect("linked");
    assert!(only_problem(&dangling).fault.message.contains("cannot be read"));

    let within = root();
    let real = add(&within, "one", &manifest("one"));
    fs::rename(real.join("voice.toml"), real.join("real.toml")).expect("renamed");
    symlink("real.toml", real.join("voice.toml")).expect("linked");
    assert_eq!(load(within.path()).1, []);
}

#[test]
fn unknown_names_get_the_nearest() {
    let (library, _) = load(Path::new(""));
    let nearest = |name: &str| match library.get(name) {
        Err(Error::UnknownVoice { name, nearest }) => (name, nearest),
        other => panic!("{other:?}"),
    };
    assert_eq!(nearest("Haert"), ("Haert".into(), Some("heart".into())));
    assert_eq!(nearest("shimer").1.as_deref(), Some("shimmer"));
    for path in ["../heart", "/etc/passwd", "heart/../wren", "", ".", "heart\0", "heart/voice.toml"] {
        nearest(path);
    }
    let (shown, none) = nearest(&"é".repeat(1 << 20));
    assert_eq!((shown.chars().count(), none), (65, None));
}

#[test]
fn aliases_lead_to_voices() {
    let given =
        aliases(&[("Boss", "Rowan"), ("boss", "wren"), ("gone", "haert"), ("second", "boss"), ("wren", "heart")]);
    let (store, problems) = Store::open(Path::new(""), "BOSS", &given);
    let library = store.library();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "voices.aliases.boss: another alias differs in case only; remove one",
            "voices.aliases.gone: no voice has the id \"haert\"; did you mean \"heart\"?",
            "voices.aliases.second: no voice has the id \"boss\"; `ishowtts voices` lists them",
        ]
    );
    assert_eq!(library.get("wren").expect("the voice").id, "wren");
    assert_eq!(library.default_voice().expect("an alias").id, "rowan");
    let (store, problems) = Store::open(Path::new(""), "nobody", &BTreeMap::new());
    assert!(store.library().default_voice().is_err());
    assert_eq!(problems[0].to_string(), "voices.default: no voice is called \"nobody\"; `ishowtts voices` lists them");
}

#[test]
fn a_clip_of_the_callers_own_is_checked() {
    let root = root();
    let path = root.path().join("mine.wav");
    let fault = |path: &Path| Voice::of_clip(path, "Words.").unwrap_err();
    assert!(fault(&path).starts_with("cannot be read"), "{}", fault(&path));
    assert_eq!(fault(root.path()), "is not a file");
    fs::write(&path, "no sound").unwrap();
    assert!(fault(&path).starts_with("cannot be used: "), "{}", fault(&path));
    fs::write(&path, b"RIFF\0\0\0\0WAVE").unwrap();
    let voice = Voice::of_clip(&path, "Words.").unwrap();
    let reference = voice.reference.clone().unwrap();
    assert_eq!((&reference.clip[..], reference.text.as_str()), (&b"RIFF\0\0\0\0WAVE"[..], "Words."));
    assert_ne!(voice.version, Voice::of_clip(&path, "Other words.").unwrap().version);

    // WAV stays as it is, also where it has more than one channel or is of floats; what engines do not read is decoded.
    let sounds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sounds");
    let clip = |name: &str| Voice::of_clip(&sounds.join(name), "Words.").unwrap().reference.unwrap().clip;
    for name in ["s16.wav", "s24.wav", "f64.wav", "u8.wav", "stereo.wav"] {
        assert_eq!(clip(name), fs::read(sounds.join(name)).unwrap(), "{name}");
    }
    let samples = |wav: &[u8]| crate::audio::decode::decode(wav, &Default::default()).unwrap().samples;
    for name in ["mulaw.wav", "alaw.wav", "adpcm.wav", "s16.flac", "cbr.mp3", "vorbis.ogg", "aac.m4a"] {
        let made = clip(name);
        assert_eq!(&made[..4], b"RIFF", "{name}");
        assert_eq!(made[20..24], [1, 0, 1, 0], "{name}: integers, one channel");
        let (original, made) = (samples(&fs::read(sounds.join(name)).unwrap()), samples(&made));
        assert_eq!(original.len(), made.len(), "{name}");
        let apart = original.iter().zip(&made).map(|(a, b)| (a.clamp(-1.0, 1.0) - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 2.0 / 32_768.0, "{name}: {apart}");
    }
}

fn draft(frequency_hz: f64, text: &str) -> Draft {
    Draft { clip: Some(wav(frequency_hz).into()), text: Some(text.to_owned()), ..Draft::default() }
}

fn reference(frequency_hz: f64, text: &str, source: Option<&str>) -> Option<Reference> {
    let clip = wav(frequency_hz).into();
    Some(Reference { clip, text: text.to_owned(), source: source.map(str::to_owned) })
}

fn code<T: fmt::Debug>(result: Result<T, Error>) -> &'static str {
    result.expect_err("must be refused").code()
}

#[test]
fn a_voice_is_added_replaced_and_removed() {
    let root = root();
    let (store, _) = open(root.path());
    let before = store.library();
    let added = store.put("mine", draft(200.0, " Hi. "), false).expect("added");
    assert_eq!((added.voice.name.as_str(), added.voice.languages[0].as_str()), ("mine", "und"));
    assert_eq!(added.voice.reference, reference(200.0, "Hi.", None));
    assert_eq!(added.origin, Origin::User);
    assert!(before.get("mine").is_err(), "a snapshot stays as it is");
    assert_eq!(code(store.put("mine", draft(300.0, "No."), false)), "voice_exists");

    let named = Draft { name: Some("Mine".into()), languages: Some(vec!["vi".into()]), ..Draft::default() };
    let changed = store.put("mine", named, true).expect("changed");
    assert_eq!((changed.voice.name.as_str(), changed.voice.languages[0].as_str()), ("Mine", "vi"));
    assert_eq!(changed.voice.reference, added.voice.reference);
    assert_ne!(changed.voice.version, added.voice.version);
    let (again, problems) = load(root.path());
    assert_eq!(problems, []);
    assert_eq!(again.get("mine").expect("on disk"), changed.voice);

    store.remove("mine").expect("removed");
    assert!(store.library().get("mine").is_err());
    assert_eq!(code(store.remove("mine")), "voice_not_found");
    assert_eq!(code(store.remove("heart")), "voice_shipped");
    assert_eq!(code(store.remove("../mine")), "voice_not_found");
    assert_eq!(load(root.path()).1, []);
}

#[test]
fn where_a_clip_is_from_is_told_as_long_as_it_is_that_clip() {
    let root = root();
    let told = manifest("mine") + "[reference]\ntext = \"Hi.\"\nsource = \"A book\"\n";
    fs::write(add(&root, "mine", &told).join("reference.wav"), wav(200.0)).expect("written");
    let (store, problems) = open(root.path());
    assert_eq!(problems, []);
    let named = Draft { name: Some("Other".into()), text: Some("Ho.".into()), ..Draft::default() };
    let changed = store.put("mine", named, true).expect("changed").voice.reference.clone();
    assert_eq!(changed, reference(200.0, "Ho.", Some("A book")));
    let again = store.put("mine", draft(200.0, "Hi."), true).expect("the same clip").voice.reference.clone();
    assert_eq!(again, reference(200.0, "Hi.", Some("A book")));

    let with_text = store.set_override("mine", None, Some("Ha.")).expect("set").voice.reference.clone();
    assert_eq!(with_text, reference(200.0, "Ha.", Some("A book")));
    let with_clip = store.set_override("mine", Some(wav(300.0).into()), None).expect("set").voice.reference.clone();
    assert_eq!(with_clip, reference(300.0, "Ha.", None));
    let cleared = store.clear_override("mine").expect("cleared").voice.reference.clone();
    assert_eq!(cleared, reference(200.0, "Hi.", Some("A book")));

    let other = store.put("mine", draft(300.0, "Hi."), true).expect("another clip").voice.reference.clone();
    assert_eq!(other, reference(300.0, "Hi.", None));
    assert_eq!(load(root.path()).0.get("mine").expect("on disk").reference, other);
}

#[test]
fn what_makes_no_voice_changes_nothing() {
    let root = root();
    let (store, _) = open(&root.path().join("voices"));
    for id in ["", "..", "a/b", "A", "é", ".old-a", "a.override", &"a".repeat(65)] {
        assert_eq!(code(store.put(id, draft(200.0, "Hi."), false)), "invalid_id", "{id}");
    }
    assert_eq!(code(store.put("a", Draft { text: None, ..draft(200.0, "") }, false)), "transcript_missing");
    assert_eq!(code(store.put("a", Draft { clip: None, ..draft(200.0, "Hi.") }, false)), "audio_missing");
    assert_eq!(code(store.put("a", Draft::default(), false)), "audio_missing");
    assert_eq!(code(store.put("a", draft(200.0, " "), false)), "invalid_voice");
    assert_eq!(code(store.put("a", draft(200.0, &"a".repeat(70_000)), false)), "invalid_voice");
    assert_eq!(code(store.put("a", Draft { speed: Some(9.0), ..draft(200.0, "Hi.") }, false)), "invalid_voice");
    for (what, draft) in [
        ("text", draft(200.0, "Hi.\0")),
        ("name", Draft { name: Some("Mi\u{7}ne".to_owned()), ..draft(200.0, "Hi.") }),
        ("licence", Draft { licence: Some("CC0\n1.0".to_owned()), ..draft(200.0, "Hi.") }),
        ("description", Draft { description: Some("\u{1b}[31m".to_owned()), ..draft(200.0, "Hi.") }),
    ] {
        match store.put("a", draft, false) {
            Err(Error::Invalid { code: "invalid_value", param, .. }) => assert_eq!(param, Some(what)),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(code(store.set_override("heart", None, Some("Hi.\0"))), "invalid_value");
    let silent = Draft { clip: Some(wav(0.0).into()), ..draft(200.0, "Hi.") };
    assert_eq!(code(store.put("a", silent, false)), "invalid_audio");
    assert!(!root.path().join("voices").exists());
    assert_eq!(code(open(Path::new("")).0.put("a", draft(200.0, "Hi."), false)), "storage_read_only");
}

#[test]
fn an_override_takes_the_place_of_clip_and_text_until_it_is_cleared() {
    let root = root();
    add(&root, "bare", &manifest("bare"));
    let (store, _) = open(root.path());
    let baseline = store.put("mine", draft(200.0, "Hi."), false).expect("added");
    let clip = Bytes::from(wav(300.0));
    let with_clip = store.set_override("mine", Some(clip.clone()), None).expect("set");
    assert_eq!(with_clip.voice.reference, reference(300.0, "Hi.", None));
    assert_eq!(with_clip.baseline, baseline.voice);
    assert_eq!(code(store.set_override("mine", None, None)), "audio_missing");
    let with_both = store.set_override("mine", None, Some(" Ho. ")).expect("set");
    assert_eq!(with_both.voice.reference, reference(300.0, "Ho.", None));
    assert_ne!(with_both.voice.version, with_clip.voice.version);
    assert_eq!(load(root.path()).0.get("mine").expect("on disk"), with_both.voice);
    let text_cleared = store.set_override("mine", None, Some("")).expect("set");
    assert_eq!(text_cleared.voice.version, with_clip.voice.version);
    let cleared = store.clear_override("mine").expect("cleared");
    assert_eq!(cleared, baseline);
    for nothing in [None, Some(""), Some(" \n")] {
        assert_eq!(code(store.set_override("mine", None, nothing)), "audio_missing");
    }
    assert!(!root.path().join("mine.override").exists());
    store.set_override("mine", None, Some("Ho.")).expect("set");
    assert_eq!(store.set_override("mine", None, Some("")).expect("its text was all that it was"), baseline);
    assert_eq!(store.clear_override("mine").expect("nothing to clear"), baseline);

    let shipped = store.library().get("heart").expect("shipped");
    assert_eq!(code(store.set_override("bare", Some(clip.clone()), None)), "transcript_missing");
    let over = store.set_override("heart", Some(clip), Some("Ho.")).expect("set").voice;
    assert_eq!((&over.hints, &over.name), (&shipped.hints, &shipped.name));
    store.remove("heart").expect("its override");
    assert_eq!(store.library().get("heart").expect("shipped"), shipped);
    store.set_override("mine", None, Some("Ho.")).expect("set");
    store.remove("mine").expect("with its override");
    assert_eq!(load(root.path()).1, []);
}

#[test]
fn a_draft_is_the_voice_that_would_be_written() {
    let root = root();
    let (store, _) = open(&root.path().join("voices"));
    let drafted = store.draft("mine", draft(200.0, "One.\nTwo."), false).expect("a voice");
    assert!(!root.path().join("voices").exists());
    assert_eq!(drafted.reference, reference(200.0, "One. Two.", None));
    assert_eq!(*store.put("mine", draft(200.0, "One.\nTwo."), false).expect("added").voice, drafted);
    assert_eq!(code(store.draft("mine", draft(200.0, "Hi."), false)), "voice_exists");
    assert_eq!(code(store.draft("No id", draft(200.0, "Hi."), false)), "invalid_id");
}

#[test]
fn an_override_of_nothing_is_told_with_its_file() {
    let root = root();
    let folder = root.path().join("nobody.override");
    fs::create_dir(&folder).expect("created");
    fs::write(folder.join("override.toml"), "text = \"Ho.\"\n").expect("written");
    let problem = only_problem(&root);
    assert_eq!(problem.path, Some(folder.join("override.toml")));
    assert!(problem.to_string().ends_with(" (override_of_nothing)"), "{problem}");
}

#[test]
fn what_a_crash_left_is_read_as_it_was_before() {
    let root = root();
    add(&root, ".old-one", &manifest("one"));
    add(&root, ".new-two", &manifest("two"));
    add(&root, "three", &manifest("three"));
    add(&root, ".old-three", "half");
    let (library, problems) = load(root.path());
    assert_eq!(problems, []);
    assert!(library.get("one").is_ok() && library.get("three").is_ok() && library.get("two").is_err());
}

#[test]
fn changes_on_disk_are_read_once_they_are_settled() {
    let root = root();
    let (store, _) = open(root.path());
    let folder = add(&root, "mine", &manifest("mine"));
    store.refresh();
    assert!(store.library().get("mine").is_err(), "a copy may be under way");
    store.refresh();
    let first = store.library().get("mine").expect("settled");

    fs::write(folder.join("voice.toml"), "id = ").expect("written");
    store.refresh();
    store.refresh();
    assert!(Arc::ptr_eq(&store.library().get("mine").expect("the version before"), &first));
    fs::write(folder.join("voice.toml"), manifest("mine").replace("Mine", "Yours")).expect("written");
    store.refresh();
    store.refresh();
    assert_eq!(store.library().get("mine").expect("mended").name, "Yours");
    fs::remove_dir_all(folder).expect("removed");
    store.refresh();
    assert!(store.library().get("mine").is_err());
}
