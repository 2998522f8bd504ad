//! Money: exact sums, months, reports, and who may read them.

mod access;
mod changes;
mod dialects;
mod exact;
mod exports;
mod focus;
mod invoice;
mod invoice_charges;
mod invoice_rows;
mod invoice_tolerance;
mod invoice_units;
mod months;
mod odd_times;
mod projects;
mod rollup;
mod table;
mod views;

use recording_archiver::cli::report::{CostsArgs, CostsError, CostsOutput, costs};
use recording_archiver::finance::report::Grouping;
use sqlx::PgPool;

/// The options of `report costs`, without bounds.
fn args(by: Grouping, output: CostsOutput) -> CostsArgs {
    CostsArgs {
        by,
        from: None,
        to: None,
        project: None,
        output,
    }
}

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
        from: from.map(month),
        to: to.map(month),
        ..args(by, output)
    };
    report_with(pool, &args, None).await
}

/// On a terminal of this width, if it is one.
async fn report_with(
    pool: &PgPool,
    args: &CostsArgs,
    terminal: Option<usize>,
) -> Result<String, CostsError> {
    let mut out = Vec::new();
    costs(pool, args, terminal, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}
