//! One door at a time: which proofs are good, and which only look it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use testkit::{APP, SECRET, Yaml};

use super::{Door, OTHER, THE_APP, THE_OTHER, doors, is_let_in, is_turned_away, scene, whose};
use crate::wire::attack::Scene;

#[tokio::test]
async fn every_door_leads_to_the_same_app_and_nothing_of_it_to_zuora() {
    let scene = scene(&[]).await;
    for app in [&THE_APP, &THE_OTHER] {
        for door in doors(&scene, app).await {
            is_let_in(&scene, &door, app).await;
        }
    }
}

#[tokio::test]
async fn a_proof_with_a_single_character_changed_is_none() {
    // Where callers without a credential are let in, those with a wrong one are still not.
    for top in [&[][..], &["anonymous: other"]] {
        let scene = scene(top).await;
        for door in doors(&scene, &THE_APP).await {
            let value = door.fields.rfind("\r\n").unwrap();
            let begin = door.fields.rfind([' ', '=']).unwrap() + 1;
            // A token ends in a signature, whose last character may have bits that mean nothing.
            for at in [begin, begin + (value - begin) / 2, value - 2] {
                let mut bytes = door.fields.clone().into_bytes();
                bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
                let changed = String::from_utf8(bytes).unwrap();
                is_turned_away(&scene, door.name, &changed).await;
            }
            // Padding says nothing.
            let shorter = door.fields[..value].trim_end_matches('=');
            let shorter = format!("{}\r\n", &shorter[..shorter.len() - 1]);
            is_turned_away(&scene, door.name, &shorter).await;
            let longer = format!("{}x\r\n", &door.fields[..value]);
            is_turned_away(&scene, door.name, &longer).await;
        }
    }
}

#[tokio::test]
async fn a_proof_at_the_wrong_door_or_in_pieces_is_none() {
    let scene = scene(&["anonymous: other"]).await;
    let basic = |pair: &str| BASE64_STANDARD.encode(pair);
    let pieces = [
        ("only the id", format!("apiAccessKeyId: {APP}\r\n")),
        ("only the key", format!("apiSecretAccessKey: {SECRET}\r\n")),
        ("an empty key", format!("apiAccessKeyId: {APP}\r\napiSecretAccessKey: \r\n")),
        ("an empty id", format!("apiAccessKeyId: \r\napiSecretAccessKey: {SECRET}\r\n")),
        ("exchanged", format!("apiAccessKeyId: {SECRET}\r\napiSecretAccessKey: {APP}\r\n")),
        ("of two apps", format!("apiAccessKeyId: {OTHER}\r\napiSecretAccessKey: {SECRET}\r\n")),
        (
            "two ids",
            format!(
                "apiAccessKeyId: {APP}\r\napiAccessKeyId: {OTHER}\r\napiSecretAccessKey: {SECRET}\r\n"
            ),
        ),
        (
            "two keys, the first good",
            format!(
                "apiAccessKeyId: {APP}\r\napiSecretAccessKey: {SECRET}\r\napiSecretAccessKey: x\r\n"
            ),
        ),
        (
            "two keys, the last good",
            format!(
                "apiAccessKeyId: {APP}\r\napiSecretAccessKey: x\r\napiSecretAccessKey: {SECRET}\r\n"
            ),
        ),
        (
            "a list of keys",
            format!("apiAccessKeyId: {APP}, {APP}\r\napiSecretAccessKey: {SECRET}, {SECRET}\r\n"),
        ),
        ("the secret as a session", format!("Authorization: ZSession {SECRET}\r\n")),
        ("the secret as a cookie", format!("Cookie: ZSession={SECRET}\r\n")),
        ("the id as a secret", format!("Authorization: Bearer {APP}\r\n")),
        ("the name as a secret", "Authorization: Bearer app\r\n".to_owned()),
        ("another scheme", format!("Authorization: Digest {SECRET}\r\n")),
        ("no scheme", format!("Authorization: {SECRET}\r\n")),
        ("an empty field", "Authorization: \r\n".to_owned()),
        ("a scheme alone", "Authorization: Bearer\r\n".to_owned()),
        ("a session alone", "Authorization: ZSession\r\n".to_owned()),
        (
            "basic, an empty name",
            format!("Authorization: Basic {}\r\n", basic(&format!(":{SECRET}"))),
        ),
        (
            "basic, another name",
            format!("Authorization: Basic {}\r\n", basic(&format!("{OTHER}:{SECRET}"))),
        ),
        (
            "basic, the name in capitals",
            format!("Authorization: Basic {}\r\n", basic(&format!("APP:{SECRET}"))),
        ),
    ];
    for (what, fields) in pieces {
        is_turned_away(&scene, what, &fields).await;
    }
    // With nothing at all, one is anonymous here.
    assert_eq!(whose(&scene, "").await.as_deref(), Some("other"));
    assert_eq!(whose(&scene, "Cookie: theme=dark\r\n").await.as_deref(), Some("other"));
}

#[tokio::test]
async fn what_is_only_kept_as_a_hash_opens_every_door_too() {
    // printf %s the-secret-of-the-other-app | sha256sum
    let hash = "568d17e3cdaca2e0bc0e47d595a2f7d8aa2c4d2bd0bf554121ca336333263c9c";
    let keys = format!("client_id: {OTHER}, secret_sha256: {hash}");
    let scene = Scene::with(&Yaml { apps: vec![("other".into(), keys)], ..Yaml::default() }).await;
    for door in doors(&scene, &THE_OTHER).await {
        is_let_in(&scene, &door, &THE_OTHER).await;
    }
    let the_hash = Door::new("the hash", format!("Authorization: Bearer {hash}\r\n"), &[]);
    is_turned_away(&scene, the_hash.name, &the_hash.fields).await;
}

#[tokio::test]
async fn two_secrets_are_good_while_one_is_exchanged_for_the_other() {
    // printf %s the-old-secret-of-other | sha256sum
    let hash = "d0cfe89977a525e4732b141a53e7c7075598b8dc879a47e985dbf7b49c3deb11";
    for previous in [
        "previous_secret: the-old-secret-of-other".to_owned(),
        format!("previous_secret_sha256: {hash}"),
    ] {
        let keys = format!("client_id: {OTHER}, secret: {}, {previous}", THE_OTHER.secret);
        let scene =
            Scene::with(&Yaml { apps: vec![("other".into(), keys)], ..Yaml::default() }).await;
        let old = super::Known { secret: "the-old-secret-of-other", ..THE_OTHER };
        for known in [&THE_OTHER, &old] {
            for door in doors(&scene, known).await {
                is_let_in(&scene, &door, known).await;
            }
        }
        is_turned_away(&scene, "neither", "Authorization: Bearer the-older-secret-of-other\r\n")
            .await;
    }
}
