//! Who the gateway is to Zuora: which credentials may stand together.

use http::HeaderValue;

use crate::reading::{At, Placed, Reading, Required};
use crate::scalar::Text;
use crate::{Credential, CredentialKind, Credentials, Pair, Secret, file};

/// What the section means, if it can be used.
pub(super) fn credentials(
    Placed { at, value: file }: Placed<file::Credentials>,
    has_soap_url: bool,
    reading: &mut Reading<'_>,
) -> Option<Credentials> {
    let file::Credentials { oauth, api_key, connection, soap_login } = file;
    let others = [oauth.written, api_key.written, connection.written];
    let others = others.into_iter().filter(|written| *written).count();
    match (others, soap_login.written) {
        (0, false) => {
            let message =
                "one of the keys `oauth`, `api_key`, `connection` and `soap_login` is needed";
            reading.tell_at(&at, message);
        }
        (0 | 1, _) => {}
        _ => {
            let message = "write one of `oauth`, `api_key` and `connection`; only `soap_login` may stand beside it";
            reading.tell_at(&at, message);
        }
    }

    let oauth = oauth.value.and_then(|file| {
        let previous = file.previous.value.map(|it| (it.client_id, it.client_secret));
        credential(CredentialKind::OAuth, (file.client_id, file.client_secret), previous, reading)
    });
    let api_key = api_key.value.and_then(|file| {
        let previous = file.previous.value.map(|it| (it.id, it.secret));
        credential(CredentialKind::ApiKey, (file.id, file.secret), previous, reading)
    });
    let connection = connection.value.and_then(|file| {
        let kind = CredentialKind::Connection(file.renew.value);
        let previous = file.previous.value.map(|it| (it.id, it.secret));
        credential(kind, (file.id, file.secret), previous, reading)
    });
    let is_soap_written = soap_login.written;
    let soap_login = soap_login.value.and_then(|Placed { at, value: file }| {
        if !has_soap_url {
            let message = "it needs to know where the SOAP API is: write `soap_url` of the tenant";
            reading.tell_at(&at, message);
        }
        let kind = CredentialKind::SoapLogin(file.renew.value);
        let previous = file.previous.value.map(|it| (it.username, it.password));
        credential(kind, (file.username, file.password), previous, reading)
    });

    if others == 0 {
        return Some(Credentials { main: soap_login?, soap: None });
    }
    let soap = if is_soap_written { Some(soap_login?) } else { None };
    Some(Credentials { main: oauth.or(api_key).or(connection)?, soap })
}

type Written = (Required<At<Text>>, Required<At<Secret>>);

fn credential(
    kind: CredentialKind,
    current: Written,
    previous: Option<Written>,
    reading: &mut Reading<'_>,
) -> Option<Credential> {
    let halves = [Some(&current), previous.as_ref()].into_iter().flatten();
    halves.for_each(|(id, secret)| tell_what_no_field_takes(kind, id, secret, reading));
    let place = previous.as_ref().and_then(|(id, _)| id.0.clone());
    let (is_written, previous) = (previous.is_some(), previous.and_then(pair));
    let current = pair(current)?;
    if let Some(place) = place.filter(|_| previous.as_ref() == Some(&current)) {
        reading.tell_at(&place, "`previous` is the same credential as the one above it");
    }
    (previous.is_some() || !is_written).then_some(Credential { kind, current, previous })
}

/// Where both go into header fields, they must be able to stand there.
fn tell_what_no_field_takes(
    kind: CredentialKind,
    id: &Required<At<Text>>,
    secret: &Required<At<Secret>>,
    reading: &mut Reading<'_>,
) {
    if !matches!(kind, CredentialKind::ApiKey | CredentialKind::Connection(_)) {
        return;
    }
    let is_field = |text: &str| HeaderValue::from_str(text).is_ok();
    let message = "it cannot stand in a header field, where Zuora wants it";
    if let Some(id) = id.0.as_ref().filter(|id| !is_field(&id.value.0)) {
        reading.tell_at(id, message);
    }
    if let Some(secret) = secret.0.as_ref().filter(|secret| !is_field(secret.value.expose())) {
        reading.tell_at(secret, message);
    }
}

fn pair((id, secret): Written) -> Option<Pair> {
    Some(Pair { id: id.0?.value.0, secret: secret.0?.value })
}
