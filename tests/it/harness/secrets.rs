//! Looks for secrets where none may be.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

/// A secret as it might be spelled: plain, percent-encoded in three ways, and in base64 of both
/// alphabets wherever it may begin.
fn spellings(secret: &str) -> Vec<String> {
    let mut all = vec![
        secret.to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        secret.replace(' ', "%20"),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
    ];
    // The first and the last letters depend on what stands around it.
    for (before, undecided) in [("", 0), ("_", 2), ("__", 3)] {
        let padded = format!("{before}{secret}");
        let whole = &padded[..padded.len() / 3 * 3];
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            all.push(alphabet.encode(whole)[undecided..].to_owned());
        }
    }
    all.iter().map(|it| it.to_ascii_lowercase()).collect()
}

/// Demands that no secret is in the text, in any spelling.
pub(crate) fn demand_no_secret(secrets: &[String], place: &str, text: &str) {
    let text = text.to_ascii_lowercase();
    for secret in secrets {
        for spelling in spellings(secret) {
            if let Some(at) = text.find(&spelling) {
                let around: String = text[..at].chars().rev().take(300).collect();
                let around: String = around.chars().rev().collect();
                panic!("{secret} is in {place}, after: {around}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let secret = "PT-token/with+signs and ~?".to_owned();
    let encoded = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
    let form: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut hiding_places = vec![format!("x{secret}x"), format!("x{encoded}x"), form];
    for before in ["", "a", "ab", "abc", "project:"] {
        for alphabet in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            hiding_places.push(alphabet.encode(format!("{before}{secret}:after")));
        }
    }
    for place in hiding_places {
        let found = std::panic::catch_unwind(|| {
            demand_no_secret(std::slice::from_ref(&secret), "a test", &place);
        });
        assert!(found.is_err(), "{place}");
    }
    demand_no_secret(&[secret], "a test", "PT-token and other words");
}
