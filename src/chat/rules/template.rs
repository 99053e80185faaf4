//! What is said around a message: `{name} cheered {bits}: {text}`, `{name} raids with {viewers:viewer|viewers}`. Pure.

/// What every template may name.
const COMMON: [&str; 3] = ["name", "text", "platform"];

/// What one kind's template may name beside it.
fn fields(key: &str) -> &'static [&'static str] {
    match key {
        "cheer" => &["bits"],
        "super_chat" => &["amount", "currency"],
        "gift" => &["gift", "count", "amount", "currency"],
        "subscription" => &["tier", "months", "amount", "currency"],
        "subscription_gift" => &["tier", "count"],
        "raid" => &["viewers"],
        "redemption" => &["reward", "points"],
        _ => &[],
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(&'static str),
    /// A number with the word that goes with it: the first one if there is one, else the other.
    Counted(&'static str, String, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// # Errors
    /// What is wrong with it, for the one who wrote it.
    pub fn new(key: &str, written: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("templates.{key}: {what}");
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(wrong("a } without its {; write }} for the character itself".to_owned()));
            }
            let Some((name, after)) = rest.split_once('}') else {
                return Err(wrong("a { without its }; write {{ for the character itself".to_owned()));
            };
            let (name, words) = match name.split_once(':') {
                Some((name, words)) => (name, Some(words)),
                None => (name, None),
            };
            let mut known = COMMON.iter().chain(fields(key));
            let Some(field) = known.clone().find(|field| **field == name.trim()) else {
                let known: Vec<&str> = known.by_ref().copied().collect();
                return Err(wrong(format!("there is no {{{name}}}; there are {}", known.join(", "))));
            };
            pieces.extend((!text.is_empty()).then(|| Piece::Text(std::mem::take(&mut text))));
            pieces.push(match words.map(|words| words.split_once('|')) {
                None => Piece::Field(field),
                Some(Some((one, many))) => Piece::Counted(field, one.to_owned(), many.to_owned()),
                Some(None) => {
                    return Err(wrong(format!("after {{{name}: two words are expected, as in {{{name}:one|many}}")));
                }
            });
            rest = after;
        }
        text.push_str(rest);
        pieces.extend((!text.is_empty()).then_some(Piece::Text(text)));
        Ok(Self(pieces))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Marks that led to words which are not there go with them: "Ann cheered 5: " becomes "Ann cheered 5".
    pub fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Field(field) => filled.push_str(value(field).trim()),
                Piece::Counted(field, one, many) => {
                    let count = value(field);
                    let word = match count.trim() {
                        "" => continue,
                        "1" => one,
                        _ => many,
                    };
                    filled.push_str(&format!("{} {}", count.trim(), word.trim()));
                }
            }
        }
        let filled = super::shape::tidy(&filled);
        filled.trim_end_matches([':', ',', '-', ' ', '：', '，']).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let template = Template::new("cheer", "{name} cheered {bits}: {text} {{ok}}").expect("a template");
        let value = |field: &str| format!("<{field}>");
        assert_eq!(template.fill(value), "<name> cheered <bits>: <text> {ok}");
        let template = Template::new("cheer", "{name} cheered {bits}: {text}").expect("a template");
        assert_eq!(
            template.fill(|field| if field == "text" { String::new() } else { field.to_owned() }),
            "name cheered bits"
        );
    }

    #[test]
    fn one_is_not_many() {
        let template = Template::new("raid", "{name} raids with {viewers:viewer|viewers}!").expect("a template");
        let with = |count: &str| template.fill(|field| if field == "viewers" { count } else { "Ann" }.to_owned());
        assert_eq!(with("1"), "Ann raids with 1 viewer!");
        assert_eq!(with("0"), "Ann raids with 0 viewers!");
        assert_eq!(with("21"), "Ann raids with 21 viewers!");
        assert!(!with("").contains("viewer"));
        let counts = Template::new("raid", "{viewers :个|个}").expect("a template");
        assert_eq!(counts.fill(|_| "1".to_owned()), "1 个");
    }

    #[test]
    fn what_does_not_exist_is_told() {
        assert!(Template::new("chat", "{nmae}").is_err_and(|why| why.contains("{nmae}") && why.contains("name")));
        assert!(Template::new("raid", "{bits}").is_err_and(|why| why.contains("viewers") && !why.contains("months")));
        assert!(Template::new("chat", "{name").is_err());
        assert!(Template::new("chat", "name}").is_err());
        assert!(Template::new("raid", "{viewers:viewer}").is_err_and(|why| why.contains("{viewers:one|many}")));
        assert!(Template::new("raid", "{bits:bit|bits}").is_err());
        assert!(Template::new("chat", "").is_ok_and(|template| template.is_empty()));
    }
}
