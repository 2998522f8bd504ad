//! What the recordings have cost, month by month, and the sessions that cost most.

use maud::{Markup, html};

use super::amount::{Amounts, dollars, ten_thousandths};
use super::chart::{Bar, Chart, hatching};
use super::figures::Figures;
use super::table::{grid, numbers, table, text};
use super::value::{number, safe, unknown};
use crate::finance::report::Month;
use crate::finance::report::recent::{MonthlyCost, SessionCost};
use crate::human;

pub(super) fn section(figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="costs" {
            h2 #costs { "Costs" }
            @if figures.months.is_empty() {
                p { "No recording of the last two years is known." }
            } @else {
                (months(&figures.months))
            }
            @if let Some(month) = figures.month {
                (sessions(month, &figures.sessions))
            }
        }
    }
}

/// Whether the month's sum may still change.
const fn is_open(month: &MonthlyCost) -> bool {
    month.provisional > 0 || month.missing_cost > 0
}

fn months(months: &[MonthlyCost]) -> Markup {
    let bars: Vec<_> = months
        .iter()
        .map(|month| Bar {
            label: month.month.to_string(),
            height: month.cost_usd.as_deref().map_or(0, ten_thousandths),
            open: month.provisional_usd.as_deref().map_or(0, ten_thousandths),
        })
        .collect();
    let open = months.iter().filter(|month| is_open(month)).count();
    let chart = Chart {
        id: "months-costs",
        title: "Cost per month in US dollars",
        description: &format!(
            "{} months; the sums of {open} of them may still change, and what of them may is hatched.",
            months.len()
        ),
        bars: &bars,
        label: dollars,
    };
    let amounts = months
        .iter()
        .flat_map(|it| [&it.cost_usd, &it.provisional_usd]);
    let amounts = Amounts::of(amounts.map(|amount| amount.as_deref()));
    let columns = [
        text("Month (UTC)"),
        numbers("Cost (USD)"),
        numbers("may change (USD)"),
        text("The sum is"),
        numbers("Recordings"),
        numbers("of these provisional"),
        numbers("no cost yet"),
    ];
    let rows = months.iter().rev().map(|month| {
        vec![
            html! { a href={ "/?month=" (month.month) "#sessions" } { (month.month) } },
            amounts.show(month.cost_usd.as_deref()),
            amounts.show(month.provisional_usd.as_deref()),
            state(month),
            html! { (number(month.recordings)) },
            html! { (number(month.provisional)) },
            html! { (number(month.missing_cost)) },
        ]
    });
    html! {
        (hatching())
        div.charts.one {
            figure {
                figcaption { (chart.title) @if open > 0 { span.key { " (hatched: may still change)" } } }
                (chart.render())
            }
        }
        (grid("months-table", &html! { "Cost of the recordings that started in each month, the last one first" }, &columns, rows))
        @if amounts.is_rounded {
            p.note { "Rounded to four decimals; exact: " code { "recording-archiver report costs --output csv" } }
        }
    }
}

fn state(month: &MonthlyCost) -> Markup {
    html! {
        @if month.recordings == 0 {
            (unknown())
        } @else if month.provisional > 0 {
            span.warn { "provisional" }
        } @else if month.missing_cost > 0 {
            span.warn { "incomplete" }
        } @else {
            "final"
        }
    }
}

fn sessions(month: Month, sessions: &[SessionCost]) -> Markup {
    let amounts = Amounts::of(sessions.iter().map(|it| Some(it.cost_usd.as_str())));
    let columns = [
        text("Room session"),
        numbers("Cost (USD)"),
        numbers("Recordings"),
        numbers("h:mm:ss"),
        text("Project"),
    ];
    let rows = sessions.iter().map(|it| {
        vec![
            html! { span.id { (it.room_session_id) } },
            amounts.show(Some(&it.cost_usd)),
            html! { (number(it.recordings)) },
            html! { @if let Some(secs) = it.duration_secs { (human::duration(secs.into())) } @else { (unknown()) } },
            html! { @if let Some(project) = &it.project_id { span.id { (safe(project)) } } @else { (unknown()) } },
        ]
    });
    html! {
        h3 #sessions { "Most expensive sessions of " span.month { (month) } }
        @if sessions.is_empty() {
            p { "No session of this month has a known cost." }
        } @else {
            (table("sessions-table", &html! { "Room sessions by the cost of their recordings, the most expensive first" }, &columns, rows))
        }
    }
}
