//! Whatever the bytes: a verdict, never a panic, and no more work than a look.

use flate2::GzBuilder;

use super::*;

#[test]
fn a_body_cut_short_says_nothing() {
    let bodies = [
        reasons(&["50000070"]),
        reasons(&["50000050"]),
        reasons(&["90000011"]),
        pretty(&reasons(&["50000050"])),
        soap_fault("LOCK_COMPETITION", LOCKED),
        soap_fault("REQUEST_EXCEEDED_RATE", TOO_MANY),
    ];
    for body in bodies {
        for cut in 0..body.len() {
            let cut = &body.as_bytes()[..cut];
            Answer::new(200, "", cut).is(Verdict::Relay);
            Answer::new(400, "", cut).is(FAILED);
            Answer::new(500, "", cut).is(TEMPORARY);
            Answer::new(429, "", cut).is(concurrency(120));
            if body.starts_with('{') {
                Answer::new(409, "", cut).is(Verdict::InProgress);
            }
        }
        let packed = Answer::new(200, "", body).gzipped();
        for cut in 0..packed.body.len() {
            Answer { body: packed.body[..cut].to_vec(), ..packed.clone() }.is(Verdict::Relay);
        }
    }
}

#[test]
fn a_body_longer_than_the_look_says_nothing() {
    for code in ["50000070", "50000050", "90000011"] {
        for (fill, verdict) in [(1000, None), (ANSWER_LOOK, Some(Verdict::Relay))] {
            let long = reasons(&[code]).replace("7F2E", &"x".repeat(fill));
            let verdict = verdict.unwrap_or(Answer::json(200, reasons(&[code])).verdict());
            Answer::json(200, long.as_bytes()).is(verdict);
            Answer::json(200, long.as_bytes()).gzipped().is(verdict);
            Answer::json(200, &long.as_bytes()[..long.len().min(ANSWER_LOOK)]).is(verdict);
        }
    }
}

#[test]
fn what_ends_before_the_look_may_go_on_behind_it() {
    let mut padded = reasons(&["50000050"]);
    padded.push_str(&" ".repeat(ANSWER_LOOK - 1 - padded.len()));
    Answer::json(200, padded.as_str()).is(CONTENDED);
    padded.push(' ');
    Answer::json(200, padded.as_str()).is(Verdict::Relay);
    Answer::json(409, padded.as_str()).is(FAILED);
    Answer::json(200, padded).gzipped().is(Verdict::Relay);

    // A text that is short, and packed so that its end lies behind the look.
    let mut random = Random(64);
    let noise: String = (0..12_000).map(|_| char::from(b'a' + random.byte() % 26)).collect();
    for (name, verdict) in [(40_000, CONTENDED), (60_000, Verdict::Relay)] {
        let builder = GzBuilder::new().filename(vec![b'x'; name]);
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(reasons(&["50000050"]).replace("7F2E", &noise).as_bytes()).unwrap();
        let body = encoder.finish().unwrap();
        Answer::json(200, body).with("content-encoding", "gzip").is(verdict);
    }
}

#[test]
fn json_that_means_two_things_means_nothing() {
    for body in [
        r#"{"success":false,"success":false,"reasons":[{"code":50000050}]}"#,
        r#"{"success":false,"success":null,"reasons":[{"code":50000050}]}"#,
        r#"{"success":false,"Success":true,"reasons":[{"code":50000050}]}"#,
        r#"{"success":false,"reasons":[{"code":50000050}],"reasons":[]}"#,
        r#"{"success":false,"reasons":[{"code":50000050}],"errors":[]}"#,
        r#"{"success":false,"reasons":[{"code":50000050,"code":50000050}]}"#,
        r#"{"success":false,"reasons":[{"code":50000050,"Code":50000020}]}"#,
        r#"{"success":"false","reasons":[{"code":50000050}]}"#,
        r#"{"success":false,"reasons":{"code":50000050}}"#,
        r#"{"success":false,"reasons":[[50000050]]}"#,
        r#"{"success":false,"reasons":[{"code":50000050}]} {}"#,
        r#"{"success":false,"reasons":[{"code":50000050}],}"#,
        r#"{"success":false,"reasons":[{"code":50000050}]"#,
        r#"{'success':false,'reasons':[{'code':50000050}]}"#,
        r#"{"success":false,"reasons":[{"code":050000050}]}"#,
        r#"{"success":false,"reasons":[{"code":50000050,"message":7}]}"#,
    ] {
        Answer::json(200, body).is(Verdict::Relay);
        Answer::json(400, body).is(FAILED);
    }
    let not_text = b"{\"success\":false,\"reasons\":[{\"code\":50000050,\"message\":\"\xff\"}]}";
    Answer::json(200, &not_text[..]).is(Verdict::Relay);
    Answer::json(409, &not_text[..]).is(FAILED);
}

