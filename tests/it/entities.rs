//! Entities: which ones an app may name, in every way to name them, and which one is meant when it names none. The
//! judge is a tenant of sockets, which must see the one that was judged.

use testkit::{SECRET, Yaml};

use crate::wire::attack::{Scene, get};
use crate::wire::upstream::RawUpstream;

/// Three entities of the tenant, the first its default, and one that is not served.
const GERMANY: &str = "2c92a0f9-1111-4222-8333-6bd69165016a";
const FRANCE: &str = "2c92a0f9-1111-4222-8333-6bd69165016b";
const SPAIN: &str = "2c92a0f9-1111-4222-8333-6bd69165016c";
const ELSEWHERE: &str = "2c92a0f9-1111-4222-8333-6bd69165016d";

/// Entities of the tenant; and those of the app, if it may not name all of them.
async fn scene(of_app: Option<&[&str]>) -> Scene {
    let tenant = format!(
        r#"entities: [{{id: {GERMANY}, name: "Germany"}}, {{id: {FRANCE}, name: "La France"}}, {SPAIN}]"#
    );
    let app = of_app.map(|ids| format!("entities: [{}]", ids.join(", ")));
    Scene::with(&Yaml { tenant: vec![tenant], app: app.into_iter().collect(), ..Yaml::default() })
        .await
}

/// The entity that the tenant is asked for when the app sends `fields`; it must be named once, in one way.
async fn asked_for(scene: &Scene, fields: &str) -> String {
    let (answer, received) = scene.ask(fields, get("/v1/accounts/A1", fields)).await;
    assert_eq!(answer.status, 200, "{fields}: {answer:?}");
    let mut named = received.fields("zuora-entity-ids");
    let old = [received.fields("entityid"), received.fields("entityname")].concat();
    assert!(named.len() + old.len() == 1, "{fields}: {}", received.text());
    named.extend(old);
    named.remove(0)
}

fn without_hyphens(id: &str) -> String {
    id.replace('-', "")
}

#[tokio::test]
async fn who_names_no_entity_means_the_first_that_it_may() {
    assert_eq!(asked_for(&scene(None).await, "").await, GERMANY);
    assert_eq!(asked_for(&scene(Some(&[FRANCE, SPAIN])).await, "").await, FRANCE);
    assert_eq!(asked_for(&scene(Some(&[SPAIN])).await, "").await, SPAIN);
}

#[tokio::test]
async fn what_is_said_for_an_app_is_not_the_apps_to_take_off() {
    let scene = scene(Some(&[FRANCE])).await;
    for name in ["Zuora-Entity-Ids", "zuora-entity-ids, close", "entityId"] {
        let fields = format!("Connection: {name}\r\n");
        assert_eq!(asked_for(&scene, &fields).await, FRANCE, "{fields}");
    }
}

#[tokio::test]
async fn an_entity_may_be_named_in_each_of_zuoras_ways() {
    let scene = scene(Some(&[GERMANY, FRANCE])).await;
    let ways = [
        format!("Zuora-Entity-Ids: {FRANCE}\r\n"),
        format!("zuora-entity-ids: {FRANCE}\r\n"),
        format!("entityId: {}\r\n", without_hyphens(FRANCE)),
        "entityName: La France\r\n".to_owned(),
    ];
    for fields in ways {
        let asked = asked_for(&scene, &fields).await;
        let as_sent = fields.trim_end().split_once(": ").unwrap().1;
        assert!(asked == FRANCE || asked == as_sent, "{fields}: {asked}");
    }
}

#[tokio::test]
async fn an_entity_of_others_is_reached_in_no_way() {
    let scene = scene(Some(&[GERMANY, FRANCE])).await;
    for id in [SPAIN, ELSEWHERE] {
        let bare = without_hyphens(id);
        let ways = [
            format!("Zuora-Entity-Ids: {id}\r\n"),
            format!("ZUORA-ENTITY-IDS: {}\r\n", id.to_uppercase()),
            format!("Zuora-Entity-Ids: {bare}\r\n"),
            format!("Zuora-Entity-Ids: \"{id}\"\r\n"),
            format!("Zuora-Entity-Ids: {{{id}}}\r\n"),
            format!("Zuora-Entity-Ids: {FRANCE},{id}\r\n"),
            format!("Zuora-Entity-Ids: {id}, {FRANCE}\r\n"),
            format!("Zuora-Entity-Ids: {id};{FRANCE}\r\n"),
            format!("Zuora-Entity-Ids: {FRANCE} {id}\r\n"),
            format!("Zuora-Entity-Ids: {FRANCE}\r\nZuora-Entity-Ids: {id}\r\n"),
            format!("Zuora-Entity-Ids: {id}\r\nZuora-Entity-Ids: {FRANCE}\r\n"),
            format!("Zuora-Entity-Ids: {FRANCE}\r\nentityId: {bare}\r\n"),
            format!("entityId: {bare}\r\nZuora-Entity-Ids: {FRANCE}\r\n"),
            format!("Zuora-Entity-Ids: \r\nentityId: {bare}\r\n"),
            format!("entityId: {bare}\r\n"),
            format!("entityid: {}\r\n", bare.to_uppercase()),
            format!("entityId: {id}\r\n"),
            format!("entityId: {}\r\nentityId: {bare}\r\n", without_hyphens(FRANCE)),
            format!("entityId: {}\r\nentityName: Nowhere\r\n", without_hyphens(FRANCE)),
        ];
        for fields in ways {
            scene.turns_away(&fields, get("/v1/accounts/A1", &fields), &[400, 403]).await;
        }
    }
    for name in ["Nowhere", "", "Germany, Nowhere", "Germany\r\nentityName: Nowhere"] {
        let fields = format!("entityName: {name}\r\n");
        scene.turns_away(&fields, get("/v1/accounts/A1", &fields), &[400, 403]).await;
    }
    let fields = "Zuora-Entity-Ids: \r\n";
    scene.turns_away(fields, get("/v1/accounts/A1", fields), &[400, 403]).await;
}

