//! A page of the provider's list: what is wrong with one entry does not hide the others.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use url::Url;

use super::{described, id_of, no_json};
use crate::recording::{Metadata, Recording, RecordingId};
use crate::signalwire::listing::{NextPage, Page, Unreadable};

/// As many as the provider gives at once.
const MAX_ENTRIES: usize = 1000;
/// As much as the answer about one recording may have.
const MAX_ENTRY_BYTES: usize = 1024 * 1024;

/// Reads one page of a list; the error says what is wrong with the whole of it.
pub(crate) fn page(api_base: &Url, body: &str) -> Result<Page, String> {
    #[derive(serde::Deserialize)]
    struct PageJson {
        #[serde(default)]
        links: Option<LinksJson>,
        data: Entries,
    }
    #[derive(Default, serde::Deserialize)]
    struct LinksJson {
        #[serde(default)]
        next: Option<String>,
    }
    let page: PageJson = serde_json::from_str(body).map_err(|e| no_json(&e))?;
    let next = page.links.unwrap_or_default().next;
    let next = next
        .filter(|next| !next.is_empty())
        .map(|next| next_page(api_base, &next))
        .transpose()?;
    let entries = page.data.0;
    let (mut recordings, mut unreadable) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match read(&entry) {
            Ok(recording) => recordings.push(recording),
            Err(entry) => unreadable.push(entry),
        }
    }
    Ok(Page {
        recordings,
        unreadable,
        next,
    })
}

/// Reads one entry; whatever is wrong with it is about this one only.
fn read(entry: &RawValue) -> Result<Recording, Unreadable> {
    let object: Metadata = serde_json::from_str(entry.get()).map_err(|_| Unreadable {
        id: None,
        problem: "it is not the object that is documented".to_owned(),
    })?;
    let id = id_of(&object).ok().map(RecordingId::uuid);
    if entry.get().len() > MAX_ENTRY_BYTES {
        let problem = format!("it is longer than {MAX_ENTRY_BYTES} bytes");
        return Err(Unreadable { id, problem });
    }
    described(object).map_err(|problem| Unreadable { id, problem })
}

/// The entries of a page, unless there are more than any page has.
struct Entries(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array;
        impl<'de> Visitor<'de> for Array {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    if entries.len() == MAX_ENTRIES {
                        let problem = format_args!("more than {MAX_ENTRIES} entries");
                        return Err(serde::de::Error::custom(problem));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(Array)
    }
}

/// Absolute or relative, as the provider's documents show both.
fn next_page(api_base: &Url, link: &str) -> Result<NextPage, String> {
    let url = api_base
        .join(link)
        .map_err(|e| format!("its link to the next page is none: {e}"))?;
    let kept = url.query_pairs().filter(|(name, _)| name != "media_ttl");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let query = query.extend_pairs(kept).finish();
    if query.is_empty() {
        return Err("its link to the next page leads to the first".to_owned());
    }
    Ok(NextPage::new(query))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "c22d24f6-5a47-4597-9a23-c7d01e696b92";

    #[test]
    fn a_page_leads_on_by_its_query_whatever_host_it_names() {
        let base: Url = "https://example.signalwire.com/".parse().unwrap();
        let query = "page_number=1&page_size=2&page_token=PAb3877c40da604998";
        for link in [
            format!("https://elsewhere.example/api/video/room_recordings?{query}&media_ttl=900"),
            format!("/api/video/room_recordings?{query}"),
            format!("?{query}"),
        ] {
            let body = format!(r#"{{"links":{{"next":"{link}"}},"data":[]}}"#);
            let page = page(&base, &body).unwrap();
            assert_eq!(page.next.unwrap().as_str(), query, "{link}");
        }
        for last in [
            r#"{"data":[]}"#,
            r#"{"links":{},"data":[]}"#,
            r#"{"links":{"next":null},"data":[]}"#,
        ] {
            assert_eq!(page(&base, last).unwrap().next, None, "{last}");
        }
        let circle = r#"{"links":{"next":"/api/video/room_recordings"},"data":[]}"#;
        assert!(page(&base, circle).is_err());
    }

    #[test]
    fn page_skips_odd_entries_and_reads_the_others() {
        let base: Url = "https://example.signalwire.com/".parse().unwrap();
        let long = "x".repeat(MAX_ENTRY_BYTES);
        let many: Vec<String> = (0..600).map(|it| format!("\"{it}\":0,")).collect();
        let many = many.concat();
        for (entry, id, problem) in [
            ("null", None, "object"),
            ("17", None, "object"),
            ("[]", None, "object"),
            ("\"x\"", None, "object"),
            ("{}", None, "id"),
            (r#"{"uri":"x"}"#, None, "id"),
            (r#"{"id":"x"}"#, None, "id"),
            (&format!(r#"{{{many}"id":"{ID}"}}"#), None, "object"),
            (&format!(r#"{{"id":"{ID}","uri":17}}"#), Some(ID), "uri"),
            (
                &format!(r#"{{"id":"{ID}","x":"{long}"}}"#),
                Some(ID),
                "longer",
            ),
        ] {
            let body = format!(r#"{{"data":[{{"id":"{ID}"}},{entry},{{"id":"{ID}"}}]}}"#);
            let found = page(&base, &body).unwrap();
            assert_eq!(found.recordings.len(), 2, "{entry:.80}");
            let [skipped] = &found.unreadable[..] else {
                panic!("{entry:.80}: {:?}", found.unreadable);
            };
            assert_eq!(skipped.id, id.map(|id| id.parse().unwrap()));
            assert!(skipped.problem.contains(problem), "{}", skipped.problem);
        }
        for body in ["", "[]", "<html>", r#"{"links":{}}"#, r#"{"data":[1,]}"#] {
            assert!(page(&base, body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_page_has_no_more_entries_than_were_asked_for() {
        let base: Url = "https://example.signalwire.com/".parse().unwrap();
        let with = |entries: usize| {
            let entries = vec![format!(r#"{{"id":"{ID}"}}"#); entries].join(",");
            page(&base, &format!(r#"{{"data":[{entries}]}}"#))
        };
        assert_eq!(with(MAX_ENTRIES).unwrap().recordings.len(), MAX_ENTRIES);
        assert!(with(MAX_ENTRIES + 1).is_err());
    }
}
