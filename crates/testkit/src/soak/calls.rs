//! What is called, byte for byte.

use rand::RngExt;
use rand::rngs::StdRng;

use super::scene::{ACCOUNTS, secret};

/// The apps that call.
const APPS: [&str; 3] = ["app", "nightly", "checkout"];

/// A call as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) bytes: Vec<u8>,
    /// How many of them are its head.
    pub(super) head: usize,
}

/// What a caller remembers for its next call.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The last call with a key of the app's: the path, and the key.
    keyed: Option<(String, String)>,
}

impl Call {
    /// Any call, under a track id that nothing else has.
    pub(super) fn any(dice: &mut StdRng, memory: &mut Memory, track_id: &str) -> Self {
        let account = dice.random_range(1..=ACCOUNTS);
        let account = format!("/v1/accounts/A{account:08}");
        let generate = || format!("{account}/billing-documents/generate");
        let notes = r#"{"notes": "soaked"}"#;
        match dice.random_range(0..12) {
            0..3 => Self::new(dice, track_id, "GET", &account, "", &[]),
            3 => {
                let size = up_to(4_000_000, dice);
                Self::new(dice, track_id, "GET", &format!("/v1/files/size-{size}"), "", &[])
            }
            4 => Self::new(dice, track_id, "GET", "/object-query/accounts", "", &[]),
            5 | 6 => Self::new(dice, track_id, "POST", &generate(), notes, &[]),
            7 => {
                let (path, key) = match memory.keyed.take() {
                    // The same once more, as apps do that were told nothing.
                    Some(last) if dice.random_bool(0.3) => last,
                    _ => (generate(), format!("key-of-{track_id}")),
                };
                memory.keyed = Some((path.clone(), key.clone()));
                Self::new(dice, track_id, "POST", &path, notes, &[("idempotency-key", key)])
            }
            8 => {
                let body = r#"{"name": "Soak", "currency": "USD"}"#;
                Self::new(dice, track_id, "POST", "/v1/accounts", body, &[])
            }
            9 => {
                // Up to what is kept to be sent again, and beyond.
                let body = "x".repeat(up_to(1_500_000, dice));
                Self::new(dice, track_id, "POST", "/v1/usage", &body, &[])
            }
            10 => {
                let wait = [("prefer", format!("wait={}", dice.random_range(0..3)))];
                Self::new(dice, track_id, "PUT", &account, notes, &wait)
            }
            _ => {
                let subscription = dice.random_range(1..=ACCOUNTS);
                let path = format!("/v1/subscriptions/A-S{subscription:08}");
                Self::new(dice, track_id, "PUT", &path, notes, &[])
            }
        }
    }

    fn new(
        dice: &mut StdRng,
        track_id: &str,
        method: &str,
        path: &str,
        body: &str,
        fields: &[(&str, String)],
    ) -> Self {
        let secret = secret(APPS[dice.random_range(0..APPS.len())]);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: gw\r\nauthorization: Bearer {secret}\r\n\
             zuora-track-id: {track_id}\r\nconnection: close\r\n"
        );
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if method != "GET" {
            let kind = if path == "/v1/usage" { "text/csv" } else { "application/json" };
            head += &format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let length = head.len();
        Self { bytes: (head + body).into_bytes(), head: length }
    }
}

/// A size below this, all orders of magnitude alike.
pub(super) fn up_to(most: u32, dice: &mut StdRng) -> usize {
    let size = f64::from(most).powf(dice.random_range(0.0..1.0));
    size as usize
}
