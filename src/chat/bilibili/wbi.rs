//! The signature that Bilibili's web interface wants ("WBI"): a hash over the sorted query and a key made of two file names
//! that it publishes. Pure; time is handed in.

use md5::{Digest, Md5};

use crate::chat::source::encode;

/// Which letters of the two names, in this order, make the key.
const ORDER: [usize; 32] = [
    46, 47, 18, 2, 53, 8, 23, 32, 15, 50, 10, 31, 58, 3, 45, 35, 27, 43, 5, 49, 33, 9, 42, 19, 29, 28, 14, 39, 12, 38,
    41, 13,
];

/// None: the addresses are not what they should be.
pub(super) fn key(image_url: &str, sub_url: &str) -> Option<String> {
    let name =
        |url: &str| url.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default().to_owned();
    let letters: Vec<char> = (name(image_url) + &name(sub_url)).chars().collect();
    ORDER.iter().map(|at| letters.get(*at)).collect()
}

/// The whole query with the time and the signature.
pub(super) fn sign(query: &[(&str, &str)], key: &str, unix_s: u64) -> String {
    let unix_s = unix_s.to_string();
    let mut query: Vec<(&str, String)> = query.iter().map(|(name, value)| (*name, bare(value))).collect();
    query.push(("wts", unix_s));
    query.sort();
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let query = encode(&query).replace('+', "%20");
    let signature: String =
        Md5::digest(format!("{query}{key}").as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{query}&w_rid={signature}")
}

/// These are left out of what is signed.
fn bare(value: &str) -> String {
    value.chars().filter(|letter| !"!'()*".contains(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that is told wherever the signature is described.
    #[test]
    fn the_known_example() {
        let key = key(
            "https://i0.hdslb.com/bfs/wbi/7cd084941338484aae1ad9425b84077c.png",
            "https://i0.hdslb.com/bfs/wbi/4932caff0ff746eab6f01bf08b70ac45.png",
        )
        .expect("names");
        assert_eq!(key, "ea1db124af3c7062474693fa704f4ff8");
        let signed = sign(&[("foo", "114"), ("bar", "514"), ("zab", "1919810")], &key, 1_702_204_169);
        assert_eq!(signed, "bar=514&foo=114&wts=1702204169&zab=1919810&w_rid=8f6f2b5b3d485fe1886cec6a0be8c5d4");
    }

    #[test]
    fn odd_addresses_and_values() {
        assert_eq!(key("", "x"), None);
        assert_eq!(bare("a!b'(c)*d"), "abcd");
        assert!(sign(&[("a", "b c")], "k", 0).starts_with("a=b%20c&wts=0&w_rid="));
    }
}
