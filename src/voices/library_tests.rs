use std::fs;

use tempfile::TempDir;

use super::*;

const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt ";

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

fn load(directory: &Path) -> (Library, Vec<Problem>) {
    Library::load(directory, "heart", &crate::config::Config::default().voices.aliases)
}

fn aliases(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(alias, voice)| ((*alias).to_owned(), (*voice).to_owned())).collect()
}

/// Loads `root`, which holds one bad voice beside a good one.
fn only_problem(root: &TempDir) -> Problem {
    add(root, "good", &manifest("good"));
    let (library, problems) = load(root.path());
    assert_eq!(library.iter().count(), 5, "{problems:?}");
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
    assert_eq!(ids, ["hazel", "heart", "rowan", "wren"]);
    assert_eq!(library.default_voice().expect("there").id, "heart");
    assert_eq!(library.get("onyx").expect("an alias").id, "rowan");
    let rowan = library.get("Rowan").expect("whatever the case");
    assert_eq!(rowan.hints["hibari"], serde_json::json!({"voice": "heart", "pitch_semitones": -7}));
    let versions: std::collections::BTreeSet<_> = library.iter().map(|voice| &voice.version).collect();
    assert_eq!(versions.len(), 4);
    assert_eq!(library.aliases().count(), 13);
    assert!(library.aliases().any(|pair| pair == ("shimmer", "wren")));
}

#[test]
fn a_missing_directory_is_fine_and_a_file_in_its_place_is_not() {
    let root = root();
    assert_eq!(load(&root.path().join("none")).1, []);
    fs::write(root.path().join("file"), "").expect("written");
    let (library, problems) = load(&root.path().join("file"));
    assert_eq!((library.iter().count(), problems.len()), (4, 1));
}

#[test]
fn the_users_own_voices_win() {
    let root = root();
    let clip =
        add(&root, "heart", &format!("{}[reference]\ntext = \"Hi.\"\n", manifest("heart"))).join("reference.wav");
    fs::write(&clip, WAV).expect("written");
    add(&root, "alloy", &manifest("alloy"));
    fs::create_dir(root.path().join(".tmp-1")).expect("created");
    fs::write(root.path().join("notes.txt"), "").expect("written");
    let (library, problems) = load(root.path());
    assert_eq!(problems, []);
    let heart = library.get("HEART").expect("there");
    assert_eq!(heart.reference, Some(Reference { clip: WAV.into(), text: "Hi.".into() }));
    assert_eq!(library.get("alloy").expect("the voice, not the alias").id, "alloy");
    assert!(library.aliases().all(|(alias, _)| alias != "alloy"));
    fs::write(&clip, [WAV, b"more"].concat()).expect("written");
    assert_ne!(load(root.path()).0.get("heart").expect("there").version, heart.version);
}

#[test]
fn a_bad_voice_hides_no_other() {
    let bad = root();
    add(&bad, "bad", "id = ");
    let problem = only_problem(&bad);
    assert_eq!(problem.path, Some(bad.path().join("bad/voice.toml")));
    assert!(problem.message.starts_with("line 1: "), "{problem}");

    let shadow = root();
    add(&shadow, "heart", "");
    only_problem(&shadow);
    assert_eq!(load(shadow.path()).0.get("heart").expect("the shipped one").name, "Heart");

    let empty = root();
    fs::create_dir(empty.path().join("bad")).expect("created");
    assert!(only_problem(&empty).message.contains("is missing"));

    let named = root();
    add(&named, "My Voice", &manifest("My Voice"));
    assert!(only_problem(&named).message.contains("rename it"));

    let manifest_folder = root();
    fs::create_dir_all(manifest_folder.path().join("bad/voice.toml")).expect("created");
    assert_eq!(only_problem(&manifest_folder).message, "is not a file");

    let mp3 = root();
    fs::write(add(&mp3, "bad", &manifest("bad")).join("reference.wav"), "ID3").expect("written");
    assert!(only_problem(&mp3).message.contains("not a WAV file"));
}

#[test]
fn large_files_are_not_read() {
    let large = root();
    add(&large, "bad", &format!("{}#{}", manifest("bad"), "x".repeat(64 << 10)));
    assert!(only_problem(&large).message.contains("larger than 64 KiB"));
    let long = root();
    let clip = fs::File::create(add(&long, "bad", &manifest("bad")).join("reference.wav")).expect("created");
    clip.set_len((32 << 20) + 1).expect("sparse");
    assert!(only_problem(&long).message.contains("larger than 32768 KiB"));
}

#[cfg(unix)]
#[test]
fn links_stay_inside() {
    use std::os::unix::fs::symlink;
    let outside = root();
    let elsewhere = add(&outside, "bad", &manifest("bad"));

    let folder = root();
    symlink(&elsewhere, folder.path().join("bad")).expect("linked");
    assert!(only_problem(&folder).message.contains("link out of"));

    let file = root();
    fs::create_dir(file.path().join("bad")).expect("created");
    symlink(elsewhere.join("voice.toml"), file.path().join("bad/voice.toml")).expect("linked");
    assert!(only_problem(&file).message.contains("link out of"));

    let dangling = root();
    symlink("/nowhere/at/all", dangling.path().join("bad")).expect("linked");
    assert!(only_problem(&dangling).message.contains("cannot be read"));

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
    let (library, problems) = Library::load(Path::new(""), "BOSS", &given);
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
    let (library, problems) = Library::load(Path::new(""), "nobody", &BTreeMap::new());
    assert!(library.default_voice().is_err());
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
    assert!(fault(&path).starts_with("is not a WAV file"));
    fs::write(&path, b"RIFF\0\0\0\0WAVE").unwrap();
    let voice = Voice::of_clip(&path, "Words.").unwrap();
    let reference = voice.reference.clone().unwrap();
    assert_eq!((&reference.clip[..], reference.text.as_str()), (&b"RIFF\0\0\0\0WAVE"[..], "Words."));
    assert_ne!(voice.version, Voice::of_clip(&path, "Other words.").unwrap().version);
}
