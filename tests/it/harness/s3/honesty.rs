//! What a store may claim and not do.

use s3s::{S3Result, s3_error};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What S3 itself shows of a listing at once.
const PAGE: usize = 1000;

/// Of S3: 5 GiB.
const LARGEST_PART: u64 = 5 * 1024 * 1024 * 1024;

/// In what the store is honest; at first in everything.
#[derive(Debug)]
pub(super) struct Honesty {
    pub(super) part_checksums: Switch,
    pub(super) create_only: Switch,
    pub(super) object_checksum: Switch,
    pub(super) object_size: Switch,
    pub(super) returns_checksums: Switch,
    pub(super) lists_parts: Switch,
    pub(super) lists_by_prefix: Switch,
    pub(super) put_checksums: Switch,
    pub(super) sha256: Switch,
    pub(super) keeps_metadata: Switch,
    pub(super) takes_bare_bodies: Switch,
    pub(super) says_where_lists_go_on: Switch,
    pub(super) list_prefixes: Switch,
    pub(super) list_markers: Switch,
    page: AtomicUsize,
    largest_part: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Switch(AtomicBool);

impl Switch {
    const fn on() -> Self {
        Self(AtomicBool::new(true))
    }

    pub(super) fn set(&self, on: bool) {
        self.0.store(on, Ordering::SeqCst);
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Honesty {
    /// As a bucket with Object Lock says it, of a PUT or a part.
    pub(super) fn demand_checksum(&self, of: &str, has_any: bool) -> S3Result<()> {
        if has_any || self.takes_bare_bodies.is_on() {
            return Ok(());
        }
        Err(s3_error!(
            InvalidRequest,
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put {of} requests with \
             Object Lock parameters"
        ))
    }

    /// As a store says it, or a proxy that lets no larger body through.
    pub(super) fn demand_small_enough(&self, part_bytes: u64) -> S3Result<()> {
        if part_bytes <= self.largest_part.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(s3_error!(EntityTooLarge, "no part may be as large"))
    }

    pub(super) fn set_largest_part(&self, bytes: u64) {
        self.largest_part.store(bytes, Ordering::SeqCst);
    }

    pub(super) fn set_page(&self, parts: usize) {
        self.page.store(parts, Ordering::SeqCst);
    }

    pub(super) fn page(&self) -> usize {
        self.page.load(Ordering::SeqCst)
    }
}

impl Default for Honesty {
    fn default() -> Self {
        Self {
            part_checksums: Switch::on(),
            create_only: Switch::on(),
            object_checksum: Switch::on(),
            object_size: Switch::on(),
            returns_checksums: Switch::on(),
            lists_parts: Switch::on(),
            lists_by_prefix: Switch::on(),
            put_checksums: Switch::on(),
            sha256: Switch::on(),
            keeps_metadata: Switch::on(),
            takes_bare_bodies: Switch::on(),
            says_where_lists_go_on: Switch::on(),
            list_prefixes: Switch::on(),
            list_markers: Switch::on(),
            page: AtomicUsize::new(PAGE),
            largest_part: AtomicU64::new(LARGEST_PART),
        }
    }
}
