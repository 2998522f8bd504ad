//! The bucket against the queue: two streams in the order of their keys, merged.

use std::collections::{BTreeMap, VecDeque};

use super::{Difference, DifferenceKind, Listener, ReconcileError, Reconciled, Reconciliation};
use crate::archive::confirm_store;
use crate::error::chain;
use crate::queue::{self, PlacedObject};
use crate::recording::RecordingId;
use crate::storage::{Listed, MANIFEST_SUFFIX, ObjectKey, uuids_in};

/// The listener hears of the progress after so many objects.
const TOLD_EVERY: u64 = 1000;

/// What is known of a manifest before the listing comes to its key. An object's key sorts before
/// its manifest's, and next to nothing comes between the two.
#[derive(Debug)]
enum Awaited {
    /// Its object is archived and there.
    Of(PlacedObject),
    /// Its object was told of already, or is somebody's work of this moment.
    Explained,
}

/// The archived rows of this store in the order of their keys.
struct Rows<'a> {
    reconciliation: &'a Reconciliation<'a>,
    read: VecDeque<PlacedObject>,
    last_key: String,
    ended: bool,
}

impl Reconciliation<'_> {
    /// The objects and manifests in the bucket against the archived rows.
    pub async fn bucket(
        &self,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        // A directory that is not mounted shows when an object is missing there.
        if let Err(error) = confirm_store(self.pool, self.storage).await {
            tracing::debug!("the store is not confirmed: {}", chain(&error));
        }
        let mut inventory = self.storage.inventory();
        let mut rows = Rows::new(self);
        let mut awaited: BTreeMap<String, Awaited> = BTreeMap::new();
        let mut listed = inventory.next().await?;
        let mut row = rows.next().await?;
        loop {
            if so_far.stored.is_multiple_of(TOLD_EVERY) {
                told.so_far(so_far);
            }
            self.miss_manifests(listed.as_ref(), &mut awaited, so_far, told)
                .await?;
            match (listed.take(), row.take()) {
                (None, None) => return Ok(()),
                (found, Some(expected))
                    if found.as_ref().is_none_or(|it| expected.object_key < it.key) =>
                {
                    so_far.archived += 1;
                    self.miss_object(expected, &mut awaited, so_far, told)
                        .await?;
                    listed = found;
                    row = rows.next().await?;
                }
                (Some(found), Some(expected)) if found.key == expected.object_key => {
                    so_far.archived += 1;
                    so_far.stored += 1;
                    self.compare(&found, expected, &mut awaited, so_far, told)
                        .await?;
                    listed = inventory.next().await?;
                    row = rows.next().await?;
                }
                (Some(found), expected) => {
                    so_far.stored += 1;
                    self.explain(found, &mut awaited, so_far, told).await?;
                    listed = inventory.next().await?;
                    row = expected;
                }
                (None, Some(_)) => unreachable!("the second arm takes every row at the end"),
            }
        }
    }

    /// A row and its object.
    async fn compare(
        &self,
        found: &Listed,
        expected: PlacedObject,
        awaited: &mut BTreeMap<String, Awaited>,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        let manifest = manifest_of(&expected.object_key);
        if i64::try_from(found.size_bytes) != Ok(expected.size_bytes) {
            let detail = format!(
                "it has {} bytes, archived were {}",
                found.size_bytes, expected.size_bytes
            );
            let difference = Difference::of_object(
                DifferenceKind::SizeDiffers,
                Some(expected.recording_id),
                expected.object_key.clone(),
                detail,
            );
            self.tell(difference, so_far, told).await?;
        }
        awaited.insert(manifest, Awaited::Of(expected));
        Ok(())
    }

    /// A row without its object.
    async fn miss_object(
        &self,
        expected: PlacedObject,
        awaited: &mut BTreeMap<String, Awaited>,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        awaited.insert(manifest_of(&expected.object_key), Awaited::Explained);
        // It may have been archived after the listing had passed its place.
        if let Ok(key) = ObjectKey::from_stored(expected.object_key.clone())
            && self.storage.size_of(&key).await?.is_some()
        {
            return Ok(());
        }
        // A directory that is not mounted looks as if every object were gone.
        self.storage.demand_mounted().await?;
        let difference = Difference::of_object(
            DifferenceKind::ObjectGone,
            Some(expected.recording_id),
            expected.object_key,
            String::new(),
        );
        self.tell(difference, so_far, told).await
    }

    /// Something in the bucket that no archived row stands beside.
    async fn explain(
        &self,
        found: Listed,
        awaited: &mut BTreeMap<String, Awaited>,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        if awaited.remove(&found.key).is_some() {
            return Ok(());
        }
        let object = ObjectKey::of_manifest(&found.key);
        let key = object
            .as_ref()
            .map_or(found.key.as_str(), ObjectKey::as_str);
        let stated = match object
            .clone()
            .map_or_else(|| ObjectKey::from_stored(found.key.clone()).ok(), Some)
        {
            Some(key) => self
                .storage
                .manifest(&key)
                .await?
                .map(|it| it.recording_id()),
            None => None,
        };
        // By the default layout, the last ID in a key is the recording's.
        let named = stated.or_else(|| uuids_in(key).last());
        if object.is_none() {
            awaited.insert(manifest_of(&found.key), Awaited::Explained);
        }
        if self.is_accounted_for(key, named).await? {
            return Ok(());
        }
        let kind = match &object {
            None => DifferenceKind::ObjectWithoutRow,
            // It may have come after the listing had passed its place.
            Some(key) if self.storage.size_of(key).await?.is_some() => return Ok(()),
            Some(_) => DifferenceKind::ManifestWithoutObject,
        };
        let size = bytesize::ByteSize(found.size_bytes).display().iec();
        let detail = match (object.is_some(), stated.is_some()) {
            (true, _) => String::new(),
            (false, true) => format!("{size}, with a manifest"),
            (false, false) => format!("{size}, without a manifest"),
        };
        let id = named.map(RecordingId::from);
        let difference = Difference::of_object(kind, id, found.key, detail);
        self.tell(difference, so_far, told).await
    }

    /// The listing has come to `at`: manifests that would stand before it are not there.
    async fn miss_manifests(
        &self,
        at: Option<&Listed>,
        awaited: &mut BTreeMap<String, Awaited>,
        so_far: &mut Reconciled,
        told: &mut impl Listener,
    ) -> Result<(), ReconcileError> {
        while let Some(first) = awaited.first_entry() {
            if at.is_some_and(|at| *first.key() >= at.key) {
                break;
            }
            let Awaited::Of(object) = first.remove() else {
                continue;
            };
            // It may have been written after the listing had passed its place.
            if let Ok(key) = ObjectKey::from_stored(object.object_key.clone())
                && self.storage.manifest(&key).await?.is_some()
            {
                continue;
            }
            let difference = Difference::of_object(
                DifferenceKind::ObjectWithoutManifest,
                Some(object.recording_id),
                object.object_key,
                String::new(),
            );
            self.tell(difference, so_far, told).await?;
        }
        Ok(())
    }
}

impl<'a> Rows<'a> {
    const fn new(reconciliation: &'a Reconciliation<'a>) -> Self {
        Self {
            reconciliation,
            read: VecDeque::new(),
            last_key: String::new(),
            ended: false,
        }
    }

    async fn next(&mut self) -> Result<Option<PlacedObject>, ReconcileError> {
        let Reconciliation { pool, storage, .. } = self.reconciliation;
        loop {
            while let Some(row) = self.read.pop_front() {
                // Those of other stores are for whoever archives there.
                let here = ObjectKey::from_stored(row.object_key.clone())
                    .is_ok_and(|key| storage.is_at(&key, &row.object_url));
                if here {
                    return Ok(Some(row));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.read = queue::archived_after(pool, &self.last_key).await?.into();
            match self.read.back() {
                Some(last) => self.last_key.clone_from(&last.object_key),
                None => self.ended = true,
            }
        }
    }
}

fn manifest_of(object_key: &str) -> String {
    format!("{object_key}{MANIFEST_SUFFIX}")
}
