//! What is said around a message: `{name} cheered {bits}: {text}`. Pure.

/// What a template may name.
pub(super) const FIELDS: [&str; 13] = [
    "name", "text", "platform", "bits", "amount", "currency", "gift", "count", "tier", "months", "viewers", "reward",
    "points",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(&'static str),
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
            let Some(field) = FIELDS.iter().find(|field| **field == name.trim()) else {
                return Err(wrong(format!("there is no {{{name}}}; there are {}", FIELDS.join(", "))));
            };
            pieces.extend((!text.is_empty()).then(|| Piece::Text(std::mem::take(&mut text))));
            pieces.push(Piece::Field(field));
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
    fn what_does_not_exist_is_told() {
        assert!(Template::new("chat", "{nmae}").is_err_and(|why| why.contains("{nmae}") && why.contains("name")));
        assert!(Template::new("chat", "{name").is_err());
        assert!(Template::new("chat", "name}").is_err());
        assert!(Template::new("chat", "").is_ok_and(|template| template.is_empty()));
    }
}
