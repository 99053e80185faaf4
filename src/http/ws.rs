//! `/v1/ws`: text in pieces as a language model writes it, sound out while it still writes; several texts on one
//! connection. docs/websocket.md is its description.

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::{Extension, Request, State, ws::Utf8Bytes},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinSet},
};

use super::{
    App, call,
    door::{Arrival, LoggedAtEnd},
    error::ApiError,
    fields, models,
    openapi::WebSocketErrors,
    seconds,
    ws_context::Context,
    ws_messages::{self, Incoming, Outgoing, Start},
    ws_narration::{Input, Narration},
    ws_socket::{self, Close, Frame, Idle, Stopping},
};
use crate::{
    error::Error,
    scheduler::{Class, Owner},
    speech::SpeechRequest,
};

/// Pieces of text that wait for their context.
const INPUTS: usize = 32;
/// Contexts that are over, for which text may still be under way.
const REMEMBERED: usize = 64;

const NOT_UNDERSTOOD: Close = Close::new(4400, "invalid_message");

/// Opens a WebSocket for text that is still being written.
///
/// `docs/websocket.md` tells the messages. Web pages of other origins are refused.
#[utoipa::path(get, path = "/v1/ws", tag = "websockets", operation_id = "connect",
    responses((status = 101, description = "It is open"), WebSocketErrors))]
pub async fn connect(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let owner = call::owner(&parts);
    let (upgrade, seat) = ws_socket::upgrade(&app, &mut parts).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let idle = Idle { limit: seconds(app.config.websocket.idle_s), close: Close::new(4408, "idle_timeout") };
        let id = arrival.id().to_owned();
        tracing::debug!(id, path = "/v1/ws", "connected");
        let shared = Arc::clone(&app);
        let stopping = seat.stopping();
        let session = |texts, out| async move {
            Hub { app: shared, owner, id, out, contexts: HashMap::new(), over: VecDeque::new(), tasks: JoinSet::new() }
                .run(texts, stopping)
                .await
        };
        ws_socket::serve(socket, &app, idle, seat, session).await;
    });
    Ok((Extension(LoggedAtEnd), response).into_response())
}

/// The contexts of one connection. They end with it.
struct Hub {
    app: Arc<App>,
    owner: Owner,
    id: String,
    out: mpsc::Sender<Frame>,
    contexts: HashMap<Arc<str>, Open>,
    over: VecDeque<Arc<str>>,
    tasks: JoinSet<()>,
}

struct Open {
    inputs: mpsc::Sender<Input>,
    live: Arc<AtomicBool>,
    task: AbortHandle,
    /// No more text may come.
    ended: bool,
}

