//! An invoice against the ledger: which lines agree, which do not and why, and the bridge from our
//! sum to theirs.

use rust_decimal::Decimal;

use super::report::{Cell, Row};

mod compare;
mod counted;
mod difference;
mod invoice;
mod lines;
mod sorter;
mod statements;
mod sums;
mod verdict;

pub use compare::{CompareError, Comparison, Months, Unit};
pub use invoice::{
    Charge, ChargeKind, ChargeSum, Columns, DecimalSign, Dialect, Format, InvoiceError,
    InvoiceLine, Length, OtherLines, read_invoice,
};
pub use lines::{LineSorter, Lines};
pub use verdict::{Accepted, Objection, Payable, objections};

/// How a recording's line on the invoice and the ledger differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Discrepancy {
    /// The same but for half a unit of the last decimal of the invoice's line.
    Rounding,
    /// The invoice has a cost that the ledger held before.
    LateChange,
    /// The invoice has it more than once.
    Duplicate,
    /// Another length was billed.
    Units,
    /// The same length at another price.
    Rate,
    /// Another amount, and nothing tells why.
    Amount,
    /// Ours, but of another project than the one that was asked for.
    OtherProject,
    /// Ours began in another month.
    OutsidePeriod,
    /// We know the recording, but no cost of it.
    CostUnknown,
    /// On the invoice, and unknown to us.
    MissingInOurs,
    /// Ours of this month, and not on the invoice.
    MissingOnInvoice,
}

impl Discrepancy {
    /// Every kind, in the order of the bridge.
    pub const ALL: [Self; 11] = [
        Self::Rounding,
        Self::LateChange,
        Self::Duplicate,
        Self::Units,
        Self::Rate,
        Self::Amount,
        Self::OtherProject,
        Self::OutsidePeriod,
        Self::CostUnknown,
        Self::MissingInOurs,
        Self::MissingOnInvoice,
    ];

    /// The word in tables, CSV and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rounding => "rounding",
            Self::LateChange => "late_change",
            Self::Duplicate => "duplicate",
            Self::Units => "units_differ",
            Self::Rate => "rate_differs",
            Self::Amount => "amount_differs",
            Self::OtherProject => "other_project",
            Self::OutsidePeriod => "outside_period",
            Self::CostUnknown => "cost_unknown",
            Self::MissingInOurs => "missing_in_ours",
            Self::MissingOnInvoice => "missing_on_invoice",
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Rounding => "the invoice rounds",
            Self::LateChange => "the cost changed; the invoice has a former one",
            Self::Duplicate => "on the invoice more than once",
            Self::Units => "another length was billed",
            Self::Rate => "the same length at another price",
            Self::Amount => "another amount, and nothing tells why",
            Self::OtherProject => "of another project by our records",
            Self::OutsidePeriod => "began in another month by our records",
            Self::CostUnknown => "we know the recording, but the provider's API stated no cost",
            Self::MissingInOurs => "on the invoice, and unknown to us",
            Self::MissingOnInvoice => "ours of this month, and not on the invoice",
        }
    }
}

/// One step of the bridge from our sum to the invoice's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub discrepancy: Discrepancy,
    pub recordings: i64,
    pub difference_usd: Decimal,
}

/// Our sum, their sum, and all that lies between; `ours + steps = theirs`, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub our_recordings: i64,
    pub ours_usd: Decimal,
    pub matched: i64,
    /// Recordings or sessions of the invoice that the ledger knows.
    pub known: i64,
    pub steps: Vec<Step>,
    pub invoice_lines: i64,
    pub invoice_usd: Decimal,
}

/// Returns the columns of [`Comparison::differences`].
pub const fn columns(unit: Unit) -> [&'static str; 8] {
    [
        "discrepancy",
        match unit {
            Unit::Recording => "recording_id",
            Unit::Session => "room_session_id",
        },
        "invoice_line",
        "billing_month",
        "cost_usd",
        "invoice_usd",
        "difference_usd",
        "text",
    ]
}

/// Returns a line without a recording as a row of [`columns`].
pub fn charge_row(charge: &Charge) -> Row {
    vec![
        Cell::Text(charge.kind.as_str().to_owned()),
        Cell::Null,
        i64::try_from(charge.number).ok().into(),
        Cell::Null,
        Cell::Null,
        Cell::usd(charge.amount.map(|amount| amount.to_string())),
        Cell::Null,
        Cell::Text(charge.label.clone()),
    ]
}
