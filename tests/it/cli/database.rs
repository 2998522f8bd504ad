//! Databases as operators set them up: settings, encodings, limits, standbys, several hosts.

mod settings;
mod settling;
