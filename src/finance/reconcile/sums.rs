//! Exact sums of amounts of any size: Postgres adds them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;

/// Sums by name, as Postgres spells numerics.
#[derive(Debug, Default)]
pub(super) struct Sums {
    sums: BTreeMap<String, String>,
}

impl Sums {
    /// Adds amounts to the sums of their names.
    pub(super) async fn add(
        &mut self,
        connection: &mut PgConnection,
        amounts: Vec<(&str, String)>,
    ) -> sqlx::Result<()> {
        let (mut names, mut texts): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sums).into_iter().unzip();
        for (name, amount) in amounts {
            names.push(name.to_owned());
            texts.push(amount);
        }
        let sums: Vec<(String, String)> = sqlx::query_as(
            "-- finance::add_exactly
             SELECT name, sum(amount::numeric)::text
               FROM unnest($1::text[], $2::text[]) AS a(name, amount) GROUP BY name",
        )
        .bind(names)
        .bind(texts)
        .fetch_all(connection)
        .await?;
        self.sums = sums.into_iter().collect();
        Ok(())
    }

    /// Returns a sum, zero if nothing was added.
    pub(super) fn get(&self, name: &str) -> sqlx::Result<Decimal> {
        let text = self.sums.get(name).map_or("0", |sum| sum);
        Decimal::from_str_exact(text).map_err(|_| {
            sqlx::Error::Decode(format!("the sum {text} has more than 28 digits").into())
        })
    }
}
