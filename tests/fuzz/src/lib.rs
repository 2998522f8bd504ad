//! The properties that the tests demand (`tests/it/bad_input/properties.rs`), for libFuzzer.

#[path = "../../it/bad_input/properties.rs"]
mod properties;

/// Demands the property of this name of these bytes.
pub fn demand(property: &str, bytes: &[u8]) {
    let found = properties::ALL.iter().find(|(name, _)| *name == property);
    let (_, demand) = found.expect("a property of this name");
    demand(bytes);
}
