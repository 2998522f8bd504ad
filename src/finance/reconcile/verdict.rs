//! Whether an invoice agrees with the ledger, and every reason why it does not.

use std::fmt;

use rust_decimal::Decimal;

use super::invoice::charges::add_exactly;
use super::{Bridge, ChargeKind, Discrepancy, InvoiceError, OtherLines};
use crate::money::Usd;

/// No sales tax or telecommunications tax takes more; a line named tax that does is no tax.
const TAX_PERCENT: u32 = 50;

/// Roundings of one month may add up to this part of its costs.
const ROUNDING_OF_COSTS: Decimal = Decimal::from_parts(5, 0, 0, false, 3);
/// Or to this much, in US dollars.
const ROUNDING_USD: Decimal = Decimal::from_parts(5, 0, 0, false, 2);

/// What is to be paid, from the lines of the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payable {
    /// Of all recordings, taxes, fees, credits and other lines.
    pub itemised_usd: Decimal,
    /// The invoice's own total, and its line.
    pub stated: Option<(u64, Usd)>,
}

impl Payable {
    /// Adds up the lines; totals and subtotals are no part of that.
    pub fn of(bridge: &Bridge, others: &OtherLines) -> Result<Self, InvoiceError> {
        let mut itemised_usd = bridge.invoice_usd;
        for kind in ChargeKind::ADDED {
            itemised_usd =
                add_exactly(itemised_usd, others.sum(kind).amount_usd).ok_or(InvoiceError::Sum)?;
        }
        Ok(Self {
            itemised_usd,
            stated: others.total,
        })
    }

    /// Returns the part of the stated total that no line explains, unless it is rounding of the
    /// total's last place.
    pub fn unexplained_usd(&self) -> Option<Decimal> {
        let (_, stated) = self.stated?;
        let difference = stated.decimal().checked_sub(self.itemised_usd)?;
        let half_a_unit = Decimal::new(5, stated.decimal().scale().saturating_add(1).min(28));
        (difference.abs() > half_a_unit).then_some(difference)
    }
}

/// What is accepted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accepted {
    /// The sum of fees, credits and other lines without a recording that is expected.
    pub other_charges_usd: Decimal,
    /// The largest sum of roundings; `None`: half a percent of our costs, at least five cents.
    pub rounding_usd: Option<Decimal>,
}

/// One reason why the invoice and the ledger do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    Recordings(i64),
    Rounding { usd: Decimal, at_most: Decimal },
    Charges { usd: Decimal, accepted: Decimal },
    Tax(Decimal),
    Total { line: u64, unexplained_usd: Decimal },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recordings(1) => f.write_str("1 recording differs by more than rounding"),
            Self::Recordings(number) => {
                write!(f, "{number} recordings differ by more than rounding")
            }
            Self::Rounding { usd, at_most } => write!(
                f,
                "roundings come to {usd} USD, more than {at_most}; once checked, accept them with \
                 --max-rounding {}",
                usd.abs()
            ),
            Self::Charges { usd, accepted } => write!(
                f,
                "fees, credits and lines that are no recording come to {usd} USD, expected was \
                 {accepted}; once checked, accept them with --other-charges {usd}"
            ),
            Self::Tax(usd) => write!(
                f,
                "{usd} USD of tax are more than {TAX_PERCENT} % of the recordings; correct the line"
            ),
            Self::Total {
                line,
                unexplained_usd,
            } => write!(
                f,
                "the total in line {line} has {unexplained_usd} USD that no line itemises"
            ),
        }
    }
}

/// Returns every reason why the two do not agree; none if only rounding lies between them.
pub fn objections(
    bridge: &Bridge,
    others: &OtherLines,
    payable: &Payable,
    accepted: Accepted,
) -> Result<Vec<Objection>, InvoiceError> {
    let mut objections = Vec::new();
    let beyond_rounding = bridge
        .steps
        .iter()
        .filter(|step| step.discrepancy != Discrepancy::Rounding);
    let differing: i64 = beyond_rounding.map(|step| step.recordings).sum();
    if differing > 0 {
        objections.push(Objection::Recordings(differing));
    }
    let rounded = bridge
        .steps
        .iter()
        .find(|step| step.discrepancy == Discrepancy::Rounding);
    let usd = rounded.map_or(Decimal::ZERO, |step| step.difference_usd);
    let at_most = accepted.rounding_usd.unwrap_or_else(|| {
        let part = bridge.ours_usd.abs().checked_mul(ROUNDING_OF_COSTS);
        part.unwrap_or(Decimal::MAX).max(ROUNDING_USD).normalize()
    });
    if usd.abs() > at_most {
        objections.push(Objection::Rounding { usd, at_most });
    }
    let mut usd = Decimal::ZERO;
    let mut charged = 0;
    for kind in [ChargeKind::Fee, ChargeKind::Credit, ChargeKind::Other] {
        let sum = others.sum(kind);
        charged += sum.charged;
        usd = add_exactly(usd, sum.amount_usd).ok_or(InvoiceError::Sum)?;
    }
    let accepted = accepted.other_charges_usd;
    // A fee and a credit that cancel each other out are not nothing.
    if usd != accepted || (charged > 0 && accepted.is_zero()) {
        objections.push(Objection::Charges { usd, accepted });
    }
    let tax = others.sum(ChargeKind::Tax).amount_usd;
    let highest = bridge
        .invoice_usd
        .abs()
        .checked_mul(Decimal::new(i64::from(TAX_PERCENT), 2));
    if highest.is_none_or(|highest| tax.abs() > highest) {
        objections.push(Objection::Tax(tax));
    }
    if let Some(((line, _), unexplained_usd)) = payable.stated.zip(payable.unexplained_usd()) {
        objections.push(Objection::Total {
            line,
            unexplained_usd,
        });
    }
    Ok(objections)
}
