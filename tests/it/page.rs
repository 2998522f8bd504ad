//! The page as a browser gets it: from a real daemon over a real database.

mod browser;
mod figures;
mod hosts;
mod look;
mod outages;
mod seeded;
mod strangers;

use axum::http::{HeaderMap, Method};

/// An answer with all that belongs to it.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    #[track_caller]
    fn demand(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }
}

/// What comes for a request; redirects are not followed.
async fn ask(method: Method, url: &str, host: Option<&str>) -> Answer {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let mut asked = client.request(method, url);
    if let Some(host) = host {
        asked = asked.header("Host", host);
    }
    let answer = asked.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.text().await.unwrap(),
    }
}

async fn get(url: &str) -> Answer {
    ask(Method::GET, url, None).await
}

/// Text as a person reads it: without tags, and with what was escaped.
fn plain(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        match piece.split_once('>') {
            Some((_, after)) => text.push_str(after),
            None => text.push_str(piece),
        }
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&amp;", "&")
}

/// The rows of the table with this caption, each cell as HTML.
#[track_caller]
fn rows<'a>(page: &'a str, id: &str) -> Vec<Vec<&'a str>> {
    let caption = format!("<caption id=\"{id}\">");
    let (_, rest) = page
        .split_once(caption.as_str())
        .unwrap_or_else(|| panic!("no table {id} in {page}"));
    let (table, _) = rest.split_once("</table>").unwrap();
    let (_, body) = table.split_once("<tbody role=\"rowgroup\">").unwrap();
    let rows = body.split("<tr role=\"row\">").skip(1);
    rows.map(|row| {
        let cells = row.split("</th>").flat_map(|part| part.split("</td>"));
        cells.filter(|cell| cell.starts_with("<t")).collect()
    })
    .collect()
}

/// The rows as a person reads them.
fn read(page: &str, id: &str) -> Vec<Vec<String>> {
    let rows = rows(page, id).into_iter();
    rows.map(|row| row.into_iter().map(plain).collect())
        .collect()
}

/// The values that the markup of a table's column gives exactly.
fn exact(page: &str, id: &str, column: usize) -> Vec<Option<String>> {
    let rows = rows(page, id).into_iter();
    rows.map(|row| {
        let (_, rest) = row[column].split_once("<data value=\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    })
    .collect()
}
