//! Requests that were accepted and get more segments, as their text is still being written.

use super::Link;
use crate::{error::Error, scheduler::RequestId};

impl Link {
    /// Queues further segments of an open request; nothing, if it has ended meanwhile.
    ///
    /// # Errors
    /// `Busy`.
    pub fn extend(&self, request: RequestId, segments: &[usize]) -> Result<(), Error> {
        {
            let mut guard = self.core.lock();
            let core = &mut *guard;
            let (Some(scheduler), Some((task, left))) = (core.scheduler.as_mut(), core.tasks.get_mut(&request)) else {
                return Ok(());
            };
            let work: Vec<_> = segments.iter().map(|index| task.job.line(*index).work()).collect();
            let extended = scheduler.extend(self.now(), request, &work);
            extended.map_err(|full| Error::Busy { retry_after: full.retry_after })?;
            task.segments.extend_from_slice(segments);
            *left += segments.len();
        }
        self.pump();
        Ok(())
    }

    /// No further segments will come.
    pub fn finish(&self, request: RequestId) {
        let mut guard = self.core.lock();
        let core = &mut *guard;
        let Some((task, left)) = core.tasks.get_mut(&request) else { return };
        task.open = false;
        if *left == 0 {
            core.tasks.remove(&request);
        }
        if let Some(scheduler) = core.scheduler.as_mut() {
            scheduler.close(request);
        }
    }
}
