//! What the provider says of recordings: of a claimed one when it is asked, of all that it lists.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Answered, Claim, Queue, QueueError, exactly_one};
use crate::database::storable;
use crate::money::Usd;
use crate::recording::{Recording, RecordingId, RecordingStatus};

/// What came of writing down what was listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// Unknown until now, and queued.
    pub queued: Vec<RecordingId>,
    /// Known, and described anew.
    pub changed: Vec<RecordingId>,
}

/// Writes down what the provider says of recordings of this project: unknown ones are queued with
/// it, known ones described by it if it is news. Of one that is listed twice, the last counts. A
/// recording that was not ready when it was tried is due as soon as it is listed as completed.
/// What was heard after `asked_at`, by the database's clock, is not written over.
///
/// Afterwards the transaction holds the rows of all of them.
pub async fn note_listed(
    connection: &mut PgConnection,
    project_id: &str,
    recordings: &[Recording],
    asked_at: DateTime<Utc>,
) -> Result<Noted, QueueError> {
    // One row cannot be written twice in one statement; the order keeps two of us from a deadlock.
    let distinct: BTreeMap<RecordingId, &Recording> =
        recordings.iter().map(|it| (it.id, it)).collect();
    let listed = || distinct.values();
    let ids: Vec<Uuid> = listed().map(|it| it.id.uuid()).collect();
    let sessions: Vec<Option<Uuid>> = listed().map(|it| it.room_session_id).collect();
    let statuses: Vec<_> = listed().map(|it| status_word(it)).collect();
    let started: Vec<_> = listed().map(|it| it.started_at).collect();
    let finished: Vec<_> = listed().map(|it| it.finished_at).collect();
    let created: Vec<_> = listed().map(|it| it.created_at).collect();
    let updated: Vec<_> = listed().map(|it| it.updated_at).collect();
    let durations: Vec<_> = listed().map(|it| it.duration_secs).collect();
    let sizes: Vec<_> = listed().map(|it| declared_size(it)).collect();
    let formats: Vec<Option<String>> = listed()
        .map(|it| it.media_format.as_deref().map(storable))
        .collect();
    let metadata: Vec<String> = listed().map(|it| it.metadata.to_jsonb_text()).collect();
    let rows = sqlx::query!(
        r#"-- queue::note_listed
        INSERT INTO archiver.recordings AS r
               (recording_id, project_id, room_session_id, recording_status, started_at,
                finished_at, created_at, updated_at, duration_secs, declared_size_bytes,
                media_format, metadata, cost_asked_at)
        SELECT l.recording_id, $1, l.session, l.status, l.started, l.finished, l.created,
               l.updated, l.duration, l.size, l.format, l.metadata::jsonb, $13
          FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                      $7::timestamptz[], $8::timestamptz[], $9::bigint[], $10::bigint[],
                      $11::text[], $12::text[])
                   AS l(recording_id, session, status, started, finished, created, updated,
                        duration, size, format, metadata)
         ORDER BY l.recording_id
            ON CONFLICT (recording_id) DO UPDATE
           SET project_id = excluded.project_id,
               room_session_id = coalesce(excluded.room_session_id, r.room_session_id),
               recording_status = coalesce(excluded.recording_status, r.recording_status),
               started_at = coalesce(excluded.started_at, r.started_at),
               finished_at = coalesce(excluded.finished_at, r.finished_at),
               created_at = coalesce(excluded.created_at, r.created_at),
               updated_at = coalesce(excluded.updated_at, r.updated_at),
               duration_secs = coalesce(excluded.duration_secs, r.duration_secs),
               declared_size_bytes = coalesce(excluded.declared_size_bytes, r.declared_size_bytes),
               media_format = coalesce(excluded.media_format, r.media_format),
               metadata = coalesce(excluded.metadata, r.metadata),
               cost_asked_at = excluded.cost_asked_at,
               next_attempt_at = CASE WHEN r.state = 'pending' AND r.error_kind = 'not_ready'
                                           AND excluded.recording_status = 'completed'
                                      THEN least(r.next_attempt_at, now())
                                      ELSE r.next_attempt_at END,
               source_missing_since = NULL, source_deleted_at = NULL
         WHERE (r.project_id = excluded.project_id
                -- Who holds one that is nobody's yet may be about to hand it on.
                OR r.project_id IS NULL AND r.state <> 'in_progress')
           -- A list may be older than what an attempt was told meanwhile.
           AND (r.project_id IS NULL OR r.cost_asked_at IS NULL OR r.cost_asked_at <= $13)
           AND (r.source_deleted_at IS NULL OR r.source_deleted_at < $13)
           AND (r.updated_at IS NULL OR excluded.updated_at IS NULL
                OR r.updated_at <= excluded.updated_at)
           AND (r.project_id IS NULL OR r.source_missing_since IS NOT NULL
                OR r.source_deleted_at IS NOT NULL
                OR coalesce(excluded.recording_status, r.recording_status)
                   IS DISTINCT FROM r.recording_status
                OR coalesce(excluded.updated_at, r.updated_at) IS DISTINCT FROM r.updated_at
                OR coalesce(excluded.finished_at, r.finished_at) IS DISTINCT FROM r.finished_at
                OR coalesce(excluded.declared_size_bytes, r.declared_size_bytes)
                   IS DISTINCT FROM r.declared_size_bytes
                OR coalesce(excluded.duration_secs, r.duration_secs)
                   IS DISTINCT FROM r.duration_secs
                OR excluded.metadata->'cost_in_dollars' IS DISTINCT FROM r.metadata->'cost_in_dollars')
     RETURNING recording_id, xmax = 0 AS "is_new!""#,
        project_id,
        &ids,
        &sessions as &[Option<Uuid>],
        &statuses as &[Option<String>],
        &started as &[Option<DateTime<Utc>>],
        &finished as &[Option<DateTime<Utc>>],
        &created as &[Option<DateTime<Utc>>],
        &updated as &[Option<DateTime<Utc>>],
        &durations as &[Option<i64>],
        &sizes as &[Option<i64>],
        &formats as &[Option<String>],
        &metadata,
        asked_at,
    )
    .fetch_all(connection)
    .answered("write down what is listed")
    .await?;
    let (new, known): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_new);
    Ok(Noted {
        queued: new.into_iter().map(|row| row.recording_id.into()).collect(),
        changed: known
            .into_iter()
            .map(|row| row.recording_id.into())
            .collect(),
    })
}

