//! The overview: a section for each question the operator comes with.

use maud::html;

use super::figures::Figures;
use super::frame::{Html, frame};
use super::{archive, costs, trouble, work};
use crate::daemon::readiness::Standing;

pub(super) fn render(figures: &Figures, standing: &Standing) -> Html {
    let main = html! {
        nav aria-label="On this page" {
            ul {
                li { a href="#queue" { "Queue" } }
                li { a href="#moving" { "Moving" } }
                li { a href="#trouble" { "Trouble" } }
                li { a href="#archive" { "Archive" } }
                li { a href="#costs" { "Costs" } }
            }
        }
        (work::standing(standing))
        (work::queue(&figures.overview))
        (work::moving(&figures.overview))
        (trouble::section(figures))
        (archive::section(figures))
        (costs::section(figures))
    };
    frame("Overview", Some(figures.overview.now), &main)
}
