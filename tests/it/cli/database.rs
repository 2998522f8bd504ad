//! Databases as operators set them up: settings, encodings, limits, standbys, several hosts.

mod encoding;
mod hosts;
mod limits;
mod read_only;
mod settings;
mod settling;
mod start;
