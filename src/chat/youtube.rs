//! YouTube's live chat by the Data API: which chat a video or a channel has now, then page after page of it.

mod address;
mod quota;
mod read;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use address::Address;
use quota::{LOOK_UP, MESSAGES, Quota, SEARCH, Used};
use read::{Page, Refusal};
use serde_json::Value;

use super::{
    Event, Message,
    source::{self, Context, End, Outlet, encode, invalid, seconds},
};
use crate::{
    config::{self, Secret},
    error::Error,
};

const QUOTA_FILE: &str = "youtube-quota.json";
/// After YouTube said that we ask too often.
const TOO_FAST: Duration = Duration::from_secs(30);
/// Videos of a channel that are looked at for a live one: a page of its uploads.
const UPLOADS: &str = "20";

pub(super) struct Source {
    settings: config::Youtube,
    channel: String,
    address: Address,
    context: Context,
    quota: Quota,
    quota_file: PathBuf,
    /// Searching costs a hundred times as much as looking: once is enough.
    searched: bool,
    chat: Option<Chat>,
}

struct Chat {
    id: String,
    /// None: its newest messages.
    page: Option<String>,
    /// Older messages were sent before we came.
    joined: SystemTime,
    was_read: bool,
}

/// A call that brought no answer of use.
enum Failed {
    Refused(Refusal, String),
    Lost(String),
}

impl Source {
    pub(super) fn new(settings: &config::Youtube, channel: Option<&str>, context: Context) -> Result<Self, Error> {
        let given = channel.unwrap_or(&settings.address).trim();
        if given.is_empty() {
            return Err(invalid("channel", "say which video or channel: set chat.youtube.address or send \"channel\""));
        }
        let address = address::parse(given).ok_or_else(|| {
            invalid(
                "channel",
                format!("{given:?} is neither a video nor a channel of YouTube (an address, id or @handle)"),
            )
        })?;
        if settings.api_key.is_empty() {
            return Err(invalid("chat.youtube.api_key", "set chat.youtube.api_key: a key for the YouTube Data API v3"));
        }
        let quota_file = context.directory.join(QUOTA_FILE);
        let used: Used =
            std::fs::read(&quota_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let lasts = seconds(settings.hours * 3600.0);
        Ok(Self {
            channel: given.to_owned(),
            address,
            context,
            quota: Quota::new(settings.daily_quota, lasts, used, SystemTime::now()),
            quota_file,
            searched: false,
            chat: None,
            settings: settings.clone(),
        })
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    async fn get(&mut self, units: u64, path: &str, query: &[(&str, &str)]) -> Result<Value, Failed> {
        let now = SystemTime::now();
        if self.quota.left(now) < units {
            return Err(Failed::Refused(Refusal::Quota, "the quota of today is used up".into()));
        }
        self.quota.spend(units, now);
        self.keep_quota();
        let url = format!("{}/{path}?{}", self.settings.api_url, encode(query));
        let headers = [("x-goog-api-key", Secret::reveal(&self.settings.api_key))];
        let answer = self.context.http.get(&url, &headers).await.map_err(|error| Failed::Lost(error.to_string()))?;
        if answer.is_success() {
            return Ok(answer.json);
        }
        let refusal = read::refusal(answer.status, &answer.json);
        if refusal == Refusal::Quota {
            self.quota.spent(SystemTime::now());
            self.keep_quota();
        }
        Err(Failed::Refused(refusal, read::told(answer.status, &answer.json)))
    }

    /// Lost, it is counted from zero, and YouTube says when nothing is left: no reason to stop.
    fn keep_quota(&self) {
        let text = serde_json::to_string(&self.quota.used()).unwrap_or_default();
        let fresh = self.quota_file.with_extension("json.new");
        let _ = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &self.quota_file));
    }

    /// The chat of the stream that is on now.
    async fn find_chat(&mut self) -> Result<String, End> {
        let look_again = seconds(self.settings.live_check_s);
        let not_live = |what: &str| End::Wait(look_again, format!("{what} is not live"));
        let nothing = |what: String| End::Failed(format!("YouTube has no such {what}"));
        let channel = match self.address.clone() {
            Address::Video(id) => {
                let waiting = not_live("the video");
                let videos = self.videos(&id).await?;
                let Some(video) = videos.first() else { return Err(nothing(format!("video: {id}"))) };
                return match chat_of(video) {
                    Some(chat) => Ok(chat),
                    None if text(video, "/liveStreamingDetails/actualEndTime").is_some() => Err(End::Ended),
                    None if video.get("liveStreamingDetails").is_none() => {
                        Err(End::Failed("the video is no live stream".into()))
                    }
                    None => Err(waiting),
                };
            }
            Address::ChannelId(id) => id,
            Address::Handle(handle) => self.channel_id("forHandle", &handle).await?,
            Address::UserName(name) => self.channel_id("forUsername", &name).await?,
        };
        // So that it is not asked for again.
        self.address = Address::ChannelId(channel.clone());
        let waiting = not_live("the channel");
        // A live stream is among a channel's uploads: two units instead of a search's hundred.
        let uploads = channel.replacen("UC", "UU", 1);
        let query = [("part", "contentDetails"), ("playlistId", uploads.as_str()), ("maxResults", UPLOADS)];
        let uploads = match self.get(LOOK_UP, "playlistItems", &query).await {
            Ok(uploads) => uploads,
            // A channel without uploads.
            Err(Failed::Refused(Refusal::Never, _)) => Value::Null,
            Err(failed) => return Err(self.end(failed)),
        };
        let ids: Vec<&str> = items(&uploads).iter().filter_map(|item| text(item, "/contentDetails/videoId")).collect();
        if !ids.is_empty()
            && let Some(chat) = self.videos(&ids.join(",")).await?.iter().find_map(|video| {
                // One that is planned has a chat as well.
                text(video, "/liveStreamingDetails/actualStartTime").and_then(|_started| chat_of(video))
            })
        {
            return Ok(chat);
        }
        if !std::mem::replace(&mut self.searched, true) && self.quota.left(SystemTime::now()) > 2 * SEARCH {
            let query = [("part", "id"), ("channelId", channel.as_str()), ("eventType", "live"), ("type", "video")];
            let found = self.get(SEARCH, "search", &query).await.map_err(|failed| self.end(failed))?;
            let ids: Vec<&str> = items(&found).iter().filter_map(|item| text(item, "/id/videoId")).collect();
            if !ids.is_empty()
                && let Some(chat) = self.videos(&ids.join(",")).await?.iter().find_map(chat_of)
            {
                return Ok(chat);
            }
        }
        Err(waiting)
    }

