use std::{collections::BTreeSet, path::Path, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{config::Config, voices::Store};

fn library() -> Arc<Library> {
    let config = Config::default();
    Store::open(Path::new(""), &config.voices.default, &config.voices.aliases).0.library()
}

fn with_clip() -> (tempfile::TempDir, Arc<Library>) {
    let root = tempfile::tempdir().expect("a directory");
    let folder = root.path().join("mine");
    std::fs::create_dir(&folder).expect("created");
    let manifest = "id = \"mine\"\nname = \"Mine\"\nlanguages = [\"vi\"]\nlicence = \"CC0-1.0\"\nspeed = 0.8\n\
                    [reference]\ntext = \"Hi.\"\n";
    std::fs::write(folder.join("voice.toml"), manifest).expect("written");
    let sound: Vec<f32> = (0..48_000).map(|index| (index as f32 * 0.05).sin() * 0.3).collect();
    let encoder = crate::audio::encode::wav_file(&sound, 24_000);
    std::fs::write(folder.join("reference.wav"), &encoder).expect("written");
    let (store, problems) = Store::open(root.path(), "heart", &Config::default().voices.aliases);
    assert!(problems.is_empty(), "{problems:?}");
    (root, store.library())
}

fn fault(library: &Library, name: &str) -> String {
    match library.resolve(name) {
        Err(error @ Error::Invalid { code: "invalid_voice", param: Some("voice"), .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn plain_names_are_looked_up() {
    let library = library();
    assert_eq!(library.resolve("Alloy").expect("an alias").id, "heart");
    assert!(Arc::ptr_eq(&library.resolve("heart+pitch=0").expect("plain"), &library.get("heart").expect("there")));
    assert!(Arc::ptr_eq(&library.resolve("alloy(3)").expect("plain"), &library.get("heart").expect("there")));
    assert!(matches!(library.resolve("hart"), Err(Error::UnknownVoice { nearest: Some(near), .. }) if near == "heart"));
    assert!(matches!(library.resolve("hart+pitch=1"), Err(Error::UnknownVoice { name, .. }) if name == "hart"));
}

#[test]
fn a_variant_changes_what_it_says() {
    let (_root, library) = with_clip();
    let voice = library.resolve("heart+pitch=3+speed=1.1+formant=-1.5").expect("a variant");
    assert_eq!(voice.id, "heart+pitch=3+formant=-1.5+speed=1.1");
    assert_eq!(voice.shape, Shape { pitch_semitones: 3.0, formant_semitones: -1.5 });
    assert_eq!((voice.speed, voice.languages.as_slice()), (1.1, ["en-US".to_owned()].as_slice()));
    assert_eq!(voice.hints, library.get("heart").expect("there").hints);

    let cloned = library.resolve("mine + pitch = -2 + speed=1.5").expect("a variant");
    assert!(cloned.reference.is_some());
    assert!((cloned.speed - 1.2).abs() < 1e-9, "{}", cloned.speed);
}

#[test]
fn the_id_of_a_variant_leads_back_to_it() {
    let library = library();
    for name in ["Alloy + pitch=3", "heart+wren", "wren(3)+oak+speed=1.1", "heart+formant=-1+pitch=-0.5"] {
        let voice = library.resolve(name).expect(name);
        assert_eq!(library.resolve(&voice.id).expect("its id").version, voice.version, "{name}");
    }
    // Written out it would be too long to be named again.
    assert!(fault(&library, "heart+pitch=1e-200").contains("128 characters"));
}

#[test]
fn one_sound_has_one_version() {
    let library = library();
    let version = |name: &str| library.resolve(name).expect(name).version.clone();
    let same = [
        "heart+speed=1.1+pitch=3",
        "alloy+pitch=3+speed=1.1",
        "HEART+pitch=3.0+speed=1.10",
        "heart(4)+pitch=3+speed=1.1",
    ];
    assert_eq!(same.map(version).into_iter().collect::<BTreeSet<_>>().len(), 1);
    let others = [
        "heart",
        "wren+pitch=3",
        "heart+pitch=3",
        "heart+pitch=3.001",
        "heart+formant=3",
        "heart+wren",
        "wren+heart(2)",
    ];
    assert_eq!(others.map(version).into_iter().collect::<BTreeSet<_>>().len(), others.len());
    assert_eq!(version("heart(2)+wren"), version("heart(4)+wren(2)"));
    assert_eq!(version("heart+wren+heart"), version("heart(2)+wren"));
}

#[test]
fn a_mixture_lies_between() {
    let library = library();
    let pitch = |name: &str| library.resolve(name).expect(name).hints["hibari"]["pitch_semitones"].as_f64();
    // Wren is 3 semitones higher than heart, which has no such hint, and rowan 7 lower.
    assert_eq!(pitch("heart+wren"), Some(1.5));
    assert_eq!(pitch("heart(3)+wren"), Some(0.75));
    assert_eq!(pitch("wren(0.5)+rowan(0.5)"), Some(-2.0));
    let mixed = library.resolve("heart+rowan(3)+pitch=1").expect("a mixture");
    assert_eq!(mixed.id, "heart(0.25)+rowan(0.75)+pitch=1");
    assert_eq!(mixed.hints["espeak"]["variant"], "m3", "of the heavier one");
    assert_eq!(mixed.hints["hibari"]["voice"], "heart");
    assert_eq!(mixed.licence, "Apache-2.0");
}

#[test]
fn what_cannot_be_is_said() {
    let (_root, library) = with_clip();
    assert!(fault(&library, "heart+pitch=13").contains("from -12 to 12 semitones, not \"13\""));
    assert!(fault(&library, "heart+pitch=NaN").contains("\"NaN\""));
    assert!(fault(&library, "heart+speed=0").contains("from 0.25 to 4"));
    assert!(fault(&library, "heart+formant=7").contains("from -6 to 6"));
    assert!(fault(&library, "heart+pitch=1+pitch=2").contains("twice"));
    assert!(fault(&library, "heart+pich=1").contains("only pitch, formant and speed"));
    assert!(fault(&library, "pitch=1").contains("names no voice"));
    assert!(fault(&library, "heart+").contains("nothing"));
    assert!(fault(&library, "+").contains("nothing"));
    assert!(fault(&library, "heart(x)+wren").contains("heart(0.6)"));
    assert!(fault(&library, "heart(0)+wren").contains("from 0.01 to 100"));
    assert!(fault(&library, "heart(1+wren").contains("\"heart(1\""));
    assert!(fault(&library, "heart+wren+rowan+hazel+heart").contains("at most 4"));
    assert!(fault(&library, "heart+mine").contains("\"mine\" is cloned"));
    assert!(fault(&library, &format!("heart+{}", "x".repeat(200))).contains("128 characters"));
}

proptest! {
    #[test]
    fn any_name_ends_in_an_answer(name in "(heart|wren|alloy|\\+|=|\\(|\\)|pitch|speed|[0-9.e-]|\\PC){0,12}") {
        let library = library();
        if let Ok(voice) = library.resolve(&name) {
            // What it is called leads to it again.
            let again = library.resolve(&voice.id).expect("found");
            prop_assert!(again.version == voice.version || voice.id.contains('('), "{}", voice.id);
            prop_assert!(voice.id.is_ascii());
        }
    }
}
