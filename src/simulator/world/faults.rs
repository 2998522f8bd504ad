//! Answers for what goes wrong next: which fault a request meets, and what it leaves behind.

use uuid::Uuid;

use super::{
    super::{
        fault::{DeletionFault, Fault, MediaFault, MetadataFault, Schedule},
        link::ValidLink,
    },
    State, World,
};

impl World {
    /// False when the fault names a recording that is not there.
    pub(in crate::simulator) fn inject(
        &self,
        id: Option<Uuid>,
        fault: Fault,
        schedule: Schedule,
    ) -> bool {
        let mut state = self.state();
        let State {
            recordings,
            metadata_faults,
            media_faults,
            deletion_faults,
            ..
        } = &mut *state;
        let (metadata_faults, media_faults, deletion_faults) = match id {
            None => (metadata_faults, media_faults, deletion_faults),
            Some(id) => match recordings.get_mut(&id) {
                Some(held) => (
                    &mut held.metadata_faults,
                    &mut held.media_faults,
                    &mut held.deletion_faults,
                ),
                None => return false,
            },
        };
        match fault {
            Fault::Metadata(fault) => metadata_faults.push(fault, schedule),
            Fault::Media(fault) => media_faults.push(fault, schedule),
            Fault::Deletion(fault) => deletion_faults.push(fault, schedule),
        }
        true
    }

    pub(in crate::simulator) fn clear_faults(&self) {
        let mut state = self.state();
        state.metadata_faults.clear();
        state.media_faults.clear();
        state.deletion_faults.clear();
        for held in state.recordings.values_mut() {
            held.metadata_faults.clear();
            held.media_faults.clear();
            held.deletion_faults.clear();
        }
    }

    /// The fault this API request meets: the recording's own first, then the general one.
    pub(in crate::simulator) fn take_metadata_fault(
        &self,
        id: Option<Uuid>,
    ) -> Option<MetadataFault> {
        let applies = |fault: &MetadataFault| match id {
            Some(_) => fault.applies_to_one_recording(),
            None => fault.applies_to_listings(),
        };
        let mut state = self.state();
        let own = id
            .and_then(|id| state.recordings.get_mut(&id))
            .and_then(|held| held.metadata_faults.meet(None, applies));
        state.metadata_faults.meet(own, applies)
    }

    pub(in crate::simulator) fn take_deletion_fault(&self, id: Uuid) -> Option<DeletionFault> {
        let mut state = self.state();
        let own = state
            .recordings
            .get_mut(&id)
            .and_then(|held| held.deletion_faults.meet(None, |_| true));
        state.deletion_faults.meet(own, |_| true)
    }

    pub(in crate::simulator) fn take_media_fault(
        &self,
        id: Uuid,
        has_range: bool,
    ) -> Option<MediaFault> {
        let applies = |fault: &MediaFault| has_range || !fault.needs_range();
        let mut state = self.state();
        let own = state
            .recordings
            .get_mut(&id)
            .and_then(|held| held.media_faults.meet(None, applies));
        let fault = state.media_faults.meet(own, applies)?;
        match fault {
            MediaFault::LinkDies | MediaFault::BadRequestExpired => {
                state.epoch += 1;
                let epoch = state.epoch;
                if let Some(held) = state.recordings.get_mut(&id) {
                    held.oldest_living_epoch = epoch;
                }
            }
            MediaFault::EtagChanges => {
                if let Some(held) = state.recordings.get_mut(&id) {
                    held.etag_version += 1;
                }
            }
            MediaFault::MediaChanges => {
                if let Some(held) = state.recordings.get_mut(&id)
                    && let Err(error) = held.recording.encode_again()
                {
                    tracing::warn!(%error, recording.id = %id, "simulator: change media");
                }
            }
            _ => {}
        }
        Some(fault)
    }

    pub(in crate::simulator) fn expire_links(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.oldest_living_epoch = state.epoch;
    }

    /// True for a link that was killed before its time.
    pub(in crate::simulator) fn is_killed(&self, id: Uuid, link: &ValidLink) -> bool {
        let state = self.state();
        let oldest = state
            .recordings
            .get(&id)
            .map_or(0, |held| held.oldest_living_epoch);
        link.epoch < oldest.max(state.oldest_living_epoch)
    }
}