#[tokio::test]
async fn a_refusal_says_which_entities_there_are_to_name() {
    let scene = scene(Some(&[GERMANY, FRANCE])).await;
    let fields = format!("Zuora-Entity-Ids: {ELSEWHERE}\r\n");

    let answer = scene.exchange("elsewhere", get("/v1/accounts/A1", &fields)).await.answer;

    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(answer.field("zuora-gateway-error"), Some("forbidden"));
    assert!(answer.text().contains("50000010"), "{answer:?}");
    // Which ones belong to others is not this app's business.
    assert!(!answer.text().contains(SPAIN), "{answer:?}");
}

#[tokio::test]
async fn an_organization_is_passed_on_beside_the_entity() {
    let scene = scene(None).await;
    let fields = "Zuora-Org-Ids: 12, 17\r\n";
    let (_, received) = scene.ask(fields, get("/v1/accounts/A1", fields)).await;
    assert_eq!(received.fields("zuora-org-ids"), ["12, 17"]);
    assert_eq!(received.fields("zuora-entity-ids"), [GERMANY]);
}

#[tokio::test]
async fn without_entities_what_an_app_names_goes_on_and_nothing_is_added() {
    let scene = Scene::start().await;
    let (_, received) = scene.ask("none", get("/v1/accounts/A1", "")).await;
    for field in ["zuora-entity-ids", "entityid", "entityname"] {
        assert!(received.fields(field).is_empty(), "{}", received.text());
    }
}

/// A SOAP call: what stands in the header and the body of its envelope.
fn soap(header: &str, body: &str) -> String {
    let envelope = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:a=\"http://api.zuora.com/\"><e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>"
    );
    let length = envelope.len();
    format!(
        "POST /apps/services/a/91.0 HTTP/1.1\r\nHost: gw\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{envelope}"
    )
}

#[tokio::test]
async fn a_session_is_no_way_to_another_entity() {
    let upstream = RawUpstream::start().await;
    let tenant = vec![
        format!("soap_url: {}", upstream.url()),
        format!(
            "entities: [{{id: {GERMANY}, name: Germany}}, {{id: {FRANCE}, name: France}}, {{id: {SPAIN}, name: Spain}}]"
        ),
    ];
    let app = vec![format!("entities: [{GERMANY}, {FRANCE}]")];
    let scene = Scene::before(upstream, &Yaml { tenant, app, ..Yaml::default() }).await;
    let login = |entity: &str| {
        soap(
            "",
            &format!(
                "<a:login><a:username>app</a:username><a:password>{SECRET}</a:password>{entity}</a:login>"
            ),
        )
    };
    let call = |session: &str| {
        soap(
            &format!("<a:SessionHeader><a:session>{session}</a:session></a:SessionHeader>"),
            "<a:query/>",
        )
    };
    for entity in [
        format!("<a:entityId>{}</a:entityId>", without_hyphens(SPAIN)),
        format!("<a:entityId>{SPAIN}</a:entityId>"),
        "<a:entityName>Spain</a:entityName>".to_owned(),
        format!("<a:entityId>{ELSEWHERE}</a:entityId>"),
        format!("<a:entityId>{FRANCE}</a:entityId><a:entityName>Spain</a:entityName>"),
    ] {
        let answer = scene.exchange(&entity, login(&entity)).await.answer;
        assert!(answer.status == 500 && !answer.text().contains("ession>"), "{entity}: {answer:?}");
    }

    for entity in
        [format!("<a:entityId>{FRANCE}</a:entityId>"), "<a:entityName>France</a:entityName>".into()]
    {
        let answer = scene.exchange(&entity, login(&entity)).await.answer.text();
        let session = answer.split("ession>").nth(1).unwrap().split("</").next().unwrap();
        let (answer, received) = scene.ask(&entity, call(session)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(received.fields("zuora-entity-ids"), [FRANCE]);
        // Whoever changes what is said of the entity in it gets no further than by a field.
        let changed = session.replace(FRANCE, SPAIN);
        assert_ne!(changed, session);
        for forged in
            [changed, format!("{session}~{SPAIN}"), session.replace(FRANCE, "x&#13;&#10;y")]
        {
            scene.upstream.forget();
            let answer = scene.exchange("forged", call(&forged)).await.answer;
            assert_eq!(
                (answer.status, scene.upstream.received().len()),
                (500, 0),
                "{forged}: {answer:?}"
            );
        }
        // A field says what it says, and is judged by itself.
        let asked = call(session)
            .replace("Host: gw\r\n", &format!("Host: gw\r\nZuora-Entity-Ids: {SPAIN}\r\n"));
        scene.upstream.forget();
        let answer = scene.exchange("a field", asked).await.answer;
        assert_eq!((answer.status, scene.upstream.received().len()), (500, 0), "{answer:?}");
    }
}
