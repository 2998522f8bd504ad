//! Every figure is the one that SQL gives for the plain rows.

use recording_archiver::queue::recent;
use sqlx::{AssertSqlSafe, PgConnection};

use super::seeded::{STORIED, fill, served};
use super::{exact, get, plain, read};
use crate::cli::end;
use crate::harness::world::World;

/// The rows of a query, each column as text; what is NULL is `–`.
async fn sql(world: &World, query: &str) -> Vec<Vec<String>> {
    let columns = format!("SELECT array_agg(coalesce(value, '–') ORDER BY place)
         FROM (SELECT row_number() OVER () AS row, to_json(asked) AS asked FROM ({query}) asked) rows,
              LATERAL json_each_text(asked) WITH ORDINALITY AS cells(key, value, place)
        GROUP BY row ORDER BY row");
    sqlx::query_scalar(AssertSqlSafe(columns))
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

/// A number as the page groups its digits, back to plain digits.
fn ungrouped(text: &str) -> String {
    text.replace(',', "")
}

#[track_caller]
fn tile(page: &str, name: &str) -> (String, String) {
    let (_, rest) = page.split_once(&format!("<dt>{name}</dt>")).unwrap();
    let (tile, _) = rest.split_once("</div>").unwrap();
    let mut values = tile.split("</dd>").map(|value| ungrouped(&plain(value)));
    (values.next().unwrap(), values.next().unwrap())
}

#[tokio::test]
async fn every_figure_equals_sql() {
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let page = get(&format!("{base}/")).await.demand(200);

    let counted = "SELECT count(*)::text FROM archiver.recordings WHERE state = ";
    for (name, state) in [
        ("Pending", "pending"),
        ("In progress", "in_progress"),
        ("Archived", "archived"),
        ("Failed", "failed"),
    ] {
        let expected = sql(&world, &format!("{counted}'{state}'")).await;
        assert_eq!(tile(&page, name).0, expected[0][0], "{name}");
    }
    let due = format!("{counted}'pending' AND next_attempt_at <= now()");
    let later = format!("{counted}'pending' AND next_attempt_at > now()");
    let (due, later) = (sql(&world, &due).await, sql(&world, &later).await);
    let waiting = format!("{} due now {} later", due[0][0], later[0][0]);
    assert!(tile(&page, "Pending").1.starts_with(&waiting), "{waiting}");
    let last_day = format!("{counted}'archived' AND archived_at > now() - interval '24 hours'");
    let last_day = sql(&world, &last_day).await;
    let shown = tile(&page, "Archived").1;
    assert!(
        shown.ends_with(&format!("; {} in the last 24 h", last_day[0][0])),
        "{shown}"
    );
    // Two workers are alive, and 4.5 GiB came in 117 s.
    let rate = 3_221_225_472_u64 * 1000 / 117_000 + 1_610_612_736_u64 * 1000 / 117_000;
    let rate = bytesize::ByteSize(rate).display().iec().to_string();
    assert_eq!(tile(&page, "In progress").1, format!("{rate}/s"));

    for (id, condition) in [
        ("failed-kinds", "state = 'failed'"),
        (
            "retrying-kinds",
            "state = 'pending' AND error_kind IS NOT NULL",
        ),
        (
            "damaged-kinds",
            "state = 'archived' AND error_kind IS NOT NULL",
        ),
    ] {
        let expected = sql(
            &world,
            &format!(
                "SELECT error_kind, count(*)::text AS n FROM archiver.recordings WHERE {condition}
              GROUP BY error_kind ORDER BY count(*) DESC, error_kind"
            ),
        )
        .await;
        let shown = read(&page, id);
        assert!(expected.len() > usize::from(id != "damaged-kinds"));
        let shown_counts: Vec<_> = shown.iter().map(|row| row[..2].to_vec()).collect();
        assert_eq!(shown_counts, expected, "{id}");
        assert!(shown.iter().all(|row| !row[2].is_empty()));
    }
    let first = |rows: Vec<Vec<String>>| rows.into_iter().map(|mut row| row.swap_remove(0));
    for (id, query) in [
        ("failed-last", "state = 'failed' ORDER BY finalized_at DESC"),
        (
            "archived-last",
            "state = 'archived' ORDER BY archived_at DESC, recording_id",
        ),
        (
            "stuck-table",
            "state = 'pending' AND error_kind IS NOT NULL AND enqueued_at < now() - interval '1 day' ORDER BY enqueued_at",
        ),
    ] {
        let query =
            format!("SELECT recording_id::text FROM archiver.recordings WHERE {query} LIMIT 10");
        let expected: Vec<_> = first(sql(&world, &query).await).collect();
        assert_eq!(first(read(&page, id)).collect::<Vec<_>>(), expected, "{id}");
        assert!(expected.len() > 5, "{id}");
    }

    let covered = sql(&world, "
        SELECT read_again::text, archived::text, read_again_bytes * 1000 / archived_bytes AS permille,
               to_char(longest_unread_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS since
          FROM archiver.coverage('90 days')").await;
    let [read_again, archived, permille, since] = &covered[0][..] else {
        panic!("{covered:?}")
    };
    let permille: u64 = permille.split('.').next().unwrap().parse().unwrap();
    let text = ungrouped(&plain(&page));
    for part in [
        format!(
            "{}.{} % of the bytes read again within 90 days longest unread since {since}",
            permille / 10,
            permille % 10
        ),
        format!("{read_again} of {archived} recordings"),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
    assert!(page.contains(&format!(
        "<meter min=\"0\" max=\"1000\" value=\"{permille}\""
    )));
    end(daemon).await;
}

#[tokio::test]
async fn days_months_and_sessions_equal_sql_to_the_last_digit() {
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let page = get(&format!("{base}/")).await.demand(200);

    let days = sql(&world, "
        SELECT day::date::text, count(recording_id)::text AS recordings, coalesce(sum(size_bytes), 0)::text AS size_bytes
          FROM generate_series(date_trunc('day', now(), 'UTC') - interval '29 days', now(), '1 day') day
          LEFT JOIN archiver.recordings ON state = 'archived'
               AND archived_at >= day AND archived_at < day + interval '1 day'
         GROUP BY day ORDER BY day DESC").await;
    let shown: Vec<_> = read(&page, "days-table")
        .into_iter()
        .zip(exact(&page, "days-table", 2))
        .map(|(row, bytes)| vec![row[0].clone(), row[1].clone(), bytes.unwrap()])
        .collect();
    assert_eq!(shown, days);
    assert_eq!(days.len(), 30);

    let months = sql(&world, "
        SELECT to_char(coalesce(started_at, created_at) AT TIME ZONE 'UTC', 'YYYY-MM') AS a, sum(cost_usd)::text AS b,
               sum(cost_usd) FILTER (WHERE NOT (recording_status = 'completed'
                   AND cost_observed_at - cost_changed_at >= interval '7 days'))::text AS p,
               count(*)::text AS c,
               count(*) FILTER (WHERE cost_usd IS NOT NULL AND NOT (recording_status = 'completed'
                   AND cost_observed_at - cost_changed_at >= interval '7 days'))::text AS d,
               count(*) FILTER (WHERE cost_usd IS NULL)::text AS e
          FROM archiver.recordings WHERE coalesce(started_at, created_at) IS NOT NULL
         GROUP BY 1 ORDER BY 1 DESC").await;
    let shown: Vec<_> = read(&page, "months-table")
        .into_iter()
        .zip(exact(&page, "months-table", 1))
        .zip(exact(&page, "months-table", 2))
        .map(|((row, cost), open)| {
            let open = open.unwrap_or_else(|| row[2].clone());
            let mut cells = vec![row[0].clone(), cost.unwrap(), open];
            cells.extend(row[4..7].iter().map(|cell| ungrouped(cell)));
            cells
        })
        .collect();
    assert_eq!(shown, months);
    assert!((14..=15).contains(&months.len()), "{months:?}");
    let open = months
        .iter()
        .filter(|month| month[4] != "0" || month[5] != "0");
    let open = open.count();
    assert!(open > 1 && open < months.len());
    assert!(page.contains(&format!("the sums of {open} of them may still change")));
    let hatched = page.matches("opacity=\"1\" fill=\"#020000\"").count();
    let provisional = months.iter().filter(|month| month[2] != "–").count();
    assert!(provisional > 0 && provisional < open, "{months:?}");
    assert_eq!(hatched, provisional);

    for month in [&months[0][0], &months[5][0]] {
        let page = get(&format!("{base}/?month={month}")).await.demand(200);
        let sessions = sql(
            &world,
            &format!(
                "
            SELECT room_session_id::text AS a, sum(cost_usd)::text AS b, count(*)::text AS c
              FROM archiver.recordings
             WHERE to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM') = '{month}'
             GROUP BY room_session_id HAVING sum(cost_usd) IS NOT NULL
             ORDER BY sum(cost_usd) DESC, room_session_id LIMIT 10"
            ),
        )
        .await;
        let shown: Vec<_> = read(&page, "sessions-table")
            .into_iter()
            .zip(exact(&page, "sessions-table", 1))
            .map(|(row, cost)| vec![row[0].clone(), cost.unwrap(), row[2].clone()])
            .collect();
        assert_eq!(shown, sessions, "{month}");
        assert!(sessions.len() > 3);
    }
    // The page without a month shows the last one that has a known cost.
    assert!(plain(&page).contains(&format!("Most expensive sessions of {}", months[0][0])));
    end(daemon).await;
}

#[tokio::test]
async fn a_recordings_page_has_its_attempts_evidence_and_costs() {
    let world = World::local().await;
    fill(&world).await;
    let (daemon, base) = served(&world).await;
    let page = get(&format!("{base}/recordings/{STORIED}"))
        .await
        .demand(200);
    let text = plain(&page);
    for part in [
        "a11ce000-0000-4000-8000-000000000001",
        "full_object",
        "KoKQMp+3wPY=",
        "733,184,411 bytes (699.2 MiB)",
        "1:01:11",
        "0.15308070",
        "provisional",
        "refused",
        "its cost is not final",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let sha256 = sql(
        &world,
        &format!(
            "SELECT encode(sha256, 'hex') FROM archiver.recordings WHERE recording_id = '{STORIED}'"
        ),
    )
    .await;
    assert!(text.contains(&sha256[0][0]));
    let attempts = read(&page, "attempts-table");
    assert_eq!(attempts.len(), 3);
    assert_eq!(attempts[1][0], "1");
    assert_eq!(attempts[1][2], "retrying after 10 min");
    assert_eq!(attempts[1][4], "stalled next to no byte moved for 30 s");
    let fetched = exact(&page, "attempts-table", 3);
    assert_eq!(fetched[2].as_deref(), Some("431194523"));
    let costs: Vec<_> = read(&page, "cost-table")
        .into_iter()
        .map(|row| row[1..].join(" "))
        .collect();
    assert_eq!(
        costs,
        ["0.1521 completed archive", "0.15308070 completed reprice"]
    );

    let lookup = get(&format!("{base}/recordings?id=%20{STORIED}%20")).await;
    assert_eq!(lookup.header("location"), format!("/recordings/{STORIED}"));
    assert_eq!(lookup.status, 303);
    let unknown = "/recordings/00000000-0000-4000-8000-000000000000";
    let told = get(&format!("{base}{unknown}")).await.demand(404);
    assert!(told.contains("recording-archiver enqueue --id 00000000-0000-4000-8000-000000000000"));
    for path in [
        "/recordings/nonsense",
        "/recordings?id=nonsense",
        "/recordings?id=",
        "/recordings",
        "/recordings/%ff",
    ] {
        let told = get(&format!("{base}{path}")).await.demand(400);
        assert!(told.contains("That is no recording ID"), "{path}");
    }
    for path in ["/?month=", "/?month=2026-13", "/?month=x&month=y"] {
        get(&format!("{base}{path}")).await.demand(400);
    }
    get(&format!("{base}/favicon.ico")).await.demand(404);
    end(daemon).await;
}

/// How many entries of an index this transaction has read.
async fn entries_read(connection: &mut PgConnection, index: &str) -> i64 {
    sqlx::query_scalar("SELECT pg_stat_get_xact_tuples_returned(('archiver.' || $1)::regclass)")
        .bind(index)
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_recent_is_found_without_reading_what_is_old() {
    let world = World::local().await;
    fill(&world).await;
    let mut transaction = world.pool.begin().await.unwrap();
    // Of so few rows Postgres would rather read all.
    sqlx::query("SET LOCAL enable_seqscan = off")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let (archived, failed) = ("recordings_by_archived_at", "recordings_failed_last");
    recent::archived_by_day(&mut transaction, 30).await.unwrap();
    let of_days = entries_read(&mut transaction, archived).await;
    // A month of fourteen, not all of the 1,100.
    assert!((100..300).contains(&of_days), "{of_days}");
    recent::archived_last(&mut transaction, 10).await.unwrap();
    let of_last = entries_read(&mut transaction, archived).await - of_days;
    assert!((10..30).contains(&of_last), "{of_last}");
    recent::failed_last(&mut transaction, 5).await.unwrap();
    let of_failed = entries_read(&mut transaction, failed).await;
    assert!((5..10).contains(&of_failed), "{of_failed}");
}

#[tokio::test]
async fn an_empty_database_has_a_page_too() {
    let world = World::local().await;
    let (daemon, base) = served(&world).await;
    let page = get(&format!("{base}/")).await.demand(200);
    for part in [
        "No recordings yet",
        "Nothing is archived yet",
        "No recording of the last two years",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    end(daemon).await;
}
