use std::fs;

use tempfile::TempDir;

use super::*;

fn sources(file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Sources {
    Sources {
        file: file.map(Path::to_path_buf),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect(),
        flags: flags.iter().map(|(key, value, flag)| ((*key).into(), (*value).into(), (*flag).into())).collect(),
    }
}

fn with_file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    fs::write(&path, text).expect("written");
    (directory, path)
}

fn faults(text: impl AsRef<[u8]>) -> Vec<String> {
    let (_directory, path) = with_file(text);
    let prefix = path.display().to_string();
    let lines = load(&sources(Some(&path), &[], &[])).expect_err("wrong").lines;
    lines.iter().map(|line| line.strip_prefix(&prefix).unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
}

fn variable_faults(name: &str, value: &str) -> Vec<String> {
    load(&sources(None, &[(name, value)], &[])).expect_err("wrong").lines
}

fn setting(loaded: &Loaded, key: &str) -> (String, String) {
    let settings = loaded.explain();
    let found = settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key}: {settings:?}"));
    (found.value.clone(), found.origin.to_string())
}

#[test]
fn nothing_given_is_the_default() {
    let loaded = load(&Sources::default()).expect("valid");
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.file, None);
    assert_eq!(setting(&loaded, "http.port"), ("8880".into(), "default".into()));
    assert_eq!(setting(&loaded, "queue.max_wait_s"), ("60.0".into(), "default".into()));
    assert_eq!(setting(&loaded, "voices.aliases.onyx"), ("\"rowan\"".into(), "default".into()));
    assert!(loaded.config.threads() >= 1);
}

#[test]
fn later_sources_win() {
    let (_directory, path) = with_file(
        "engine = \"file\"\nfallback = [\"fake\"]\n[http]\nport = 1\nhost = \"::1\"\nshutdown_grace_s = 5\n\n\
         [voices.aliases]\nbob = \"heart\"\n",
    );
    let environment = [("ISHOWTTS_HTTP_PORT", "2"), ("ISHOWTTS_ENGINE", "environment"), ("PATH", "/bin")];
    let loaded = load(&sources(Some(&path), &environment, &[("http.port", "3", "--port")])).expect("valid");
    let shown = path.display();
    assert_eq!(loaded.file.as_deref(), Some(path.as_path()));
    assert_eq!(loaded.config.http.port, 3);
    assert_eq!(loaded.config.http.shutdown_grace_s, 5.0);
    assert_eq!(loaded.config.fallback, ["fake"]);
    assert_eq!(setting(&loaded, "http.port"), ("3".into(), "--port".into()));
    assert_eq!(setting(&loaded, "engine"), ("\"environment\"".into(), "ISHOWTTS_ENGINE".into()));
    assert_eq!(setting(&loaded, "http.host"), ("\"::1\"".into(), format!("{shown}:5")));
    assert_eq!(setting(&loaded, "voices.aliases.bob"), ("\"heart\"".into(), format!("{shown}:9")));
    assert_eq!(setting(&loaded, "voices.aliases.onyx"), ("\"rowan\"".into(), "default".into()));
    let last = load(&sources(None, &[], &[("http.port", "3", "--port"), ("http.port", "4", "--set")])).expect("valid");
    assert_eq!(setting(&last, "http.port"), ("4".into(), "--set".into()));
}

