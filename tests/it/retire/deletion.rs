//! DELETE itself: what is answered, what is lost, and a process that dies over it.

use std::collections::BTreeSet;

use recording_archiver::simulator::{fault_spellings, parse_fault};

use super::{
    DAYS, deletions_asked, enabled, is_at_provider, is_marked, outcomes, retirable, retire_one,
};
use crate::harness::eventually;
use crate::harness::world::World;
use crate::seed::execute;

/// A fault of DELETE, the exit code, the audit's outcome, and whether the provider still has it.
const TABLE: [(&str, i32, &str, bool); 9] = [
    ("deletion-status:500", 1, "refused", true),
    // A gateway that gave up waiting.
    ("deletion-status:504", 75, "open", true),
    ("deletion-status:422", 1, "refused", true),
    ("deletion-status:401", 2, "refused", true),
    ("deletion-status:404", 0, "gone", true),
    ("deletion-throttled", 75, "refused", true),
    ("deletion-html", 75, "open", true),
    ("deletion-reset", 75, "open", true),
    ("deletion-answer-lost", 0, "gone", false),
];

#[tokio::test]
async fn every_answer_to_delete_has_its_outcome() {
    let name = |spelling: &str| {
        let end = spelling.find([':', '[']).unwrap_or(spelling.len());
        spelling[..end].to_owned()
    };
    let known: BTreeSet<String> = fault_spellings().iter().map(|it| name(it)).collect();
    let known = known.into_iter().filter(|it| it.starts_with("deletion-"));
    let tried = TABLE.iter().map(|(spelling, ..)| name(spelling));
    // A test of its own, below.
    let tried: BTreeSet<String> = tried.chain(["deletion-hang".to_owned()]).collect();
    assert_eq!(known.collect::<BTreeSet<_>>(), tried);

    let world = World::local().await;
    for (spelling, code, outcome, stays) in TABLE {
        let id = retirable(&world).await;
        // Whoever is told 404 by a lying provider believes it; nothing else is taken for it.
        let order = parse_fault(&format!("{id}={spelling}")).unwrap();
        world.simulator.inject(id, order.fault, order.times);
        let asked = deletions_asked(&world);
        let ended = retire_one(&world, id).await;
        let about = format!("{spelling}: {ended:?}");
        assert_eq!(ended.code, Some(code), "{about}");
        assert_eq!(outcomes(&world, id).await, [outcome], "{about}");
        assert_eq!(is_at_provider(&world, id), stays, "{about}");
        assert_eq!(is_marked(&world, id).await, outcome == "gone", "{about}");
        assert_eq!(deletions_asked(&world), asked + 1, "{about}");
        if outcome == "open" {
            assert!(
                ended.stderr.contains("not known whether it is gone"),
                "{about}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_dead_process_was_about_to_delete_is_taken_over() {
    let world = World::local().await;
    let id = retirable(&world).await;
    let order = parse_fault(&format!("{id}=deletion-hang")).unwrap();
    world.simulator.inject(id, order.fault, order.times);
    let binary = enabled(&world);
    let running = binary.start(&["retire", "--older-than", DAYS]);
    eventually("DELETE is sent", || async {
        (deletions_asked(&world) > 0).then_some(())
    })
    .await;
    running.killed().await;
    assert_eq!(outcomes(&world, id).await, ["open"]);

    let ended = retire_one(&world, id).await.demand_code(1);
    ended.demand_output(&["another process is at it"]);
    assert_eq!(deletions_asked(&world), 1);
    let later = "UPDATE archiver.retirements SET begun_at = begun_at - interval '10 minutes'";
    execute(&world.pool, later).await;
    retire_one(&world, id).await.demand_code(0);
    assert_eq!(outcomes(&world, id).await, ["deleted"]);
    assert!(!is_at_provider(&world, id));
}
