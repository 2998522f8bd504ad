//! Faults of every kind, in a share of all calls.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::faults::{Call, StoreFault};

/// What may befall any call.
const ANY: [StoreFault; 4] = [
    StoreFault::Refuse(503, "SlowDown"),
    StoreFault::Refuse(500, "InternalError"),
    StoreFault::Cut,
    StoreFault::LoseAnswer,
];

/// Draws by chance, and the same by the same seed.
#[derive(Debug)]
pub(super) struct Share {
    of_calls: f64,
    chance: StdRng,
    drawn: usize,
}

impl Share {
    pub(super) fn new(of_calls: f64, seed: u64) -> Self {
        Self {
            of_calls,
            chance: StdRng::seed_from_u64(seed),
            drawn: 0,
        }
    }

    pub(super) fn drawn(&self) -> usize {
        self.drawn
    }

    /// What this call meets, if anything.
    pub(super) fn draw(&mut self, call: Call) -> Option<StoreFault> {
        if !self.chance.random_bool(self.of_calls) {
            return None;
        }
        self.drawn += 1;
        let of_this_call: &[StoreFault] = match call {
            Call::Put => &[StoreFault::DamageInTransit],
            Call::PutPart => &[StoreFault::DamageInTransit, StoreFault::ForgetUpload],
            Call::Complete => &[
                StoreFault::Refuse(200, "InternalError"),
                StoreFault::AlterPart(1),
            ],
            _ => &[],
        };
        let kinds = [&ANY, of_this_call].concat();
        kinds.choose(&mut self.chance).cloned()
    }
}

#[test]
fn a_share_of_all_calls_meets_a_fault_and_the_same_by_the_same_seed() {
    let drawn = |share: f64, seed: u64| {
        let mut share = Share::new(share, seed);
        let faults: Vec<_> = (0..10_000)
            .map(|_| format!("{:?}", share.draw(Call::PutPart)))
            .collect();
        (share.drawn(), faults)
    };
    let (number, faults) = drawn(0.02, 1);
    assert!((150..250).contains(&number), "{number}");
    assert_eq!(drawn(0.02, 1), (number, faults.clone()));
    assert_ne!(drawn(0.02, 2).1, faults);
    assert_eq!(drawn(0.0, 1).0, 0);
    for kind in ["Refuse", "Cut", "LoseAnswer", "Damage", "Forget"] {
        assert!(faults.iter().any(|it| it.contains(kind)), "{kind}");
    }
}
