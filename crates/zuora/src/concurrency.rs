//! What Zuora says about its own limit on an answer (Zuora: rate limits guide).

use http::{HeaderMap, HeaderName};

const TYPE: HeaderName = HeaderName::from_static("concurrency-limit-type");
const LIMIT: HeaderName = HeaderName::from_static("concurrency-limit-limit");
const REMAINING: HeaderName = HeaderName::from_static("concurrency-limit-remaining");

/// The `Concurrency-Limit-*` fields of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency<'a> {
    /// The limit type as Zuora spelled it; absent when the answer does not say. New ones appear, so
    /// it is a name rather than a [`LimitType`](crate::LimitType).
    pub limit_type: Option<&'a str>,
    /// How many requests of this type may be at Zuora at the same time.
    pub limit: u32,
    /// How many more there might have been, everybody's requests counted; absent when the answer
    /// does not say. A snapshot that Zuora takes about once a second.
    pub remaining: Option<u32>,
}

impl<'a> Concurrency<'a> {
    /// Reads the fields; `None` when there is no number to go by, as on operations outside `/v1`
    /// and `/object-query`, and on some HTTP 500.
    pub fn read(headers: &'a HeaderMap) -> Option<Self> {
        Some(Self {
            limit_type: text(headers, &TYPE).filter(|name| !name.is_empty()),
            limit: text(headers, &LIMIT)?.parse().ok()?,
            remaining: text(headers, &REMAINING).and_then(|remaining| remaining.parse().ok()),
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
    fn type_limit_and_rest_are_read() {
        let headers = headers(&[
            ("concurrency-limit-type", "High-volume transactions"),
            ("concurrency-limit-limit", " 200 "),
            ("concurrency-limit-remaining", "0"),
        ]);

        let read = Concurrency::read(&headers).unwrap();

        assert_eq!((read.limit, read.remaining), (200, Some(0)));
        assert_eq!(read.limit_type, Some("High-volume transactions"));
        assert!(read.is_of_type("high-volume Transactions"));
        assert!(!read.is_of_type("Default"));
    }

    #[test]
    fn an_unknown_type_keeps_its_name() {
        let headers = headers(&[
            ("concurrency-limit-type", "Billing Engine"),
            ("concurrency-limit-limit", "10"),
        ]);

        assert_eq!(Concurrency::read(&headers).unwrap().limit_type, Some("Billing Engine"));
    }

    #[test]
    fn a_missing_type_still_leaves_the_limit() {
        let headers = headers(&[("concurrency-limit-limit", "40")]);

        let read = Concurrency::read(&headers).unwrap();

        assert_eq!(read, Concurrency { limit_type: None, limit: 40, remaining: None });
    }

    #[test]
    fn a_rest_that_is_no_number_leaves_the_limit() {
        for rest in ["", "-1", "few", "99999999999"] {
            let fields = [("concurrency-limit-limit", "40"), ("concurrency-limit-remaining", rest)];

            let read = headers(&fields);

            let read = Concurrency::read(&read).unwrap();
            assert_eq!((read.limit, read.remaining), (40, None), "{rest:?}");
        }
    }

    #[test]
    fn a_limit_that_is_no_number_says_nothing() {
        for limit in ["", "-1", "many", "99999999999"] {
            let headers = headers(&[("concurrency-limit-limit", limit)]);

            assert_eq!(Concurrency::read(&headers), None, "{limit:?}");
        }
        assert_eq!(Concurrency::read(&HeaderMap::new()), None);
    }
}
