//! Logs what is odd about a recording that was archived all the same: once, when it is.

use crate::queue::StoredObject;
use crate::recording::Recording;

/// Maximum number of fields that are named.
const MAX_NAMES: usize = 10;
/// Longest part of a name that is shown: it is the provider's.
const MAX_NAME_CHARS: usize = 60;

pub(super) fn log(recording: &Recording, object: &StoredObject) {
    let id = recording.id;
    if let Some(found) = object.format_mismatch {
        tracing::warn!(
            recording.id = %id, media.declared_format = recording.media_format.as_deref(),
            media.found_format = found.as_str(),
            "{id}: the file is not of its declared format, archived as sent"
        );
    }
    if !recording.unread_fields.is_empty() {
        let fields = names(&recording.unread_fields);
        tracing::warn!(
            recording.id = %id, metadata.fields = %fields,
            "{id}: fields that cannot be read are kept as sent in metadata: {fields}"
        );
    }
    let rewritten = recording.metadata.rewritten_for_jsonb();
    if !rewritten.is_empty() {
        let fields = names(&rewritten);
        tracing::info!(
            recording.id = %id, metadata.fields = %fields,
            "{id}: fields that jsonb cannot hold as sent are kept as text: {fields}"
        );
    }
}

fn names(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMES);
    let shown: Vec<String> = shown
        .map(|name| name.chars().take(MAX_NAME_CHARS).collect())
        .collect();
    let others = names.len().saturating_sub(MAX_NAMES);
    match others {
        0 => shown.join(", "),
        _ => format!("{} and {others} more", shown.join(", ")),
    }
}
