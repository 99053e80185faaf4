//! Where a message comes from. Plain data; no thread of its own.

use std::{fmt, str::FromStr};

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

const MAX_NAME_BYTES: usize = 32;

/// Written and read as its name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Platform {
    Twitch,
    Youtube,
    Bilibili,
    /// The signed generic webhook.
    Webhook,
    /// The studio, and hotkeys.
    Api,
    /// As whoever sends its messages names it.
    Other(PlatformName),
}

/// In lower case, and none of those that have a variant of their own: only parsing makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlatformName(ArrayString<MAX_NAME_BYTES>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a name of 1 to {MAX_NAME_BYTES} letters a to z, digits, \"-\", \"_\" and \".\", such as \"twitch\"")]
pub struct NoPlatform;

impl Platform {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Twitch => "twitch",
            Self::Youtube => "youtube",
            Self::Bilibili => "bilibili",
            Self::Webhook => "webhook",
            Self::Api => "api",
            Self::Other(PlatformName(name)) => name,
        }
    }
}

impl FromStr for Platform {
    type Err = NoPlatform;

    /// Whatever its case.
    fn from_str(name: &str) -> Result<Self, NoPlatform> {
        let mut name = ArrayString::from(name).map_err(|_| NoPlatform)?;
        name.make_ascii_lowercase();
        let known = [Self::Twitch, Self::Youtube, Self::Bilibili, Self::Webhook, Self::Api];
        if let Some(platform) = known.into_iter().find(|platform| platform.name() == &*name) {
            return Ok(platform);
        }
        let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if named { Ok(Self::Other(PlatformName(name))) } else { Err(NoPlatform) }
    }
}

impl TryFrom<String> for Platform {
    type Error = NoPlatform;

    fn try_from(name: String) -> Result<Self, NoPlatform> {
        name.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.name().to_owned()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_found_by_name() {
        for (name, expected) in [
            ("twitch", Platform::Twitch),
            ("YouTube", Platform::Youtube),
            ("bilibili", Platform::Bilibili),
            ("webhook", Platform::Webhook),
            ("API", Platform::Api),
        ] {
            assert_eq!(name.parse(), Ok(expected));
            assert_eq!(expected.to_string(), name.to_ascii_lowercase());
        }
        let longest = "x".repeat(MAX_NAME_BYTES);
        for name in ["kick", "TikTok", "my-own_bot.2", &longest] {
            let platform: Platform = name.parse().expect(name);
            assert!(matches!(platform, Platform::Other(_)), "{platform:?}");
            assert_eq!(platform.to_string(), name.to_ascii_lowercase());
            assert_eq!(name.to_ascii_uppercase().parse(), Ok(platform));
        }
        let too_long = "x".repeat(MAX_NAME_BYTES + 1);
        for name in ["", " ", "a b", "kick!", "youtube ", "ｋick", "a:b", &too_long] {
            assert_eq!(name.parse::<Platform>(), Err(NoPlatform), "{name:?}");
        }
    }

    #[test]
    fn json_has_their_names() {
        for name in ["twitch", "api", "kick"] {
            let platform: Platform = serde_json::from_value(name.into()).expect(name);
            assert_eq!(serde_json::to_value(platform).expect("JSON"), name);
        }
        assert!(serde_json::from_value::<Platform>("a b".into()).is_err());
    }
}
