//! Whose turn it is: first tries, further ones, and what nobody may hold up.

use std::time::Duration;

use recording_archiver::queue::{Claim, Cursor, Queue};
use uuid::Uuid;

use crate::harness::world::World;

const OURS: &str = "project";

fn queue(world: &World) -> Queue {
    let lease = Duration::from_hours(1);
    Queue::new(
        world.pool.clone(),
        OURS.to_owned(),
        "test".to_owned(),
        lease,
    )
}

/// Queues rows that are due for so many minutes, after so many attempts.
async fn add(world: &World, rows: u32, attempts: i32, minutes: u32, project: Option<&str>) {
    sqlx::query(
        "INSERT INTO archiver.recordings (recording_id, attempts, next_attempt_at, project_id)
         SELECT gen_random_uuid(), $2, now() - make_interval(mins => $3), $4
           FROM generate_series(1, $1)",
    )
    .bind(i64::from(rows))
    .bind(attempts)
    .bind(i32::try_from(minutes).unwrap())
    .bind(project)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// Claims them one by one, and gives the attempt that each claim begins.
async fn claimed(queue: &Queue, rows: usize) -> Vec<u32> {
    let mut cursor = Cursor::default();
    let mut attempts = Vec::new();
    while attempts.len() < rows {
        let due = queue.claim_due(&mut cursor, 1).await.unwrap();
        attempts.extend(due.claims.iter().map(Claim::attempt));
    }
    attempts
}

#[tokio::test]
async fn old_retries_hold_up_no_fresh_recording_and_are_not_held_up_for_ever() {
    let world = World::local().await;
    // Due long before the fresh ones came.
    add(&world, 20, 5, 600, Some(OURS)).await;
    add(&world, 20, 0, 0, None).await;
    let attempts = claimed(&queue(&world), 40).await;
    let fresh = |part: &[u32]| part.iter().filter(|attempt| **attempt == 1).count();
    assert_eq!(fresh(&attempts[..24]), 18, "three of four: {attempts:?}");
    assert_eq!(fresh(&attempts), 20);
}

#[tokio::test]
async fn first_tries_are_claimed_as_they_fell_due_known_project_or_not() {
    let world = World::local().await;
    let mut expected = Vec::new();
    for (minutes, project) in [
        (9, None),
        (8, Some(OURS)),
        (7, None),
        (6, None),
        (5, Some(OURS)),
    ] {
        let id = Uuid::new_v4();
        sqlx::query(
            "INSERT INTO archiver.recordings (recording_id, next_attempt_at, project_id)
             VALUES ($1, now() - make_interval(mins => $2), $3)",
        )
        .bind(id)
        .bind(minutes)
        .bind(project)
        .execute(&world.pool)
        .await
        .unwrap();
        expected.push(id);
    }
    // Somebody else's, and before all others.
    add(&world, 100, 0, 60, Some("another")).await;
    let (queue, mut cursor) = (queue(&world), Cursor::default());
    let mut order = Vec::new();
    while order.len() < expected.len() {
        let due = queue.claim_due(&mut cursor, 1).await.unwrap();
        order.extend(due.claims.iter().map(|claim| claim.recording_id().uuid()));
    }
    // A lane may be one ahead of the other: only what was claimed from each is compared.
    for (place, id) in order.iter().enumerate() {
        let due = expected.iter().position(|it| it == id).unwrap();
        assert!(
            place.abs_diff(due) <= 1,
            "{order:?} instead of {expected:?}"
        );
    }
}

#[tokio::test]
async fn what_slipped_in_behind_the_cursor_is_found_by_the_next_look_from_the_front() {
    let world = World::local().await;
    add(&world, 2, 0, 1, None).await;
    let (queue, mut cursor) = (queue(&world), Cursor::default());
    assert_eq!(
        queue.claim_due(&mut cursor, 1).await.unwrap().claims.len(),
        1
    );
    // As by a transaction that began long before it was committed.
    add(&world, 1, 0, 60, None).await;
    let mut found = 0;
    while found < 2 {
        let due = queue.claim_due(&mut cursor, 2).await.unwrap();
        found += due.claims.len();
        match due.look_again_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => break,
        }
    }
    assert_eq!(found, 2);
}
