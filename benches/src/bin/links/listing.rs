//! Listings in the shape of Zuora's, of any length.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

/// What stands in a listing, and how it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// Rows without any address.
    Plain,
    /// Rows that name the tenant's host where nothing is to be followed.
    Mentions,
    /// A link after every fifty rows.
    Pages,
    /// A link in every row.
    Rows,
    /// As [`Self::Plain`], with gzip.
    PlainGzip,
    /// As [`Self::Pages`], with gzip.
    PagesGzip,
}

/// All of them.
pub(crate) const LISTINGS: [Listing; 6] = [
    Listing::Plain,
    Listing::Mentions,
    Listing::Pages,
    Listing::Rows,
    Listing::PlainGzip,
    Listing::PagesGzip,
];

impl Listing {
    /// As it stands in a path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Mentions => "mentions",
            Self::Pages => "pages",
            Self::Rows => "rows",
            Self::PlainGzip => "plaingzip",
            Self::PagesGzip => "pagesgzip",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Plain => "no links",
            Self::Mentions => "the host in each row, no links",
            Self::Pages => "a link in 50 rows",
            Self::Rows => "a link in each row",
            Self::PlainGzip => "no links, gzip",
            Self::PagesGzip => "a link in 50 rows, gzip",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        LISTINGS.into_iter().find(|listing| listing.name() == name)
    }

    pub(crate) fn is_packed(self) -> bool {
        matches!(self, Self::PlainGzip | Self::PagesGzip)
    }

    /// The text of a listing of about so many megabytes, of a tenant at `host`.
    pub(crate) fn text(self, host: &str, megabytes: usize) -> Vec<u8> {
        self.text_of(host, megabytes * 1_000_000)
    }

    /// The text of a listing of so many bytes or a few less.
    pub(crate) fn text_of(self, host: &str, bytes: usize) -> Vec<u8> {
        let mut text = br#"{"success":true,"accounts":["#.to_vec();
        let mut number = 1_u64;
        for count in 1_u32.. {
            number = number * 48_271 % 0x7fff_ffff;
            let row = self.row(host, count, number);
            if text.len() + row.len() + 2 > bytes {
                break;
            }
            if count > 1 {
                text.push(b',');
            }
            text.extend_from_slice(row.as_bytes());
        }
        text.extend_from_slice(b"]}");
        text
    }

    fn row(self, host: &str, count: u32, number: u64) -> String {
        let address = match self {
            Self::Plain | Self::PlainGzip => String::new(),
            Self::Mentions => format!(r#","url":"https://{host}/v1/accounts/{number}""#),
            Self::Pages | Self::PagesGzip if !count.is_multiple_of(50) => String::new(),
            Self::Pages | Self::PagesGzip | Self::Rows => {
                format!(r#","nextPage":"https://{host}/v1/accounts?page={number}""#)
            }
        };
        format!(
            r#"{{"id":"8ad0{number:010}8c84","accountNumber":"A{number:08}","name":"Customer {number} Ltd","balance":{number}.50,"currency":"EUR","status":"Active","notes":null{address}}}"#
        )
    }

    /// As Zuora would pack it.
    pub(crate) fn packed(self, text: &[u8]) -> Vec<u8> {
        let mut packing = GzEncoder::new(Vec::new(), Compression::default());
        packing.write_all(text).expect("memory takes it all");
        packing.finish().expect("memory takes it all")
    }
}