impl Hub {
    async fn run(mut self, mut texts: mpsc::Receiver<Utf8Bytes>, mut stopping: Stopping) -> Close {
        loop {
            tokio::select! {
                text = texts.recv() => {
                    let Some(text) = text else { return Close::NORMAL };
                    if let ControlFlow::Break(close) = self.take(&text, &stopping).await {
                        return close;
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((task, ())) => drop(self.close(task)),
                    // Cancelled ones are not known any more.
                    Err(ended) => if let Some(name) = self.close(ended.id()) {
                        tracing::error!(id = self.id, "a context panicked");
                        self.refuse(Some(&name), ApiError::panicked()).await;
                    },
                },
                () = stopping.stopped(), if self.tasks.is_empty() => return Close::GOING_AWAY,
            }
        }
    }

    fn close(&mut self, task: Id) -> Option<Arc<str>> {
        let name = self.contexts.iter().find(|(_, open)| open.task.id() == task).map(|(name, _)| Arc::clone(name))?;
        self.forget(&name);
        Some(name)
    }

    fn forget(&mut self, name: &Arc<str>) -> Option<Open> {
        let open = self.contexts.remove(name)?;
        self.over.push_back(Arc::clone(name));
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
        Some(open)
    }

    async fn take(&mut self, text: &str, stopping: &Stopping) -> ControlFlow<Close> {
        let taken = match ws_messages::parse(text) {
            Err(error) => {
                let error = Outgoing::error(None, &error.into());
                return ControlFlow::Break(Close { last: Some(error.json()), ..NOT_UNDERSTOOD });
            }
            Ok(Incoming::Start(start)) => self.start(*start, stopping).await,
            Ok(Incoming::Text(text)) => {
                let input =
                    Input { text: text.text, flush: text.flush.unwrap_or_default(), end: text.end.unwrap_or_default() };
                self.hand_on(text.context, input).await
            }
            Ok(Incoming::Flush(named)) => self.hand_on(named.context, Input { flush: true, ..Input::default() }).await,
            Ok(Incoming::End(named)) => self.hand_on(named.context, Input { end: true, ..Input::default() }).await,
            Ok(Incoming::Cancel(named)) => self.cancel(named.context).await,
            Ok(Incoming::Ping(_)) => {
                self.tell(&Outgoing::Pong).await;
                Ok(())
            }
        };
        if let Err(error) = taken {
            self.refuse(None, error.into()).await;
        }
        ControlFlow::Continue(())
    }

    async fn start(&mut self, start: Start, stopping: &Stopping) -> Result<(), Error> {
        let name: Arc<str> = ws_messages::context(start.context.clone())?.into();
        self.contexts.retain(|_, open| !open.inputs.is_closed());
        if self.contexts.contains_key(&name) {
            let message =
                format!("the context {name:?} is open already; end or cancel it, or give this one another name");
            return Err(Error::invalid("context_exists", Some("context"), message));
        }
        let limit = self.app.config.websocket.max_contexts;
        if self.contexts.len() >= limit {
            let message = format!("a connection may have {limit} contexts at a time");
            return Err(Error::invalid("too_many_contexts", Some("context"), message));
        }
        self.over.retain(|over| *over != name);
        let (spec, level) = (ws_messages::spec(&start)?, ws_messages::level(&start)?);
        let model = fields::name("model", start.model.into())?;
        let request = SpeechRequest {
            text: String::new(),
            engine: models::engine_of(&self.app.speech.engines(), model.as_deref())?,
            voice: fields::name("voice", start.voice.into())?,
            own_voice: None,
            whole: false,
            language: fields::language(start.language.into(), Value::Null)?,
            speed: start.speed.unwrap_or(1.0),
            seed: start.seed,
            cache: start.cache.unwrap_or(true),
            streamed: true,
            class: Class::Interactive,
            owner: self.owner,
            params: start.params.unwrap_or_default().into_iter().collect(),
            level,
        };
        let narration = Narration::new(Arc::clone(&self.app.speech), request, start.hurry.unwrap_or(true))?;
        if stopping.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        let live = Arc::new(AtomicBool::new(true));
        let context = Context {
            name: Arc::clone(&name),
            narration,
            spec,
            workers: Arc::clone(&self.app.workers),
            captions: start.captions.unwrap_or(true),
            live: Arc::clone(&live),
            out: self.out.clone(),
            in_flight: self.app.metrics.in_flight(),
            id: self.id.clone(),
        };
        let (inputs, read) = mpsc::channel(INPUTS);
        let task = self.tasks.spawn(context.run(read));
        self.contexts.insert(Arc::clone(&name), Open { inputs, live, task, ended: false });
        let flush = start.flush.unwrap_or_default();
        let end = start.end.unwrap_or_default();
        if start.text.is_none() && !flush && !end {
            return Ok(());
        }
        self.hand_on(Some(name.to_string()), Input { text: start.text.unwrap_or_default(), flush, end }).await
    }

    /// None: the context is over, which was or will be told.
    fn open(&mut self, name: Option<String>) -> Result<Option<&mut Open>, Error> {
        let name = ws_messages::context(name)?;
        let is_over = self.over.iter().any(|over| **over == *name);
        match self.contexts.get_mut(&*name) {
            Some(open) => Ok(Some(open)),
            None if is_over => Ok(None),
            None => {
                let message = format!("no context is called {name:?}; \"start\" opens one");
                Err(Error::invalid("context_not_found", Some("context"), message))
            }
        }
    }

    async fn hand_on(&mut self, name: Option<String>, input: Input) -> Result<(), Error> {
        let Some(open) = self.open(name)? else { return Ok(()) };
        if open.ended {
            let message = "the text of this context has ended; no more can come";
            return Err(Error::invalid("context_ended", Some("context"), message));
        }
        open.ended = input.end;
        // Fails if the context is over, which was told.
        let _ = open.inputs.send(input).await;
        Ok(())
    }

    async fn cancel(&mut self, name: Option<String>) -> Result<(), Error> {
        let name: Arc<str> = ws_messages::context(name)?.into();
        if self.open(Some(name.to_string()))?.is_none() {
            return Ok(());
        }
        if let Some(open) = self.forget(&name) {
            open.live.store(false, Ordering::Release);
            open.task.abort();
            if !open.inputs.is_closed() {
                self.tell(&Outgoing::Cancelled { context: &name }).await;
            }
        }
        Ok(())
    }

    async fn refuse(&self, context: Option<&str>, error: ApiError) {
        self.tell(&Outgoing::error(context, &error)).await;
    }

    /// Fails if the connection is gone, which ends this too.
    async fn tell(&self, message: &Outgoing<'_>) {
        let _ = self.out.send(Frame::text(message.json())).await;
    }
}
