//! A job whose text is still being written: its script grows, until it is closed. Called by the task that owns the text.

use std::sync::Arc;

use super::{Heard, Job, Line, Link};
use crate::{error::Error, scheduler::RequestId};

impl Job {
    /// Adds lines to an open job.
    ///
    /// # Errors
    /// What ended it.
    pub fn extend(&self, lines: Vec<Line>) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(Err(error)) = &state.end {
            return Err(error.clone());
        }
        let mut all = self.lines.write();
        all.extend(lines.into_iter().map(Arc::new));
        state.heard.resize(all.len(), Heard::default());
        Ok(())
    }

    /// The open request that `link` has of this job, which is told of further segments of it.
    pub fn grow_part(&self, link: &Arc<Link>, segments: &[usize]) -> Option<RequestId> {
        let mut parts = self.parts.lock();
        let part = parts.iter_mut().find(|part| part.open && Arc::ptr_eq(&part.link, link))?;
        part.segments.extend_from_slice(segments);
        Some(part.request)
    }

    /// No more lines will come.
    pub fn close(&self) {
        let parts: Vec<_> = {
            let mut parts = self.parts.lock();
            let open = parts.iter_mut().filter(|part| part.open);
            open.map(|part| {
                part.open = false;
                (Arc::clone(&part.link), part.request)
            })
            .collect()
        };
        let complete = {
            let mut state = self.state.lock();
            state.open = false;
            let complete = state.end.is_none() && state.segment_ends.len() == self.segments();
            if complete {
                state.finish();
                state.cut();
                let chunks = state.let_go + state.chunks.len();
                // What was held back belongs to the last segment.
                state.segment_ends.last_mut().into_iter().for_each(|end| *end = chunks);
                state.end = Some(Ok(()));
            }
            complete
        };
        for (link, request) in parts {
            link.finish(request);
        }
        if complete {
            self.changed.send_replace(());
            self.shelf.landed(self);
        }
    }
}
