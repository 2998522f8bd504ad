//! Money: exact sums, months, reports, and who may read them.

mod access;
mod exact;
mod exports;
mod focus;
mod invoice;
mod rollup;
mod table;
mod views;

use recording_archiver::cli::report::{CostsArgs, CostsError, CostsOutput, costs};
use recording_archiver::finance::report::Grouping;
use sqlx::PgPool;

/// Runs `report costs` without bounds.
async fn report(pool: &PgPool, by: Grouping, output: CostsOutput) -> String {
    report_between(pool, by, output, None, None).await.unwrap()
}

async fn report_between(
    pool: &PgPool,
    by: Grouping,
    output: CostsOutput,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<String, CostsError> {
    let month = |text: &str| text.parse().unwrap();
    let args = CostsArgs {
        by,
        from: from.map(month),
        to: to.map(month),
        output,
    };
    let mut out = Vec::new();
    costs(pool, &args, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}