#[test]
fn variables_take_the_type_of_their_setting() {
    let environment = [
        ("ISHOWTTS_HTTP_ALLOWED_HOSTS", "a.example, b.example"),
        ("ISHOWTTS_HTTP_ALLOWED_ORIGINS", "[\"https://a.example\"]"),
        ("ISHOWTTS_FALLBACK", ""),
        ("ISHOWTTS_VOICES_ALIASES", "{ bob = \"heart\", \"a b\" = \"wren\" }"),
        ("ISHOWTTS_QUEUE_MAX_WAIT_S", " 7 "),
        ("ISHOWTTS_ENGINES_F5_NFE_STEPS", "16"),
        ("ISHOWTTS_ENGINES_F5_DEVICE", "cuda:0"),
        ("ISHOWTTS_ENGINES_F5_COMPILE", "true"),
        ("ISHOWTTS_ENGINES", "{ hibari = { seed = 1.5 } }"),
        ("ISHOWTTS_OFFLINE", "1"),
    ];
    let config = load(&sources(None, &environment, &[])).expect("valid").config;
    assert_eq!(config.http.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(config.http.allowed_origins, ["https://a.example"]);
    assert_eq!(config.fallback, Vec::<String>::new());
    assert_eq!((config.voices.aliases["bob"].as_str(), config.voices.aliases["a b"].as_str()), ("heart", "wren"));
    assert_eq!(config.voices.aliases["onyx"], "rowan");
    assert_eq!(config.queue.max_wait_s, 7.0);
    assert_eq!(config.engines["f5"]["nfe_steps"], Value::Integer(16));
    assert_eq!(config.engines["f5"]["device"], Value::String("cuda:0".into()));
    assert_eq!(config.engines["f5"]["compile"], Value::Boolean(true));
    assert_eq!(config.engines["hibari"]["seed"], Value::Float(1.5));
}

#[test]
fn engines_take_anything_in_their_tables() {
    let (_directory, path) = with_file("[engines.f5]\nweights = { path = \"w\", sizes = [1, 2] }\n[engines.hibari]\n");
    let environment = [("ISHOWTTS_ENGINES", "{ f5 = {} }")];
    let flags = [("engines.f5.cfg_strength", "2.0", "--set")];
    let loaded = load(&sources(Some(&path), &environment, &flags)).expect("valid");
    assert_eq!(loaded.config.engines["f5"]["weights"]["sizes"][1], Value::Integer(2));
    assert_eq!(loaded.config.engines["f5"]["cfg_strength"], Value::Float(2.0));
    assert!(loaded.config.engines["hibari"].is_empty());
    assert_eq!(setting(&loaded, "engines.f5.cfg_strength"), ("2.0".into(), "--set".into()));
}

#[test]
fn unknown_keys_name_line_and_neighbour() {
    let found = faults("port = 1\n[http]\nhost = \"::1\"\nprot = 1\n[htp]\nport = 2\n[quantum]\n");
    assert_eq!(
        found,
        [
            ":1: unknown key port; did you mean http.port?",
            ":4: unknown key http.prot; did you mean http.port?",
            ":5: unknown key htp; did you mean http?",
            ":7: unknown key quantum; `ishowtts config show` lists the keys",
        ]
    );
}

#[test]
fn wrong_types_and_ranges_name_the_line_and_what_fits() {
    let port = "http.port must be a whole number from 0 to 65535 (0: any free port), not";
    assert_eq!(faults("\n[http]\nport = \"x\""), [format!(":3: {port} \"x\"")]);
    assert_eq!(faults("http.port = 65536"), [format!(":1: {port} 65536")]);
    assert_eq!(faults("http.port = -1"), [format!(":1: {port} -1")]);
    assert_eq!(faults("http.port = [1,\n2]"), [format!(":1: {port} [1, 2]")]);
    assert_eq!(faults("http = 3"), [":1: http must be a table of settings, not 3"]);
    assert_eq!(faults("[[http]]\nport = 1"), [":1: http must be a table of settings, not [{ port = 1 }]"]);
    assert_eq!(faults("engines.f5 = 3"), [":1: engines must be one table an engine, such as [engines.hibari], not 3"]);
    assert!(faults("http.port = 99999999999999999999999999999999999999999")[0].starts_with(":1: http.port: "));
    assert!(faults("[http]\nport = 70000\nhost = \"\"\n[cpu]\nthreads = -1").len() == 3);
    assert!(faults(format!("engine = \"{}\"", "x y".repeat(1000)))[0].len() < 300);
    let rejected = [
        "engine = ''",
        "engine = 'a b'",
        "engine = '../x'",
        "fallback = ['']",
        "fallback = 'hibari'",
        "http.host = ''",
        "http.host = 'http://x'",
        "http.allowed_hosts = ['x:1']",
        "http.allowed_origins = ['x']",
        "http.max_body_bytes = 0",
        "http.shutdown_grace_s = -0.1",
        "http.shutdown_grace_s = nan",
        "http.shutdown_grace_s = inf",
        "cpu.threads = 1025",
        "text.max_chars = 0",
        "text.first_segment_chars = 19",
        "queue.max_requests = 0",
        "queue.max_speech_s = 0",
        "queue.max_wait_s = -1",
        "speech.window_segments = 0",
        "speech.max_unread_s = 1e9",
        "speech.max_stall_s = nan",
        "speech.cache_mib = 2000000",
        "speech.max_step_s = 0.0",
        "voices.default = ' '",
        "voices.directory = 3",
        "voices.directory = \"a\\u0000\"",
        "voices.aliases = 3",
        "voices.aliases.x = ''",
        "voices.aliases.x = 3",
        "log.level = 'inof'",
        "[engines.'A b']\nx = 1",
    ];
    for text in rejected {
        assert_eq!(faults(text).len(), 1, "{text}");
    }
    for text in ["http.shutdown_grace_s = 0", "speech.cache_mib = 0", "cpu.threads = 1024", "http.port = 0"] {
        let (_directory, path) = with_file(text);
        assert!(load(&sources(Some(&path), &[], &[])).is_ok(), "{text}");
    }
}

#[test]
fn a_bad_value_is_found_where_it_is_overridden() {
    let (_directory, path) = with_file("http.port = -1");
    assert!(load(&sources(Some(&path), &[], &[("http.port", "3", "--port")])).is_err());
}

#[test]
fn files_that_are_not_toml_or_not_there() {
    let found = faults("[http]\n  port = = 1\n");
    assert!(found[0].starts_with(":2:10: is not valid TOML: ") && !found[0].contains('\n'), "{found:?}");
    assert!(faults("a = 1\na = 2\n")[0].starts_with(":2:1: is not valid TOML: "));
    assert_eq!(faults(b"engine = 'x'\n# \xff\n"), [":2: is not valid UTF-8; save the file as UTF-8"]);
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("none.toml");
    let expected = [format!("no configuration file at {}", missing.display())];
    assert_eq!(load(&sources(Some(&missing), &[], &[])).expect_err("missing").lines, expected);
    let named = missing.display().to_string();
    assert_eq!(load(&sources(None, &[("ISHOWTTS_CONFIG", &named)], &[])).expect_err("missing").lines, expected);
    let unreadable = load(&sources(Some(directory.path()), &[], &[])).expect_err("a directory").lines;
    assert!(unreadable[0].contains("cannot be read: "), "{unreadable:?}");
}

#[test]
fn variables_and_flags_are_named() {
    assert_eq!(
        variable_faults("ISHOWTTS_HTTP_PROT", "1"),
        ["ISHOWTTS_HTTP_PROT: unknown setting; did you mean ISHOWTTS_HTTP_PORT?"]
    );
    assert!(variable_faults("ISHOWTTS_ZZZ", "1")[0].starts_with("ISHOWTTS_ZZZ: unknown setting; "));
    assert!(variable_faults("ISHOWTTS_ENGINES_F5", "1")[0].starts_with("ISHOWTTS_ENGINES_F5: unknown"));
    assert_eq!(
        variable_faults("ISHOWTTS_HTTP_PORT", "x"),
        ["ISHOWTTS_HTTP_PORT: http.port must be a whole number from 0 to 65535 (0: any free port), not \"x\""]
    );
    assert!(
        variable_faults("ISHOWTTS_VOICES_ALIASES", "{ a = ")[0]
            .starts_with("ISHOWTTS_VOICES_ALIASES: voices.aliases must be")
    );
    assert!(variable_faults("ISHOWTTS_FALLBACK", "[1")[0].starts_with("ISHOWTTS_FALLBACK: fallback must be"));
    let flag =
        load(&sources(None, &[], &[("http.port", "x", "--port"), ("htp.port", "1", "--set")])).expect_err("wrong");
    assert!(flag.lines[0].starts_with("--port: http.port must be"), "{flag}");
    assert_eq!(flag.lines[1], "--set: unknown key htp.port; did you mean http.port?");
    assert_eq!(flag.to_string().lines().count(), 2);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let environment = vec![("ISHOWTTS_ENGINE".to_owned(), OsString::from_vec(vec![0xff]))];
    let error = load(&Sources { environment, ..Sources::default() }).expect_err("wrong");
    assert_eq!(error.lines, ["ISHOWTTS_ENGINE: is not valid UTF-8"]);
    let environment = vec![("HOME".to_owned(), OsString::from_vec(b"/\xff".to_vec()))];
    let error = load(&Sources { environment, ..Sources::default() }).expect_err("wrong");
    assert!(error.lines[0].starts_with("voices.directory: "), "{error}");
}

#[test]
fn the_users_own_file_is_found() {
    let home = tempfile::tempdir().expect("a directory");
    let home_text = home.path().display().to_string();
    let below = home.path().join(".config/ishowtts");
    assert_eq!(load(&sources(None, &[("HOME", &home_text)], &[])).expect("no file").file, None);
    fs::create_dir_all(&below).expect("created");
    fs::write(below.join("config.toml"), "engine = \"mine\"").expect("written");
    let loaded = load(&sources(None, &[("HOME", &home_text), ("XDG_CONFIG_HOME", "")], &[])).expect("valid");
    assert_eq!(loaded.config.engine, "mine");
    let elsewhere = home.path().join("elsewhere").display().to_string();
    let loaded = load(&sources(None, &[("HOME", &home_text), ("XDG_CONFIG_HOME", &elsewhere)], &[])).expect("valid");
    assert_eq!(loaded.config.engine, "hibari");
}

#[test]
fn the_voices_directory_is_absolute() {
    let home = [("HOME", "/home/ann"), ("XDG_DATA_HOME", "/data")];
    let directory = |file: Option<&Path>, environment: &[(&str, &str)], flags: &[(&str, &str, &str)]| {
        load(&sources(file, environment, flags)).expect("valid").config.voices_directory().to_path_buf()
    };
    assert_eq!(directory(None, &home, &[]), Path::new("/data/ishowtts/voices"));
    assert_eq!(directory(None, &home[..1], &[]), Path::new("/home/ann/.local/share/ishowtts/voices"));
    assert_eq!(directory(None, &[("XDG_DATA_HOME", "relative")], &[]), Path::new(""));
    let (folder, path) = with_file("voices.directory = \"mine\"");
    assert_eq!(directory(Some(&path), &home, &[]), folder.path().join("mine"));
    let here = std::env::current_dir().expect("a working directory");
    assert_eq!(directory(Some(&path), &home, &[("voices.directory", "v", "--set")]), here.join("v"));
    assert_eq!(directory(None, &home, &[("voices.directory", "~/v", "--set")]), Path::new("/home/ann/v"));
    let loaded = load(&sources(None, &home, &[])).expect("valid");
    assert_eq!(setting(&loaded, "voices.directory"), ("\"/data/ishowtts/voices\"".into(), "default".into()));
}

#[test]
fn files_of_engines_are_beside_the_settings() {
    let (folder, path) = with_file(
        "[engines.f5]\ncheckpoint = \"models/mine.pt\"\nvocab = \"./vocab.txt\"\nvocoder = \"charactr/vocos\"\n\
         model = \"F5TTS_v1_Base\"\ndevice = \"models\"\nmax_slots = 2\n\
         [engines.f5-reference]\ncheckpoint = \"hf://owner/name/model.pt\"\nvocoder = \"vocos\"\n\
         model = \"~/own.yaml\"\nvocab = \"missing/vocab.txt\"\n",
    );
    fs::create_dir_all(folder.path().join("models")).expect("created");
    fs::create_dir_all(folder.path().join("vocos")).expect("created");
    fs::write(folder.path().join("models/mine.pt"), "").expect("written");
    let home = [("HOME", "/home/ann")];
    let option = |config: &Config, engine: &str, key: &str| config.engines[engine][key].clone();
    let beside = |name: &str| Value::String(folder.path().join(name).display().to_string());
    let config = load(&sources(Some(&path), &home, &[])).expect("valid").config;
    assert_eq!(option(&config, "f5", "checkpoint"), beside("models/mine.pt"));
    assert_eq!(
        option(&config, "f5", "vocab"),
        beside("vocab.txt"),
        "written as a path, it is told where it was looked"
    );
    assert_eq!(option(&config, "f5-reference", "vocoder"), beside("vocos"));
    assert_eq!(option(&config, "f5-reference", "model"), Value::String("/home/ann/own.yaml".into()));
    for (engine, key, name) in [
        ("f5", "vocoder", "charactr/vocos"),
        ("f5", "model", "F5TTS_v1_Base"),
        ("f5", "device", "models"),
        ("f5-reference", "checkpoint", "hf://owner/name/model.pt"),
        ("f5-reference", "vocab", "missing/vocab.txt"),
    ] {
        assert_eq!(option(&config, engine, key), Value::String(name.into()), "{engine}.{key}");
    }
    let here = std::env::current_dir().expect("a working directory");
    let flags = [("engines.f5.vocab", "./v.txt", "--set"), ("engines.f5.vocoder", "src", "--set")];
    let config = load(&sources(Some(&path), &home, &flags)).expect("valid").config;
    assert_eq!(option(&config, "f5", "vocab"), Value::String(here.join("v.txt").display().to_string()));
    assert_eq!(option(&config, "f5", "vocoder"), Value::String(here.join("src").display().to_string()));
}

#[test]
fn a_secret_is_shown_nowhere() {
    let environment = [("ISHOWTTS_CHAT_TWITCH_TOKEN", "oauth:abcdef")];
    let loaded = load(&sources(None, &environment, &[])).expect("valid");
    assert_eq!(loaded.config.chat.twitch.token.reveal(), "oauth:abcdef");
    assert_eq!(setting(&loaded, "chat.twitch.token"), ("(hidden)".into(), "ISHOWTTS_CHAT_TWITCH_TOKEN".into()));
    assert!(!format!("{loaded:?}").contains("abcdef"));

    for (text, value) in [("two words", "two words"), ("tookeasy", "tookeasy")] {
        let faults = variable_faults("ISHOWTTS_CHAT_WEBHOOK_SECRET", text);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(!faults[0].contains(value), "{faults:?}");
    }
    let faults = faults("[chat.youtube]\napi_key = 7654321\n");
    assert!(faults.len() == 1 && !faults[0].contains("7654321"), "{faults:?}");
}
