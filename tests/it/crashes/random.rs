//! Two daemons on one queue, a source with faults, and one of the two killed again and again,
//! wherever it happens to be.

use std::env;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use recording_archiver::simulator::{SimulatedRecording, parse_fault};
use uuid::Uuid;

use crate::harness::binary::{Binary, Running};
use crate::harness::eventually;
use crate::harness::world::{MIB, PART, World};
use crate::seed::execute;

/// Each is made good by the archiver; none is the recording's fault.
const FAULTS: [&str; 6] = [
    "media-cut-after:70001x2",
    "media-status:503x2",
    "media-link-dies,after=1",
    "metadata-status:503",
    "metadata-reset",
    "media-chunked-cut-after:70001",
];

#[tokio::test]
async fn nothing_is_lost_and_nothing_doubled_by_ten_kills() {
    Run::of(30, 10).await;
}

/// For `.ci/kill-run`: takes minutes.
#[tokio::test]
#[ignore = "takes minutes"]
async fn nothing_is_lost_and_nothing_doubled_by_two_hundred_kills() {
    Run::of(300, 200).await;
}

struct Run {
    world: World,
    random: StdRng,
    ids: Vec<Uuid>,
}

impl Run {
    async fn of(recordings: usize, kills: usize) {
        let seed = env::var("KILL_SEED").map_or_else(|_| rand::random(), |it| it.parse().unwrap());
        println!("KILL_SEED={seed}");
        let began = Instant::now();
        let mut run = Self {
            world: World::s3().await,
            random: StdRng::seed_from_u64(seed),
            ids: Vec::new(),
        };
        for _ in 0..recordings {
            run.add().await;
        }
        let mut daemons = [run.daemon(), run.daemon()];
        for _ in 0..kills {
            // There is always something to be killed at.
            while run.unsettled().await < 10 {
                run.add().await;
            }
            let target = run.requests() + run.random.random_range(1..30);
            eventually("the daemons go on", || async {
                (run.requests() >= target).then_some(())
            })
            .await;
            let doomed = run.random.random_range(0..daemons.len());
            let dead = std::mem::replace(&mut daemons[doomed], run.daemon());
            run.bury(dead).await;
        }
        run.demand_all_archived().await;
        for daemon in daemons {
            daemon.signal(Signal::SIGTERM);
            daemon.ended().await.demand_code(0);
        }
        run.demand_nothing_lost_and_nothing_doubled(kills).await;
        println!("{} s", began.elapsed().as_secs());
    }

    fn daemon(&self) -> Running {
        Binary::of(&self.world)
            .with("RECORDING_ARCHIVER_WORKER_CONCURRENCY", "3")
            .with("RECORDING_ARCHIVER_WORKER_SCHEDULE", "* * * * * *")
            // Nobody is to be blamed for being killed.
            .with("RECORDING_ARCHIVER_WORKER_MAX_ATTEMPTS", "1000")
            .start(&["run"])
    }

    async fn add(&mut self) {
        let sizes = [100_000, 3 * MIB, PART + MIB, 3 * PART + 1];
        let size = sizes[self.random.random_range(0..sizes.len())];
        let id = self
            .world
            .add(SimulatedRecording::new(Uuid::new_v4(), size))
            .await;
        if self.random.random_range(0..3) == 0 {
            let fault = FAULTS[self.random.random_range(0..FAULTS.len())];
            let order = parse_fault(&format!("{id}={fault}")).unwrap();
            self.world.simulator.inject(id, order.fault, order.times);
        }
        self.ids.push(id);
    }

    /// How far the daemons are: requests that the store has seen.
    fn requests(&self) -> usize {
        self.world.s3_server().requests()
    }

    async fn unsettled(&self) -> i64 {
        let unsettled =
            "SELECT count(*) FROM archiver.recordings WHERE state IN ('pending', 'in_progress')";
        self.world.number(unsettled).await
    }

    /// Kills a daemon; its leases end, as they do when their time has come.
    async fn bury(&self, daemon: Running) {
        let holder = format!("%:{}", daemon.pid());
        daemon.killed().await;
        sqlx::query(
            "UPDATE archiver.recordings SET lease_expires_at = now() WHERE leased_by LIKE $1",
        )
        .bind(holder)
        .execute(&self.world.pool)
        .await
        .unwrap();
        self.end_all_waits().await;
    }

    async fn end_all_waits(&self) {
        let due = "UPDATE archiver.recordings SET next_attempt_at = now()
                    WHERE state = 'pending' AND next_attempt_at > now()";
        execute(&self.world.pool, due).await;
    }

    async fn demand_all_archived(&self) {
        for _ in 0..10 {
            self.end_all_waits().await;
            let settled = async {
                eventually("a recording more is settled", || async {
                    (self.unsettled().await == 0).then_some(())
                })
                .await;
            };
            if tokio::time::timeout(Duration::from_secs(20), settled)
                .await
                .is_ok()
            {
                return;
            }
        }
        panic!("{} recordings are left", self.unsettled().await);
    }

    async fn demand_nothing_lost_and_nothing_doubled(&self, kills: usize) {
        let world = &self.world;
        for id in &self.ids {
            world.demand_archived(*id).await;
            let attempts = world.attempts(*id).await;
            let archived = attempts.iter().filter(|attempt| {
                let outcome = attempt.outcome.as_deref();
                outcome == Some("archived") || outcome == Some("already_archived")
            });
            assert_eq!(archived.count(), 1, "{attempts:?}");
            assert!(
                attempts.iter().all(|it| it.outcome.is_some()),
                "{attempts:?}"
            );
        }
        let ids = i64::try_from(self.ids.len()).unwrap();
        let costs = "SELECT count(*) FROM archiver.cost_observations";
        assert_eq!(world.number(costs).await, ids, "one cost each");
        let lost = "SELECT count(*) FROM archiver.attempts WHERE outcome = 'lost'";
        let lost = world.number(lost).await;
        println!("{ids} recordings, {kills} kills, {lost} attempts lost");
        assert!(lost > 0, "no kill has met anything");
    }
}
