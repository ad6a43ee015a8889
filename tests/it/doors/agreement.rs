//! Two proofs in one request: they must agree, or nobody is let in.

use super::{Door, THE_APP, THE_OTHER, doors, is_let_in, is_turned_away, scene};

fn both(one: &Door, another: &Door, name: &'static str) -> Door {
    let secrets = one.secrets.iter().chain(&another.secrets).cloned().collect();
    Door { name, fields: format!("{}{}", one.fields, another.fields), secrets }
}

#[tokio::test]
async fn two_proofs_of_the_same_app_are_as_good_as_one() {
    let scene = scene(&[]).await;
    let doors = doors(&scene, &THE_APP).await;
    let mut met = 0;
    for one in &doors {
        for another in doors.iter().filter(|it| !it.shares_a_field_with(one)) {
            is_let_in(&scene, &both(one, another, "two that agree"), &THE_APP).await;
            met += 1;
        }
    }
    assert!(met > 20, "{met} pairs");
}

#[tokio::test]
async fn proofs_of_two_apps_let_nobody_in() {
    let scene = scene(&["anonymous: app"]).await;
    let (ours, theirs) = (doors(&scene, &THE_APP).await, doors(&scene, &THE_OTHER).await);
    for one in &ours {
        for another in &theirs {
            for (first, last) in [(one, another), (another, one)] {
                let pair = both(first, last, "two apps");
                is_turned_away(&scene, &format!("{} and {}", first.name, last.name), &pair.fields)
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_proof_beside_a_good_one_lets_nobody_in() {
    let scene = scene(&["anonymous: app"]).await;
    let wrong = [
        "Authorization: Bearer wrong\r\n",
        "Authorization: ZSession wrong\r\n",
        "apiAccessKeyId: app\r\napiSecretAccessKey: wrong\r\n",
        "apiAccessKeyId: app\r\n",
        "apiSecretAccessKey: wrong\r\n",
        "Cookie: ZSession=wrong\r\n",
    ];
    for door in doors(&scene, &THE_APP).await {
        for wrong in wrong {
            is_turned_away(&scene, door.name, &format!("{}{wrong}", door.fields)).await;
            is_turned_away(&scene, door.name, &format!("{wrong}{}", door.fields)).await;
        }
    }
}

#[tokio::test]
async fn the_same_field_twice_lets_nobody_in_though_both_are_good() {
    let scene = scene(&[]).await;
    let doors = doors(&scene, &THE_APP).await;
    for door in doors.iter().filter(|it| it.fields.to_lowercase().starts_with("authorization")) {
        is_turned_away(&scene, door.name, &format!("{0}{0}", door.fields)).await;
    }
}
