//! What Zuora says about its own limit on an answer (Zuora: rate limits guide).

use http::{HeaderMap, HeaderName};

const TYPE: HeaderName = HeaderName::from_static("concurrency-limit-type");
const LIMIT: HeaderName = HeaderName::from_static("concurrency-limit-limit");
const REMAINING: HeaderName = HeaderName::from_static("concurrency-limit-remaining");

/// The `Concurrency-Limit-*` fields of one answer.
///
/// `remaining` is a snapshot that Zuora refreshes about once a second, and it counts everybody's
/// requests, also those of people and of other integrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency<'a> {
    /// The limit type as Zuora spelled it; absent when the answer does not say. New ones appear, so
    /// it is a name rather than a [`LimitType`](crate::LimitType).
    pub limit_type: Option<&'a str>,
    /// How many requests of this type may be at Zuora at the same time.
    pub limit: u32,
    /// How many more there may be, as of about a second ago.
    pub remaining: u32,
}

impl<'a> Concurrency<'a> {
    /// Reads the fields; `None` when there are no two numbers to go by, as on operations outside
    /// `/v1` and `/object-query`, and on some HTTP 500.
    pub fn read(headers: &'a HeaderMap) -> Option<Self> {
        Some(Self {
            limit_type: text(headers, &TYPE).filter(|name| !name.is_empty()),
            limit: text(headers, &LIMIT)?.parse().ok()?,
            remaining: text(headers, &REMAINING)?.parse().ok()?,
        })
    }

    /// Whether the answer names this limit type, whatever the case.
    pub fn is_of_type(&self, name: &str) -> bool {
        self.limit_type.is_some_and(|said| said.eq_ignore_ascii_case(name))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect()
    }

    #[test]
    fn the_three_fields_are_read() {
        let headers = headers(&[
            ("concurrency-limit-type", "High-volume transactions"),
            ("concurrency-limit-limit", "200"),
            ("concurrency-limit-remaining", " 173 "),
        ]);

        let read = Concurrency::read(&headers).unwrap();

        assert_eq!((read.limit, read.remaining), (200, 173));
        assert_eq!(read.limit_type, Some("High-volume transactions"));
        assert!(read.is_of_type("high-volume Transactions"));
        assert!(!read.is_of_type("Default"));
    }

    #[test]
    fn an_unknown_type_keeps_its_name() {
        let headers = headers(&[
            ("concurrency-limit-type", "Billing Engine"),
            ("concurrency-limit-limit", "10"),
            ("concurrency-limit-remaining", "0"),
        ]);

        assert_eq!(Concurrency::read(&headers).unwrap().limit_type, Some("Billing Engine"));
    }

    #[test]
    fn a_missing_type_still_leaves_the_numbers() {
        let headers =
            headers(&[("concurrency-limit-limit", "40"), ("concurrency-limit-remaining", "39")]);

        let read = Concurrency::read(&headers).unwrap();

        assert_eq!(read, Concurrency { limit_type: None, limit: 40, remaining: 39 });
    }

    #[test]
    fn fields_that_are_not_numbers_say_nothing() {
        for (limit, remaining) in [("", "1"), ("40", "-1"), ("40", "many"), ("99999999999", "1")] {
            let headers = headers(&[
                ("concurrency-limit-limit", limit),
                ("concurrency-limit-remaining", remaining),
            ]);

            assert_eq!(Concurrency::read(&headers), None, "{limit:?} {remaining:?}");
        }
        assert_eq!(Concurrency::read(&HeaderMap::new()), None);
    }
}
