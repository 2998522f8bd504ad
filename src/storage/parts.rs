//! The store's plan for an object: in one request or in parts, and how large they are.

/// S3 allows no more parts than this.
const MAX_PARTS: u64 = 10_000;
const MIB: u64 = 1024 * 1024;

/// How an object is cut up on its way into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    /// Size of all parts but the last.
    pub part_bytes: u64,
    /// The object goes whole in a single PUT, if the store honours create-only writes.
    pub single: bool,
}

impl PartPlan {
    /// All parts but the last are equal (some stores insist), in whole MiB, and 10,000 always do.
    /// What fits into one part can go by a single PUT; what is of unknown size never does.
    pub(super) fn new(configured_bytes: u64, size_bytes: Option<u64>) -> Self {
        let needed = size_bytes.unwrap_or(0).div_ceil(MAX_PARTS);
        let part_bytes = configured_bytes.max(needed.div_ceil(MIB) * MIB);
        Self {
            part_bytes,
            single: size_bytes.is_some_and(|size| size <= part_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_always_do() {
        const TIB: u64 = 1024 * 1024 * MIB;
        for size in [1, 8 * MIB, 80_000 * MIB, 80_000 * MIB + 1, 5 * TIB] {
            let plan = PartPlan::new(8 * MIB, Some(size));
            assert!(size.div_ceil(plan.part_bytes) <= MAX_PARTS, "{size}");
            assert_eq!(plan.part_bytes % MIB, 0);
        }
    }

    #[test]
    fn what_fits_into_one_part_goes_whole() {
        let plan = |size| PartPlan::new(8 * MIB, size);
        assert!(plan(Some(0)).single && plan(Some(8 * MIB)).single);
        assert!(!plan(Some(8 * MIB + 1)).single && !plan(None).single);
        assert_eq!(plan(None).part_bytes, 8 * MIB);
    }
}
