//! Zuora's environments by name, and where each is reached.

/// One of Zuora's environments in one of its data centres (Zuora: API reference, endpoints; SOAP API, endpoints).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataCentre {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Where its REST API is.
    pub base_url: &'static str,
    /// Where its SOAP API is.
    pub soap_url: &'static str,
}

/// Every environment that Zuora names a base URL for. Developer and Central Sandbox share theirs, and so do both
/// American clouds for them.
pub const DATA_CENTRES: [DataCentre; 15] = [
    row("us-cloud-1-production", "https://rest.na.zuora.com", "https://na.zuora.com"),
    row(
        "us-cloud-1-api-sandbox",
        "https://rest.sandbox.na.zuora.com",
        "https://sandbox.na.zuora.com",
    ),
    row("us-cloud-1-developer-sandbox", "https://rest.test.zuora.com", "https://test.zuora.com"),
    row("us-cloud-1-central-sandbox", "https://rest.test.zuora.com", "https://test.zuora.com"),
    row("us-cloud-2-production", "https://rest.zuora.com", "https://www.zuora.com"),
    row(
        "us-cloud-2-api-sandbox",
        "https://rest.apisandbox.zuora.com",
        "https://apisandbox.zuora.com",
    ),
    row("us-cloud-2-developer-sandbox", "https://rest.test.zuora.com", "https://test.zuora.com"),
    row("us-cloud-2-central-sandbox", "https://rest.test.zuora.com", "https://test.zuora.com"),
    row("eu-production", "https://rest.eu.zuora.com", "https://eu.zuora.com"),
    row("eu-api-sandbox", "https://rest.sandbox.eu.zuora.com", "https://sandbox.eu.zuora.com"),
    row("eu-developer-sandbox", "https://rest.test.eu.zuora.com", "https://test.eu.zuora.com"),
    row("eu-central-sandbox", "https://rest.test.eu.zuora.com", "https://test.eu.zuora.com"),
    row("apac-production", "https://rest.ap.zuora.com", "https://ap.zuora.com"),
    row("apac-developer-sandbox", "https://rest.test.ap.zuora.com", "https://test.ap.zuora.com"),
    row("apac-central-sandbox", "https://rest.test.ap.zuora.com", "https://test.ap.zuora.com"),
];

impl DataCentre {
    /// The environment of this name; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        DATA_CENTRES.into_iter().find(|known| known.name == name)
    }
}

const fn row(name: &'static str, base_url: &'static str, soap_url: &'static str) -> DataCentre {
    DataCentre { name, base_url, soap_url }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_there_once_and_finds_its_own() {
        let names: HashSet<_> = DATA_CENTRES.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), DATA_CENTRES.len());
        for known in DATA_CENTRES {
            assert_eq!(DataCentre::named(known.name), Some(known));
        }
        assert_eq!(DataCentre::named("production"), None);
    }

    /// The SOAP host is the REST host without `rest.`, but for the oldest cloud, whose bare name is the company's site.
    #[test]
    fn rest_and_soap_are_of_the_same_environment() {
        for known in DATA_CENTRES {
            let expected = match known.base_url {
                "https://rest.zuora.com" => "https://www.zuora.com".to_owned(),
                base_url => base_url.replace("//rest.", "//"),
            };
            assert_eq!(known.soap_url, expected, "{}", known.name);
        }
    }
}
