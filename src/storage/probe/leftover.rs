//! What a process that was killed in the middle of probing left in the store.

use chrono::{DateTime, Utc};
use object_store::path::Path;

use crate::storage::error::StorageError;
use crate::storage::{Backend, Storage};

impl Storage {
    /// Deletes temporary objects and aborts temporary uploads that were begun before this time, and
    /// returns how many there were. Nothing is touched whose key a probe would not have made. A
    /// store that cannot list uploads is left to its own rules.
    pub async fn remove_old_probes(
        &self,
        begun_before: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let folder = self.probe_prefix();
        let mut removed = 0;
        let mut objects = self.inventory_under(folder.clone(), true);
        while let Some(object) = objects.next().await? {
            if object.written_at < begun_before
                && let Some(path) = probe_path(&folder, &object.key)
            {
                self.remove(&path).await?;
                removed += 1;
            }
        }
        let Backend::S3(s3) = &self.backend else {
            return Ok(removed);
        };
        for upload in s3.list_uploads(&folder).await? {
            if upload.initiated.is_some_and(|it| it < begun_before)
                && let Some(path) = probe_path(&folder, &upload.key)
            {
                s3.abort(&path, &upload.upload_id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// The path of a temporary object: `<folder><run>` or `<folder><run>/<name>`; `None` for any other
/// key, whoever listed it.
fn probe_path(folder: &str, key: &str) -> Option<Path> {
    let rest = key.strip_prefix(folder)?;
    let is_plain = |segment: &str| {
        let mut bytes = segment.bytes();
        !segment.is_empty() && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'-')
    };
    let is_ours = match rest.split_once('/') {
        Some((run, name)) => is_plain(run) && is_plain(name),
        None => is_plain(rest),
    };
    is_ours.then(|| Path::parse(key).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_a_probe_makes_are_taken_for_probes() {
        let folder = "video/.recording-archiver-probe/";
        let id = "c22d24f6-5a47-4597-9a23-c7d01e696b92";
        for (key, is_ours) in [
            (format!("{folder}{id}"), true),
            (format!("{folder}{id}/object"), true),
            (format!("{folder}{id}/part-size"), true),
            (format!("{folder}{id}/a/b"), false),
            (format!("{folder}{id}/"), false),
            (folder.to_owned(), false),
            (format!("{folder}notes.txt"), false),
            (format!("{folder}{id}.mp4"), false),
            (format!("other/{folder}{id}"), false),
            (format!(".recording-archiver-probe/{id}"), false),
            (format!("video2/.recording-archiver-probe/{id}"), false),
        ] {
            assert_eq!(probe_path(folder, &key).is_some(), is_ours, "{key}");
        }
    }
}