    async fn channel_id(&mut self, key: &str, name: &str) -> Result<String, End> {
        let found = self.get(LOOK_UP, "channels", &[("part", "id"), (key, name)]).await;
        let found = found.map_err(|failed| self.end(failed))?;
        let id = items(&found).first().and_then(|channel| text(channel, "/id"));
        id.map(str::to_owned).ok_or_else(|| End::Failed(format!("YouTube has no channel {name}")))
    }

    async fn videos(&mut self, ids: &str) -> Result<Vec<Value>, End> {
        let query = [("part", "liveStreamingDetails"), ("id", ids)];
        let found = self.get(LOOK_UP, "videos", &query).await.map_err(|failed| self.end(failed))?;
        Ok(items(&found).to_vec())
    }

    async fn next_page(&mut self, chat: &Chat) -> Result<Page, Failed> {
        let mut query = vec![("part", "id,snippet,authorDetails"), ("liveChatId", &chat.id), ("maxResults", "2000")];
        if let Some(page) = &chat.page {
            query.push(("pageToken", page));
        }
        let channel = self.channel.clone();
        Ok(read::page(&self.get(MESSAGES, "liveChat/messages", &query).await?, &channel))
    }

    fn end(&self, failed: Failed) -> End {
        match failed {
            Failed::Lost(reason) | Failed::Refused(Refusal::Later | Refusal::Page, reason) => End::Lost(reason),
            Failed::Refused(Refusal::Quota, reason) => End::Wait(quota::until_reset(SystemTime::now()), reason),
            Failed::Refused(Refusal::TooFast, reason) => End::Wait(TOO_FAST, reason),
            Failed::Refused(Refusal::Ended, _) => End::Ended,
            Failed::Refused(Refusal::Never, reason) => End::Failed(reason),
        }
    }

    /// Reads on until something ends it; where it got to stays in `chat`.
    async fn read_on(&mut self, chat: &mut Chat, outlet: &mut Outlet) -> End {
        loop {
            let page = match self.next_page(chat).await {
                Ok(page) => page,
                Err(Failed::Refused(Refusal::Page, reason)) if chat.page.is_some() => {
                    // From the newest ones: what was handed on already is known by its id.
                    chat.page = None;
                    return End::Lost(reason);
                }
                Err(failed) => return self.end(failed),
            };
            outlet.connected(None);
            let since = chat.joined.checked_sub(seconds(self.settings.history_s)).unwrap_or(SystemTime::UNIX_EPOCH);
            for event in page.events {
                let old = |message: &Message| !chat.was_read && message.sent_at.is_some_and(|sent| sent < since);
                if matches!(&event, Event::Message(message) if old(message)) {
                    continue;
                }
                if let Err(gone) = outlet.send(event).await {
                    return gone.into();
                }
            }
            chat.was_read = true;
            chat.page = page.next_page.or(chat.page.take());
            if page.is_over {
                return End::Ended;
            }
            let now = SystemTime::now();
            match self.quota.interval(now) {
                Some(interval) => tokio::time::sleep(interval.max(page.interval)).await,
                None => return End::Wait(quota::until_reset(now), "the quota of today is used up".into()),
            }
        }
    }
}

impl source::Source for Source {
    async fn listen(&mut self, outlet: &mut Outlet) -> End {
        let mut chat = match self.chat.take() {
            Some(chat) => chat,
            None => match self.find_chat().await {
                Ok(id) => {
                    let joined = SystemTime::now();
                    self.quota.begin(joined);
                    Chat { id, page: None, joined, was_read: false }
                }
                Err(end) => return end,
            },
        };
        let end = self.read_on(&mut chat, outlet).await;
        // A channel goes live again.
        if end == End::Ended && matches!(self.address, Address::ChannelId(_)) {
            let reason = "the stream is over; the channel's next one is waited for";
            return End::Wait(seconds(self.settings.live_check_s), reason.into());
        }
        self.chat = Some(chat);
        end
    }
}

fn chat_of(video: &Value) -> Option<String> {
    text(video, "/liveStreamingDetails/activeLiveChatId").map(str::to_owned)
}

fn items(json: &Value) -> &[Value] {
    json.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn text<'a>(json: &'a Value, pointer: &str) -> Option<&'a str> {
    json.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
#[path = "youtube/tests.rs"]
mod tests;
