//! Whether the engines that run take what a voice tells them, asked before the voice is one of the library's.

use std::sync::Arc;

use super::{Speech, route::can_speak_as};
use crate::{error::Error, voices::Voice};

impl Speech {
    /// Prepares the voice with each loaded engine that it has a table for. Of engines that are not loaded nothing is
    /// known, and what fails may succeed later: both are no reason to refuse it.
    ///
    /// # Errors
    /// What an engine has against its table.
    pub async fn check_hints(&self, voice: &Arc<Voice>) -> Result<(), Error> {
        for link in self.links.iter().filter(|link| voice.hints.contains_key(&link.name)) {
            if !link.info().is_ok_and(|info| can_speak_as(&info, voice)) {
                continue;
            }
            if let Err(Error::Invalid { message, .. }) = link.conditioning(voice).await {
                return Err(Error::invalid("invalid_voice", Some("engine"), message));
            }
        }
        Ok(())
    }
}
