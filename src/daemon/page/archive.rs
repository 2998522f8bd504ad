//! How much is archived, how much of it was read again, and what came day by day.

use maud::{Markup, html};
use rust_decimal::Decimal;

use super::amount::Amounts;
use super::chart::{Bar, Chart};
use super::figures::Figures;
use super::table::{grid, numbers, table, text};
use super::value::{age, grouped, number, recording, size, time};
use crate::human;
use crate::queue::Coverage;
use crate::queue::recent::ArchivedOnDay;

pub(super) fn section(figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="archive" {
            h2 #archive { "Archive" }
            (coverage(figures))
            h3 { "Day by day" }
            (days(&figures.days))
            @if !figures.archived_last.is_empty() {
                h3 { "Archived last" }
                (archived_last(figures))
            }
        }
    }
}

fn coverage(figures: &Figures) -> Markup {
    let coverage: &Coverage = &figures.overview.coverage;
    let now = figures.overview.now;
    html! {
        @if coverage.recordings == 0 {
            p { "Nothing is archived yet." }
        } @else {
            p {
                meter min="0" max="1000" value=(coverage.permille()) aria-label="Read again" {}
                " " strong { (coverage.percent()) } " of the bytes read again within "
                (human::span(coverage.within()))
                @if let Some(at) = coverage.longest_unread_since { ", longest unread since " (time(at, now)) }
                "."
            }
            p { (number(coverage.read_again)) " of " (number(coverage.recordings)) " recordings, "
                (size(coverage.read_again_bytes)) " of " (size(coverage.size_bytes)) "." }
            @if coverage.damaged > 0 {
                p.warning { (number(coverage.damaged)) " damaged or missing: " code { "recording-archiver verify --repair" }
                    " while the provider still has them." }
            }
        }
    }
}

fn days(days: &[ArchivedOnDay]) -> Markup {
    let bars = |height: fn(&ArchivedOnDay) -> i64| {
        let bars = days.iter().map(|day| Bar {
            label: day.day.format("%m-%d").to_string(),
            height: height(day),
            open: 0,
        });
        bars.collect::<Vec<_>>()
    };
    let recordings: i64 = days.iter().map(|day| day.recordings).sum();
    let bytes = days
        .iter()
        .map(|day| day.size_bytes)
        .fold(0, i64::saturating_add);
    let unit = Unit::of(days.iter().map(|day| day.size_bytes).max().unwrap_or(0));
    let most = days.iter().max_by_key(|day| (day.recordings, day.day));
    let busiest = most.map_or_else(String::new, |day| {
        format!(
            " The most on one day were {} on {}.",
            number(day.recordings),
            day.day
        )
    });
    let mut in_units = bars(|day| day.size_bytes);
    for bar in &mut in_units {
        bar.height = unit.thousandths(bar.height);
    }
    let recordings_chart = Chart {
        id: "days-recordings",
        title: "Recordings archived per day",
        description: &format!(
            "{} recordings in {} days.{busiest}",
            number(recordings),
            days.len()
        ),
        bars: &bars(|day| day.recordings),
        label: number,
    };
    let bytes_title = format!("{} archived per day", unit.name);
    let bytes_chart = Chart {
        id: "days-bytes",
        title: &bytes_title,
        description: &format!("{} in {} days.", size(bytes), days.len()),
        bars: &in_units,
        label: of_thousandths,
    };
    let columns = [text("Day (UTC)"), numbers("Recordings"), numbers("Bytes")];
    let rows = days.iter().rev().map(|day| {
        vec![
            html! { time datetime=(day.day) { (day.day) } },
            html! { (number(day.recordings)) },
            html! { data value=(day.size_bytes) { (size(day.size_bytes)) } },
        ]
    });
    html! {
        div.charts {
            figure { figcaption { (recordings_chart.title) } (recordings_chart.render()) }
            figure { figcaption { (bytes_title) } (bytes_chart.render()) }
        }
        details {
            summary { "The same in figures" }
            (grid("days-table", &html! { "Archived in the last " (days.len()) " days, the last one first" }, &columns, rows))
        }
    }
}

/// The binary unit that the largest of some sizes is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    name: &'static str,
    bytes: i64,
}

impl Unit {
    fn of(largest: i64) -> Self {
        let units = ["Bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let mut unit = Self {
            name: units[0],
            bytes: 1,
        };
        for name in &units[1..] {
            if largest / 1024 < unit.bytes {
                break;
            }
            unit = Self {
                name,
                bytes: unit.bytes * 1024,
            };
        }
        unit
    }

    fn thousandths(self, bytes: i64) -> i64 {
        let thousandths = i128::from(bytes) * 1000 / i128::from(self.bytes);
        i64::try_from(thousandths).unwrap_or(i64::MAX)
    }
}

fn of_thousandths(thousandths: i64) -> String {
    grouped(&Decimal::new(thousandths, 3).normalize().to_string())
}

fn archived_last(figures: &Figures) -> Markup {
    let now = figures.overview.now;
    let amounts = Amounts::of(
        figures
            .archived_last
            .iter()
            .map(|it| it.cost_usd.as_deref()),
    );
    let columns = [
        text("Recording"),
        text("Archived"),
        numbers("Size"),
        numbers("Cost (USD)"),
    ];
    let rows = figures.archived_last.iter().map(|it| {
        vec![
            recording(it.recording_id),
            age(it.archived_at, now),
            html! { (size(it.size_bytes)) },
            amounts.show(it.cost_usd.as_deref()),
        ]
    });
    table(
        "archived-last",
        &html! { "The last that were archived" },
        &columns,
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_in_the_unit_of_the_largest() {
        for (largest, name) in [
            (0, "Bytes"),
            (1023, "Bytes"),
            (1024, "KiB"),
            (1024 * 1024 - 1, "KiB"),
            (1024 * 1024, "MiB"),
            (i64::MAX, "EiB"),
        ] {
            assert_eq!(Unit::of(largest).name, name, "{largest}");
        }
        let unit = Unit::of(3 << 30);
        assert_eq!(of_thousandths(unit.thousandths(3 << 29)), "1.5");
    }
}
