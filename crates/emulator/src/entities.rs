//! The entities of a Multi-entity tenant, and the ways to name one.

use http::HeaderMap;

/// The entities that there are; none if the tenant has no Multi-entity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities {
    /// Their ids, the first of them the one that is meant when none is named.
    pub(crate) ids: Vec<String>,
    /// Names for some, each with its id.
    names: Vec<(String, String)>,
}

/// The entity that was named does not exist, or is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadEntity;

impl Entities {
    pub(crate) fn new(ids: &[String], names: &[(String, String)]) -> Self {
        Self { ids: ids.to_vec(), names: names.to_vec() }
    }

    /// The id of the entity that the headers name; `None`: they name none, or
    /// the tenant has no entities.
    pub(crate) fn named(&self, headers: &HeaderMap) -> Result<Option<&str>, BadEntity> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let (id, name) = (text("entityid"), text("entityname"));
        if headers.get_all("zuora-entity-ids").iter().count() > 1 && !self.ids.is_empty() {
            return Err(BadEntity);
        }
        match text("zuora-entity-ids") {
            _ if self.ids.is_empty() => Ok(None),
            Some(id) => self.with_id(id).map(Some),
            None => self.legacy(id, name),
        }
    }

    /// The same from the older id without hyphens, or the name. Both together
    /// are an error (Zuora: Multi-entity authentication).
    pub(crate) fn legacy(
        &self,
        id: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<&str>, BadEntity> {
        match (id, name) {
            _ if self.ids.is_empty() => Ok(None),
            (None, None) => Ok(None),
            (Some(id), None) => self.with_plain_id(id).map(Some),
            (None, Some(name)) => {
                let found = self.names.iter().find(|(known, _)| known == name);
                found.ok_or(BadEntity).and_then(|(_, id)| self.with_id(id)).map(Some)
            }
            (Some(_), Some(_)) => Err(BadEntity),
        }
    }

    fn with_id(&self, id: &str) -> Result<&str, BadEntity> {
        let found = self.ids.iter().find(|known| known.eq_ignore_ascii_case(id));
        found.map(String::as_str).ok_or(BadEntity)
    }

    fn with_plain_id(&self, id: &str) -> Result<&str, BadEntity> {
        let plain = |id: &str| id.replace('-', "").to_ascii_lowercase();
        let found = self.ids.iter().find(|known| plain(known) == plain(id));
        found.map(String::as_str).ok_or(BadEntity)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: Result<Option<&str>, BadEntity>) {
        let entities = Entities::new(
            &["2c92c0f8-0000".into(), "2c92c0f8-0001".into()],
            &[("Germany".into(), "2c92c0f8-0001".into())],
        );
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));

        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        assert_eq!(entities.named(&map), expected);
    }

    #[test]
    fn an_entity_is_named_in_three_ways() {
        check(&[], Ok(None));
        check(&[("zuora-entity-ids", " 2C92C0F8-0001 ")], Ok(Some("2c92c0f8-0001")));
        check(&[("zuora-entity-ids", "2c92c0f80001")], Err(BadEntity));
        let twice = [("zuora-entity-ids", "2c92c0f8-0000"), ("zuora-entity-ids", "2c92c0f8-0001")];
        check(&twice, Err(BadEntity));
        check(&[("zuora-entity-ids", "2c92c0f8-0000,2c92c0f8-0001")], Err(BadEntity));
        check(&[("entityid", "2c92c0f80001")], Ok(Some("2c92c0f8-0001")));
        check(&[("entityname", "Germany")], Ok(Some("2c92c0f8-0001")));
        check(&[("entityname", "France")], Err(BadEntity));
        check(&[("entityid", "2c92c0f80001"), ("entityname", "Germany")], Err(BadEntity));
    }
}
