//! Which engine says what: the configured order, and what each can say.

use std::sync::Arc;

use super::dispatch::Link;
use crate::{
    engine::{EngineInfo, Params},
    error::Error,
    text,
    voices::Voice,
};

/// In an engine's schema of parameters, beside `type`.
const WHOLE_TEXT: &str = "x-whole-text";
const READS_LINKS: &str = "x-reads-links";

/// A loaded engine on the way of one request.
pub(super) struct Stop {
    pub link: Arc<Link>,
    pub info: Arc<EngineInfo>,
}

/// The engine named, alone; else all that are configured, in order. The first must be ready; a later one that is
/// not is passed over.
pub(super) fn route(links: &[Arc<Link>], engine: Option<&str>) -> Result<Vec<Stop>, Error> {
    let stop = |link: &Arc<Link>| Ok(Stop { link: Arc::clone(link), info: link.info()? });
    if let Some(name) = engine {
        let link = links.iter().find(|link| link.name == name);
        return Ok(vec![stop(link.ok_or_else(|| Error::UnknownModel { name: name.to_owned() })?)?]);
    }
    let mut stops = Vec::with_capacity(links.len());
    for (index, link) in links.iter().enumerate() {
        match stop(link) {
            Ok(stop) => stops.push(stop),
            Err(error) if index == 0 => return Err(error),
            Err(_) => {}
        }
    }
    if stops.is_empty() { Err(Error::ShuttingDown) } else { Ok(stops) }
}

/// Without the engines that cannot speak with the voice.
///
/// # Errors
/// None can.
pub(super) fn with_voice(mut route: Vec<Stop>, voice: &Voice) -> Result<Vec<Stop>, Error> {
    let names: Vec<_> = route.iter().map(|stop| stop.info.name.clone()).collect();
    route.retain(|stop| can_speak_as(&stop.info, voice));
    if route.is_empty() {
        let names = names.join(", ");
        let message = format!(
            "the voice {:?} is a clip to clone, which no engine here can ({names}); GET /v1/models tells which clone voices",
            voice.id
        );
        return Err(Error::invalid("voice_not_cloned", Some("voice"), message));
    }
    Ok(route)
}

/// A voice that is nothing but a clip has to be cloned; one with hints means something to others.
pub(super) fn can_speak_as(info: &EngineInfo, voice: &Voice) -> bool {
    info.clones_voices || !voice.only_cloned()
}

/// Without the engines behind the first that lack a parameter which the first knows: they would be asked for what they
/// cannot do, and their complaint would take the place of the first one's reason.
pub(super) fn with_params(mut route: Vec<Stop>, params: &Params) -> Vec<Stop> {
    let Some(first) = route.first().map(|stop| Arc::clone(&stop.info)) else { return route };
    let mut is_first = true;
    route.retain(|stop| std::mem::take(&mut is_first) || takes_over(&stop.info, &first, params));
    route
}

/// Whether `next` knows all of `params` that `first` does.
pub(super) fn takes_over(next: &EngineInfo, first: &EngineInfo, params: &Params) -> bool {
    params.keys().all(|name| knows(next, name) || !knows(first, name))
}

/// Whether one of `params` is about the whole text, as the engine's schema marks it: it cannot be obeyed sentence by
/// sentence.
pub(super) fn wants_whole_text(info: &EngineInfo, params: &Params) -> bool {
    params.iter().any(|(name, value)| {
        let marked = declared(info, name).and_then(|schema| schema.get(WHOLE_TEXT));
        !value.is_null() && marked == Some(&serde_json::Value::Bool(true))
    })
}

/// What a text is cut for. Who of the route says which part is not known before, so links are left whole only where all
/// of it read them.
pub(super) fn reader(route: &[Stop], params: &Params) -> text::Reader {
    let scripts = route.first().map_or_else(Vec::new, |stop| stop.info.scripts.clone());
    text::Reader { scripts, links: route.iter().all(|stop| reads_links(&stop.info, params)) }
}

fn reads_links(info: &EngineInfo, params: &Params) -> bool {
    let turned_off = |(name, value): (&String, &serde_json::Value)| {
        let marked = declared(info, name).and_then(|schema| schema.get(READS_LINKS));
        marked == Some(&serde_json::Value::Bool(true)) && *value == serde_json::Value::Bool(false)
    };
    info.reads_links && !params.iter().any(turned_off)
}

fn knows(info: &EngineInfo, param: &str) -> bool {
    declared(info, param).is_some() || info.params.get("additionalProperties") != Some(&serde_json::Value::Bool(false))
}

fn declared<'a>(info: &'a EngineInfo, param: &str) -> Option<&'a serde_json::Value> {
    info.params.get("properties")?.get(param)
}

/// Why an engine cannot say this text; none if, as far as is known before it is asked, it can.
pub(super) fn cannot_say(info: &EngineInfo, text: &str, language: Option<&str>) -> Option<String> {
    let speaks =
        |language: &str| info.languages.iter().any(|known| primary(known).eq_ignore_ascii_case(primary(language)));
    if let Some(language) = language
        && !info.languages.is_empty()
        && !speaks(language)
    {
        let known = info.languages.join(", ");
        return Some(format!("the engine {:?} does not speak {language:?}, only {known}", info.name));
    }
    let letter = text::foreign_letter(text, &info.scripts)?;
    let scripts = info.scripts.join(", ");
    Some(format!("the engine {:?} cannot say {letter:?}: it reads the scripts {scripts} only", info.name))
}

fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}

/// The first stop that can say the text.
pub(super) fn choose(route: &[Stop], text: &str, language: Option<&str>) -> Result<usize, Error> {
    let mut reasons = Vec::with_capacity(route.len());
    for (index, stop) in route.iter().enumerate() {
        match cannot_say(&stop.info, text, language) {
            None => return Ok(index),
            Some(reason) => reasons.push(reason),
        }
    }
    Err(Error::Refused { message: reasons.join("; ") })
}