/// What the provider said of a recording when it was asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    pub recording: &'a Recording,
    /// By the database's clock, before the provider said that.
    pub asked_at: Option<DateTime<Utc>>,
    /// As the ledger wants it on record.
    pub cost: Option<StatedCost>,
}

/// A cost as the row of a recording keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedCost {
    pub cost: Usd,
    pub observed_at: DateTime<Utc>,
    /// Since when it is this cost.
    pub changed_at: DateTime<Utc>,
}

/// The statement that writes down what the provider said of a claimed recording, and that it is
/// this project's, with `$more` columns beside. What the provider leaves out this time stays as it
/// was known, and so does all that somebody has heard after `asked_at`: a transfer may take hours.
///
/// One statement for all, because each one writes a row of its own, with its index entries, and
/// counts it anew for finance. Its arguments are `$1` to `$17`, those of `$more` follow.
macro_rules! update_as_heard {
    ($name:literal, $more:literal, $queue:expr, $claim:expr, $heard:expr $(, $argument:expr)* $(,)?) => {{
        let heard: Option<&$crate::queue::Heard<'_>> = $heard;
        let recording = heard.map(|it| it.recording);
        let cost = heard.and_then(|it| it.cost);
        sqlx::query!(
            "-- queue::" + $name + r#"
            UPDATE archiver.recordings r
               SET project_id = coalesce($3, r.project_id),
                   room_session_id = coalesce(CASE WHEN news THEN $4::uuid END, r.room_session_id),
                   recording_status = coalesce(CASE WHEN news THEN $5::text END, r.recording_status),
                   started_at = coalesce(CASE WHEN news THEN $6::timestamptz END, r.started_at),
                   finished_at = coalesce(CASE WHEN news THEN $7::timestamptz END, r.finished_at),
                   created_at = coalesce(CASE WHEN news THEN $8::timestamptz END, r.created_at),
                   updated_at = coalesce(CASE WHEN news THEN $9::timestamptz END, r.updated_at),
                   duration_secs = coalesce(CASE WHEN news THEN $10::bigint END, r.duration_secs),
                   declared_size_bytes =
                       coalesce(CASE WHEN news THEN $11::bigint END, r.declared_size_bytes),
                   media_format = coalesce(CASE WHEN news THEN $12::text END, r.media_format),
                   metadata = coalesce(CASE WHEN news THEN $13::text::jsonb END, r.metadata),
                   source_missing_since = CASE WHEN $3 IS NULL THEN r.source_missing_since END,
                   source_deleted_at = CASE WHEN $3 IS NULL THEN r.source_deleted_at END,
                   cost_usd = coalesce($15::text::numeric, r.cost_usd),
                   cost_observed_at = coalesce($16::timestamptz, r.cost_observed_at),
                   cost_changed_at = coalesce($17::timestamptz, r.cost_changed_at),
                   cost_asked_at = greatest(r.cost_asked_at, least($14::timestamptz, now()), $16)"# + $more + r#"
              FROM (SELECT $3::text IS NOT NULL AND coalesce(cost_asked_at <= $14, true) AS news
                      FROM archiver.recordings WHERE recording_id = $1) known
             WHERE r.recording_id = $1 AND r.lease_token = $2 AND r.state = 'in_progress'"#,
            $claim.recording_id().uuid(),
            $claim.lease_token(),
            heard.map(|_| $queue.project_id()),
            recording.and_then(|it| it.room_session_id),
            recording.and_then($crate::queue::described::status_word),
            recording.and_then(|it| it.started_at),
            recording.and_then(|it| it.finished_at),
            recording.and_then(|it| it.created_at),
            recording.and_then(|it| it.updated_at),
            recording.and_then(|it| it.duration_secs),
            recording.and_then($crate::queue::described::declared_size),
            recording.and_then(|it| it.media_format.as_deref().map($crate::database::storable)),
            recording.map(|it| it.metadata.to_jsonb_text()),
            heard.and_then(|it| it.asked_at),
            cost.map(|it| it.cost.to_string()),
            cost.map(|it| it.observed_at),
            cost.map(|it| it.changed_at),
            $($argument),*
        )
    }};
}
pub(super) use update_as_heard;

impl Queue {
    /// Writes down what the provider says of the recording now. What it leaves out this time stays
    /// as it was known, and so does all that somebody has heard after it was asked.
    pub async fn describe(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        heard: &Heard<'_>,
    ) -> Result<(), QueueError> {
        let result = update_as_heard!("describe", "", self, claim, Some(heard))
            .execute(connection)
            .answered("describe the recording")
            .await?;
        exactly_one(&result)
    }
}

pub(super) fn status_word(recording: &Recording) -> Option<String> {
    let status = recording.status.as_ref();
    status.map(RecordingStatus::as_str).map(storable)
}

pub(super) fn declared_size(recording: &Recording) -> Option<i64> {
    let size = recording.declared_size_bytes?;
    i64::try_from(size).ok()
}
