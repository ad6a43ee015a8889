//! The same doors over HTTP/2, where cookies come in crumbs and the host is no field.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::{OTHER_SECRET, THE_APP, doors, scene, session};
use crate::caller::connect_h2;
use crate::wire::attack::Scene;
use crate::wire::upstream::{Play, SHARED_TOKEN};

type Fields<'f> = &'f [(&'f str, &'f str)];

const HOST: &str = "gateway.example.com:8443";

/// `GET` over HTTP/2 with these fields, each apart.
async fn ask(scene: &Scene, path: &str, fields: Fields<'_>) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().uri(format!("http://{HOST}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response: Response<_> =
        connect_h2(scene.address()).await.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_door_is_open_over_http2_too() {
    let scene = scene(&[]).await;
    for door in doors(&scene, &THE_APP).await {
        let fields: Vec<_> =
            door.fields.lines().map(|line| line.split_once(": ").unwrap()).collect();
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let (_, _, who) = ask(&scene, "/_gateway/whoami", &fields).await;
        assert!(who.contains(r#""app":"app""#), "{door:?}: {who}");
        scene.upstream.forget();
        let (status, ..) = ask(&scene, "/v1/accounts/A1", &fields).await;
        assert_eq!(status, 200, "{door:?}");
        let [received] = &scene.upstream.requests()[..] else { panic!("{door:?}") };
        super::is_clean(&door, received);
    }
}

#[tokio::test]
async fn crumbs_are_one_cookie_and_two_proofs_are_two() {
    let scene = scene(&["anonymous: other"]).await;
    let ours = format!("ZSession={}", session(&scene, &THE_APP).await);
    let bearer = format!("Bearer {}", THE_APP.secret);
    let theirs = format!("Bearer {OTHER_SECRET}");
    let cases: [(Fields<'_>, _); 7] = [
        (&[("cookie", "theme=dark"), ("cookie", &ours), ("cookie", "lang=de")], Some("app")),
        (&[("cookie", &ours), ("authorization", &bearer)], Some("app")),
        (&[("cookie", &ours), ("authorization", &theirs)], None),
        (&[("cookie", &ours), ("cookie", "ZSession=wrong")], None),
        (&[("cookie", "ZSession=wrong"), ("cookie", "theme=dark")], None),
        (&[("authorization", &bearer), ("authorization", &bearer)], None),
        (&[("cookie", "theme=dark")], Some("other")),
    ];
    for (fields, expected) in cases {
        scene.upstream.forget();
        let (status, _, who) = ask(&scene, "/_gateway/whoami", fields).await;
        match expected {
            Some(app) => assert!(who.contains(&format!(r#""app":"{app}""#)), "{fields:?}: {who}"),
            None => assert_eq!(status, 401, "{fields:?}: {who}"),
        }
        let (status, ..) = ask(&scene, "/v1/accounts/A1", fields).await;
        assert_eq!(status == 200, expected.is_some(), "{fields:?}: {status}");
        for received in scene.upstream.requests() {
            assert!(received.fields("cookie").is_empty(), "{}", received.text());
            assert_eq!(received.fields("authorization"), [format!("Bearer {SHARED_TOKEN}")]);
        }
    }
}

#[tokio::test]
async fn links_lead_to_the_authority_that_was_asked() {
    let scene = scene(&[]).await;
    let body =
        |url: &str| format!(r#"{{"nextPage":"{url}/v1/x","uri":"{}"}}"#, scene.upstream.url());
    let told = body(&scene.upstream.url());
    scene.upstream.forget();
    scene.upstream.play(Play::send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLocation: {}/v1/y\r\nSet-Cookie: ZSession=of-zuora\r\nContent-Length: {}\r\n\r\n{told}",
        scene.upstream.url(),
        told.len()
    )));
    let bearer = format!("Bearer {}", THE_APP.secret);

    let (status, headers, text) = ask(&scene, "/v1/accounts", &[("authorization", &bearer)]).await;

    assert_eq!((status.as_u16(), text), (200, body(&format!("http://{HOST}"))));
    assert_eq!(headers["location"], format!("http://{HOST}/v1/y"));
    assert!(!headers.contains_key("set-cookie"));
}
