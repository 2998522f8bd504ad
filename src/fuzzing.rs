//! What reads bytes from outside, for the fuzz targets and the tests that share their properties
//! (`tests/it/bad_input/`). Nothing of it is for use.

use std::path::PathBuf;

use url::Url;

use crate::config::{Config, ConfigError, Environment};
use crate::recording::{Recording, RecordingId};
use crate::signalwire::Page;

/// The API's answer to a question for `id`.
pub fn recording(id: RecordingId, body: &str) -> Result<Recording, String> {
    crate::signalwire::wire::recording(id, body)
}

/// A page of the API's list.
pub fn page(api_base: &Url, body: &str) -> Result<Page, String> {
    crate::signalwire::wire::page(api_base, body)
}

/// What the API's error body says.
pub fn error_message(body: &str) -> String {
    crate::signalwire::wire::error_message(body)
}

/// First and last byte and size of the whole, as `Content-Range` spells them.
pub fn content_range(value: &str) -> Option<[u64; 3]> {
    let range = crate::transfer::parse_content_range(value)?;
    Some([range.first, range.last, range.total])
}

/// A configuration file, in an environment without variables.
pub fn config(text: String) -> Result<Config, ConfigError> {
    let nowhere = PathBuf::from("/nonexistent");
    let environment = Environment::isolated(&nowhere, [("", ""); 0]);
    Config::of_text(nowhere.join("config.toml"), text, &environment)
}

/// A file of recording IDs.
pub fn ids(text: &str) -> Result<Vec<RecordingId>, String> {
    crate::cli::parse_ids(text)
}
