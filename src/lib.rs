//! Archives SignalWire video room recordings into S3-compatible storage, proves each one, and
//! keeps status and cost in Postgres.
//!
//! # The promise
//!
//! A recording is called archived only after the store has proven that it holds the very bytes
//! the source sent; work is at-least-once, its result is the same however often it runs; no crash
//! loses a recording, a byte of an archived file or a cent.
//!
//! # The life of a recording
//!
//! ```text
//! enqueue ─▶ claim ─▶ metadata ─▶ plan ─▶ fetch ═▶ hash ═▶ upload ─▶ publish ─▶ prove ─▶ manifest ─▶ settle + ledger
//! ```
//!
//! 1. *enqueue*: an ID becomes a row. Anybody may insert one ([`queue`], `migrations/`); what nobody
//!    did is found in the provider's list ([`upkeep::Discovery`]).
//! 2. *claim*: a worker takes the row under a lease with a token ([`queue::Queue::claim_due`]).
//!    Periodic chores are shared among hosts the same way ([`queue::Queue::in_turn`]).
//! 3. *metadata*: the API is asked afresh, which also signs a fresh link
//!    ([`signalwire::SignalWire::recording`]).
//! 4. *plan, fetch, hash, upload*: the first answer tells size and validator; parallel ranges fill
//!    buffers of one budget ([`memory`]), their CRC64NVME taken as they come off the wire, and come
//!    out in order ([`transfer`]), are hashed by SHA-256 on a thread of their own ([`digest`]) and
//!    sent as parts ([`storage::Upload`]), which a store that verifies holds against that CRC. What
//!    breaks is gone on with from its last good byte; how far it got is written down
//!    ([`checkpoint`]), so that another process can go on after a kill.
//! 5. *publish*: the parts are held against the bytes as they were read; then the object appears
//!    under its key, unless something stands there.
//! 6. *prove*: by the whole object's checksum or the parts' where the store was probed to refuse
//!    wrong ones, else by reading back ([`storage::Evidence`]). Which it will be is said at start, and
//!    what the store was seen to do is on record ([`upkeep::Acquainted`]). An object that fails its proof is
//!    removed.
//! 7. *manifest*: a sidecar lets the archive explain itself ([`storage::Manifest`]).
//! 8. *settle*: row, attempt and ledger change in one transaction that names the lease token.
//!
//! [`archive`] tells this story on one screen; the daemon and `archive --id` both call it.
//!
//! Archived objects are read again by and by, and damaged ones archived anew ([`upkeep`]); the way
//! back, from object to file, is [`restore`].
//!
//! A row's states: `pending → in_progress → archived | failed` ([`queue::JobState`]). A retry is
//! `pending` with a later `next_attempt_at`. What follows from each error is one exhaustive match
//! ([`error::ErrorKind::disposition`]).
//!
//! # The house
//!
//! Data flows one way through stations that do not know each other. Who may import whom:
//!
//! | floor | modules | may import |
//! |---|---|---|
//! | doors | [`cli`], [`daemon`] | everything below |
//! | stories | [`archive`], [`upkeep`], [`restore`] | stations and ground |
//! | stations | [`queue`], [`signalwire`], [`transfer`], [`storage`], [`finance`], [`database`] | ground only |
//! | ground | [`recording`], [`money`], [`digest`], [`signed_url`], [`error`], [`retry`], [`checkpoint`], [`memory`], [`bandwidth`], [`progress`], [`printable`], [`human`], [`config`], [`core_dumps`], [`open_files`], [`crash`], [`deadline`] | ground only |
//!
//! [`metrics`] is filled by the doors from what stories report and stations show. How far a running
//! attempt is stands in its row of `archiver.attempts`, so that `status` can tell from another
//! process ([`progress::HowFar`]).
//!
//! [`simulator`] stands apart: a SignalWire for tests, the demo and trying out; nothing of the
//! archiver knows it but the commands that start it. [`config`] is read by constructors only, and
//! borrows one value from a station: the layout of keys ([`storage::Layout`]). What SIGHUP may
//! change is handed to the running parts by [`cli`], as one value ([`config::Reloadable`]); each
//! key says whether it is among it.
//!
//! # Guarantees, and what they rest on
//!
//! - *No recording is lost*: a row leaves `in_progress` by a verdict or by the end of its lease. A
//!   crash at any place of the story is made good by the next attempt ([`crash`] names the places).
//! - *Nobody is held up*: first tries go before old retries, which get every fourth turn, and a claim
//!   costs the same however deep the queue is ([`queue::Cursor`]).
//! - *A late worker changes nothing*: every settling statement names recording and token and must
//!   touch one row; the lease is confirmed right before an object is published; an upload belongs
//!   to the lease on its record.
//! - *No byte is joined with another version's*: answers are joined only under one strong validator
//!   and one size, and the parts' checksums must combine to that of the bytes as they were read.
//! - *Nothing is overwritten*: the key depends only on the recording; an equal object is kept, a
//!   different one is `object_conflict`.
//! - *Memory is bounded* by `transfer.memory_limit`, not by file size or number of recordings; who
//!   waits longest for a buffer is served first.
//! - *Nothing uncertain is deleted at the source*: off unless configured and asked for; all that a
//!   deletion rests on is looked at right before it, and stands in the audit ([`upkeep::Retirer`]).
//! - *Money is exact*: from the JSON token to NUMERIC by decimal text ([`money::Usd`]).
//! - *Sums are those of the rows*: triggers add to them, in whatever transaction changes a recording,
//!   and nobody waits for anybody (`migrations/0009_rollup.sql`); no report of a month and no figure of
//!   the archive reads all rows.
//! - *What comes from outside is bounded*: answers of the API and the store in bytes, fields and entries,
//!   links in length and in where they lead; [`fuzzing`] is the door to their readers for tests.
//! - *Links and tokens stay secret*: [`signed_url::SignedUrl`] shows its host only, and metadata is
//!   stored without the link ([`recording::Metadata::without_link`]).

pub mod archive;
pub mod bandwidth;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod core_dumps;
pub mod crash;
pub mod daemon;
pub mod database;
pub mod deadline;
pub mod digest;
pub mod error;
pub mod finance;
#[doc(hidden)]
pub mod fuzzing;
pub mod human;
pub mod memory;
pub mod metrics;
pub mod money;
pub mod open_files;
pub mod printable;
pub mod progress;
pub mod queue;
pub mod recording;
pub mod restore;
pub mod retry;
pub mod signalwire;
pub mod signed_url;
pub mod simulator;
pub mod storage;
pub mod telemetry;
pub mod transfer;
pub mod upkeep;