#[test]
fn depth_is_no_danger() {
    let deep = format!(r#"{{"code":{}"#, "[".repeat(60_000));
    Answer::json(200, format!("{deep}50000050")).is(Verdict::Relay);
    Answer::json(409, deep.as_str()).is(Verdict::InProgress);
    Answer::json(429, deep).is(concurrency(120));
    let nest = |count| format!("{}1{}", "[".repeat(count), "]".repeat(count));
    for (count, verdict) in [(10, CONTENDED), (900, CONTENDED)] {
        let details = nest(count);
        Answer::json(
            200,
            format!(r#"{{"success":false,"details":{details},"reasons":[{{"code":50000050}}]}}"#),
        )
        .is(verdict);
    }
    let rows = format!("{}{}", "[".repeat(30_000), r#"{"Success":false}"#);
    Answer::json(200, rows).is(Verdict::Relay);
    let data = format!(r#"{}"errorCode":"LINK_10000005""#, r#"{"data":"#.repeat(9_000));
    Answer::json(200, data).is(Verdict::Relay);
}

#[test]
fn a_compressed_bomb_is_read_no_further_than_the_look() {
    for filling in [b' ', b'['] {
        let bomb = Answer::json(200, vec![filling; 5_000_000]).gzipped();

        assert!(bomb.body.len() < ANSWER_LOOK);
        let look = Look::at(&bomb.headers, &bomb.body);
        assert_eq!((look.text.len(), look.is_whole), (ANSWER_LOOK, false));
        bomb.is(Verdict::Relay);
    }
    let mut wrong = Answer::json(200, reasons(&["50000050"])).gzipped();
    let checksum = wrong.body.len() - 8;
    wrong.body[checksum] ^= 1;
    wrong.is(Verdict::Relay);
    Answer::json(200, reasons(&["50000050"])).with("content-encoding", "gzip").is(Verdict::Relay);
}

/// The bodies are real ones with bytes changed, cut, repeated and grown, from a fixed seed.
#[test]
fn no_bytes_make_it_stumble_and_none_beyond_the_look_count() {
    let seeds = [
        reasons(&["50000070", r#""90000011""#]),
        reasons(&["50000050"]),
        reasons(&["50000061"]),
        soap_fault("REQUEST_EXCEEDED_LIMIT", TOO_MANY),
        soap_rows(&["LOCK_COMPETITION", ""]),
        r#"{"FaultCode":"INVALID_SESSION","FaultMessage":"…"}"#.to_owned(),
        r#"[{"Success":false,"Errors":[{"Code":"LOCK_COMPETITION"}]}]"#.to_owned(),
        r#"{"data":{"errorCode":"LINK_10000005","errorMessage":"…"}}"#.to_owned(),
        r#"{"errorCode":90010,"message":"…"}"#.to_owned(),
        TOO_MANY.to_owned(),
    ];
    let statuses = [200, 202, 400, 401, 403, 409, 422, 429, 500, 502, 503, 504];
    let mut random = Random(0x5eed);
    for round in 0..12_000_usize {
        let seed = seeds[round % seeds.len()].as_bytes();
        let content_type = ["application/json", "text/xml", "", "text/html"][random.below(4)];
        let status = statuses[random.below(statuses.len())];
        let mut answer = Answer::new(status, content_type, seed);
        let packs = random.below(4) == 0;
        if packs {
            answer = answer.gzipped();
        }
        for _ in 0..random.below(6) {
            random.spoil(&mut answer.body);
        }
        if random.below(80) == 0 {
            let filling = [b' ', b'x', b'[', b'{', b'"', b':', b'<', b'\\'][random.below(8)];
            let at = random.below(answer.body.len().max(1)).min(answer.body.len());
            let more = std::iter::repeat_n(filling, random.below(2 * ANSWER_LOOK));
            answer.body.splice(at..at, more);
        }
        let verdict = answer.verdict();

        let shown = answer.body.len().min(ANSWER_LOOK);
        let of_the_look = Answer { body: answer.body[..shown].to_vec(), ..answer.clone() };
        assert_eq!(of_the_look.verdict(), verdict, "HTTP {status}");
        if shown == ANSWER_LOOK {
            let mut other_end = of_the_look;
            other_end.body.extend_from_slice(seed);
            assert_eq!(other_end.verdict(), verdict, "HTTP {status}");
        }
        match verdict {
            Verdict::Unauthenticated => assert!([200, 202, 400, 401, 500].contains(&status)),
            Verdict::Contended => assert!([200, 202, 400, 409, 500].contains(&status)),
            Verdict::Refused(_) => assert!([200, 202, 400, 429, 500].contains(&status)),
            Verdict::InProgress => assert_eq!(status, 409),
            Verdict::Ambiguous { .. } => assert!(status > 500),
            Verdict::Failed { .. } => {}
            Verdict::Relay => assert!([200, 202, 409].contains(&status), "HTTP {status}"),
        }
    }
}

/// One wrong byte must not turn a failure of one kind into one that is repeated, unless it makes a
/// digit or a letter of the code another one.
#[test]
fn a_spoilt_success_is_never_repeated() {
    let bodies = [
        r#"{"success":true,"id":"1","reasons":[{"code":50000050,"message":"of last time"}]}"#,
        r#"{"id":"1","code":"LOCK_COMPETITION","message":"…"}"#,
        r#"[{"Success":true,"Id":"1"},{"Success":false,"Errors":[{"Code":"LOCK_COMPETITION"}]}]"#,
        r#"{"processId":"1","results":[{"success":false,"reasons":[{"code":50000070}]}]}"#,
    ];
    let mut random = Random(50);
    for round in 0..40_000_usize {
        let mut answer = Answer::json([200, 409][random.below(2)], bodies[round % bodies.len()]);
        random.spoil(&mut answer.body);

        let verdict = answer.verdict();
        assert!(
            matches!(verdict, Verdict::Relay | Verdict::Failed { .. } | Verdict::InProgress),
            "{verdict:?}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
}

/// What the parser would find, the glance does not hide.
#[test]
fn a_glance_hides_no_failure() {
    let pieces = [
        r#""success""#,
        r#""Success""#,
        ":",
        " : ",
        "false",
        "true",
        ",",
        "{",
        "}",
        "[",
        "]",
        r#""reasons""#,
        r#""Errors""#,
        r#""code""#,
        r#""Code""#,
        r#""FaultCode""#,
        r#""faultcode""#,
        r#""errorCode""#,
        r#""data""#,
        r#""message""#,
        "50000050",
        "70",
        "90010",
        r#""LOCK_COMPETITION""#,
        r#""x""#,
        "\n",
    ];
    let shapes = [
        r#"{"success":false,"reasons":[{"code":~}]}"#,
        r#"{"reasons":[{~"code":50000050}]}"#,
        r#"{~"reasons":[{"code":50000050}]}"#,
        r#"{"FaultCode"~"LOCK_COMPETITION"}"#,
        r#"{"data":{~}}"#,
        r#"[{"Success"~false}]"#,
        "~",
    ];
    let mut random = Random(70);
    let mut found = 0;
    for round in 0..100_000_usize {
        let filling: String =
            (0..random.below(9)).map(|_| pieces[random.below(pieces.len())]).collect();
        let body = shapes[round % shapes.len()].replace('~', &filling);
        let Some(complaint) = Complaint::read(body.as_bytes()) else { continue };

        let counts = complaint.success == Some(false)
            || complaint.success.is_none()
                && !complaint.codes.is_empty()
                && !complaint.holds_more
                && !complaint.is_lone_number;
        let seen = Complaint::read_if_any(body.as_bytes()).is_some();
        assert_eq!(seen, counts, "{body}");
        found += usize::from(counts);
    }
    assert!(found > 1000, "only {found} of the bodies complain");
}

/// A small generator (xorshift), so that a failure is the same failure on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    fn spoil(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len().max(1)).min(body.len());
        match self.below(4) {
            0 => body.truncate(at),
            1 => body.insert(at, self.byte()),
            2 => body.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.byte()),
            _ => {
                let again = body[at..].to_vec();
                let to = self.below(body.len().max(1)).min(body.len());
                body.splice(to..to, again);
            }
        }
    }
}
