//! Cookies: how clients send back what they were given, and that Zuora's own reach nobody.

use super::{Door, THE_APP, THE_OTHER, is_let_in, is_turned_away, scene, session, whose, with};
use crate::wire::upstream::Play;

#[tokio::test]
async fn a_session_is_found_however_a_client_sends_its_cookie_back() {
    let scene = scene(&[]).await;
    let ours = session(&scene, &THE_APP).await;
    let spellings = [
        format!("Cookie: ZSession={ours}\r\n"),
        format!("cookie: ZSession={ours};\r\n"),
        // The whole line of Set-Cookie, attributes included.
        format!("Cookie: ZSession={ours}; Path=/; HttpOnly\r\n"),
        format!("Cookie: ZSession={ours}; Path=/; Secure; HttpOnly\r\n"),
        // The first word of it.
        format!("Cookie: ZSession={ours};\r\n"),
        // Among others, before, after and between; without the space; as crumbs.
        format!("Cookie: theme=dark; ZSession={ours}\r\n"),
        format!("Cookie: theme=dark;ZSession={ours};lang=de\r\n"),
        format!("Cookie: theme=dark\r\nCookie: ZSession={ours}\r\n"),
        format!("Cookie: ZSession={ours}\r\nCookie: theme=dark\r\n"),
        format!("Cookie: ZSession=\"{ours}\"\r\n"),
        // Others that only look like it.
        format!("Cookie: xZSession=x; ZSession={ours}; ZSessionx=x; x=ZSession=y\r\n"),
        format!("Cookie: broken; =x; ;; ZSession={ours}\r\n"),
        format!("Cookie: {}ZSession={ours}\r\n", "a=b; ".repeat(2_000)),
    ];
    for fields in spellings {
        let door = Door::new("a cookie", fields, &[&ours, "theme=dark"]);
        is_let_in(&scene, &door, &THE_APP).await;
    }
}

#[tokio::test]
async fn a_cookie_that_is_not_ours_lets_nobody_in() {
    let scene = scene(&["anonymous: app"]).await;
    let (ours, theirs) = (session(&scene, &THE_APP).await, session(&scene, &THE_OTHER).await);
    let wrong = [
        "Cookie: ZSession=\r\n".to_owned(),
        "Cookie: ZSession=\"\"\r\n".to_owned(),
        "Cookie: ZSession=a-session-of-zuora\r\n".to_owned(),
        format!("Cookie: ZSession={ours}x\r\n"),
        format!("Cookie: ZSession=x{ours}\r\n"),
        format!("Cookie: ZSession={ours}; ZSession={theirs}\r\n"),
        format!("Cookie: ZSession={theirs}\r\nCookie: ZSession={ours}\r\n"),
        format!("Cookie: ZSession={ours}; ZSession=x\r\n"),
        format!("Cookie: ZSession=x\r\nCookie: ZSession={ours}\r\n"),
        format!("Cookie: ZSession={}\r\n", "x".repeat(20_000)),
    ];
    for fields in wrong {
        is_turned_away(&scene, "a cookie", &fields).await;
    }
    // Somebody else's cookies are no credential, neither good nor bad.
    for fields in ["Cookie: theme=dark\r\n", "Cookie: \r\n", "Cookie: ZSessionx=x\r\n"] {
        assert_eq!(whose(&scene, fields).await.as_deref(), Some("app"), "{fields}");
    }
}

#[tokio::test]
async fn no_cookie_of_zuora_reaches_an_app() {
    let scene = scene(&[]).await;
    let fields = format!("Authorization: Bearer {}\r\n", THE_APP.secret);
    let cookies = "Set-Cookie: ZSession=of-zuora; Path=/; Secure; HttpOnly\r\nset-cookie: b=of-zuora\r\nSet-Cookie2: c=of-zuora\r\n";
    let answers = [
        ("200 OK", "Content-Length: 2\r\n\r\n{}"),
        (
            "200 OK",
            "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nSet-Cookie: d=of-zuora\r\n\r\n",
        ),
        ("204 No Content", "\r\n"),
        ("302 Found", "Location: /x\r\nContent-Length: 0\r\n\r\n"),
        ("401 Unauthorized", "Content-Length: 2\r\n\r\n{}"),
        ("404 Not Found", "Content-Length: 2\r\n\r\n{}"),
        ("500 Internal Server Error", "Content-Length: 2\r\n\r\n{}"),
    ];
    for (status, rest) in answers {
        scene.upstream.forget();
        // As often as it may be asked.
        for _ in 0..8 {
            scene.upstream.play(Play::send(format!("HTTP/1.1 {status}\r\n{cookies}{rest}")));
        }
        for line in ["GET /v1/accounts/A1", "GET /v1/connections", "GET /rest/v1/connections"] {
            let answer = scene.exchange(status, with(line, &fields)).await.answer;
            let told = format!("{answer:?}{}", answer.text());
            assert!(answer.status != 0 && !told.contains("of-zuora"), "{line} {status}: {told}");
        }
    }
}
