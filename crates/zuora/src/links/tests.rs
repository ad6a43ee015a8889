//! Texts with links in them, cut anywhere.

mod chance;

use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Uri};

use super::*;

const BASE: &str = "http://gateway:8080/sandbox";

fn own() -> Arc<OwnHosts> {
    hosts(&["https://rest.zuora.com", "https://www.zuora.com"])
}

fn hosts(addresses: &[&str]) -> Arc<OwnHosts> {
    let addresses: Vec<Uri> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(OwnHosts::of(&addresses))
}

/// The text with its links rewritten, and the same however it is cut.
#[track_caller]
fn rewritten_by(own: &Arc<OwnHosts>, text: Text, given: &str) -> String {
    let rewriter = || Rewriter::new(own, text, BASE);
    let whole = rewriter().whole(given.as_bytes()).unwrap_or_else(|| given.as_bytes().to_vec());
    for length in 1..=given.len() {
        let mut rewriter = rewriter();
        let mut out = Vec::new();
        for piece in given.as_bytes().chunks(length) {
            out.extend_from_slice(&rewriter.push(piece));
        }
        out.extend_from_slice(&rewriter.finish());
        assert_eq!(show(&out), show(&whole), "cut into pieces of {length}");
    }
    show(&whole)
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check(text: Text, given: &str, expected: &str) {
    assert_eq!(rewritten_by(&own(), text, given), expected);
}

#[track_caller]
fn untouched(text: Text, given: &str) {
    check(text, given, given);
}

#[test]
fn the_links_of_json_lead_to_the_gateway() {
    for field in ["nextPage", "next", "next_page", "resultFileUrl", "uploadedFileUrl", "outputURL"]
    {
        check(
            Text::Json,
            &format!(r#"{{"a":1,"{field}":"https://rest.zuora.com/v1/x?page=2&size=3","b":"ü"}}"#),
            &format!(
                r#"{{"a":1,"{field}":"http://gateway:8080/sandbox/v1/x?page=2&size=3","b":"ü"}}"#
            ),
        );
    }
}

#[test]
fn they_stand_wherever_an_object_does() {
    check(
        Text::Json,
        "[{\"next\" :\n\t\"https://rest.zuora.com/a\"},\r\n{ \"x\": {\"next\":\"https://rest.zuora.com/b\"\n,\"nextPage\":\"https://rest.zuora.com/c\"}}]",
        "[{\"next\" :\n\t\"http://gateway:8080/sandbox/a\"},\r\n{ \"x\": {\"next\":\"http://gateway:8080/sandbox/b\"\n,\"nextPage\":\"http://gateway:8080/sandbox/c\"}}]",
    );
}

#[test]
fn slashes_stay_escaped_as_they_were() {
    check(
        Text::Json,
        r#"{"next":"https:\/\/rest.zuora.com\/v1\/x","nextPage":"http://rest.zuora.com"}"#,
        r#"{"next":"http:\/\/gateway:8080\/sandbox\/v1\/x","nextPage":"http://gateway:8080/sandbox"}"#,
    );
}

#[test]
fn the_hosts_beside_the_tenants_own_are_its_own() {
    check(
        Text::Json,
        r#"{"next":"https://api.zuora.com/events/event-triggers?start=1"}"#,
        r#"{"next":"http://gateway:8080/sandbox/events/event-triggers?start=1"}"#,
    );
    check(
        Text::Json,
        r#"{"next":"https://www.zuora.com/apps/v1/x"}"#,
        r#"{"next":"http://gateway:8080/sandbox/apps/v1/x"}"#,
    );
}

#[test]
fn the_ports_of_a_scheme_need_not_be_written() {
    for authority in
        ["https://rest.zuora.com:443", "http://rest.zuora.com:80", "https://rest.zuora.com:"]
    {
        check(
            Text::Json,
            &format!(r#"{{"next":"{authority}/v1"}}"#),
            r#"{"next":"http://gateway:8080/sandbox/v1"}"#,
        );
    }
    let own = hosts(&["https://rest.zuora.com:443"]);
    let given = r#"{"next":"https://rest.zuora.com/v1"}"#;
    assert_eq!(
        rewritten_by(&own, Text::Json, given),
        r#"{"next":"http://gateway:8080/sandbox/v1"}"#
    );
}

#[test]
fn a_host_may_be_the_tenants_own_at_several_ports() {
    let own = hosts(&["https://zuora.example:54010", "https://zuora.example:54011"]);
    let padding = "x".repeat(200);
    for port in ["54010", "54011"] {
        let given = format!(r#"{{"a":"{padding}","next":"https:\/\/zuora.example:{port}\/v1"}}"#);
        let expected =
            format!(r#"{{"a":"{padding}","next":"http:\/\/gateway:8080\/sandbox\/v1"}}"#);
        assert_eq!(rewritten_by(&own, Text::Json, &given), expected);
    }
}

#[test]
fn another_port_is_another_host() {
    let own = hosts(&["http://127.0.0.1:4010", "http://[::1]:4011"]);
    for address in ["http://127.0.0.1:4010", "http://[::1]:4011", "https://127.0.0.1:4010"] {
        let given = format!(r#"{{"next":"{address}/v1"}}"#);
        assert_eq!(
            rewritten_by(&own, Text::Json, &given),
            r#"{"next":"http://gateway:8080/sandbox/v1"}"#
        );
    }
    for address in [
        "http://127.0.0.1",
        "http://127.0.0.1:401",
        "http://127.0.0.1:40100",
        "http://127.0.0.1:4011",
    ] {
        let given = format!(r#"{{"next":"{address}/v1"}}"#);
        assert_eq!(rewritten_by(&own, Text::Json, &given), given);
    }
    untouched(Text::Json, r#"{"next":"https://rest.zuora.com:8443/v1"}"#);
    untouched(Text::Json, r#"{"next":"https://rest.zuora.com:65979/v1"}"#);
    untouched(Text::Json, r#"{"next":"https://rest.zuora.com:000443/v1"}"#);
}

#[test]
fn other_hosts_are_left_alone() {
    for host in [
        "rest.zuora.com.example",
        "rest.zuora.comx",
        "rest.zuora.com@evil.example",
        "rest.zuora.com:443@evil.example",
        "user@rest.zuora.com",
        "x.rest.zuora.com",
        "evil.example/rest.zuora.com",
        "evil.example/?https://rest.zuora.com",
        r"rest.zuora.com\\evil.example",
        "rest.eu.zuora.com",
        "localhost:8080",
    ] {
        untouched(Text::Json, &format!(r#"{{"nextPage":"https://{host}/v1"}}"#));
    }
}

#[test]
fn other_fields_are_left_alone() {
    for field in [
        "uri",
        "url",
        "dataFile",
        "pdfFileUrl",
        "callbackUrl",
        "nextpage",
        "xnext",
        "nextPages",
        "",
        "a next",
        r#"a\"next"#,
        r#"\"next"#,
        r#"b\\\"nextPage"#,
        "a{next",
        "a,next",
    ] {
        untouched(Text::Json, &format!(r#"{{"{field}":"https://rest.zuora.com/v1"}}"#));
    }
}

#[test]
fn what_looks_like_a_link_within_a_text_is_left_alone() {
    for text in [
        r#"{"note":"{\"nextPage\":\"https://rest.zuora.com/v1\"}"}"#,
        r#"{"note":"\", \"next\": \"https://rest.zuora.com/v1\""}"#,
        r#"{"note":"next: https://rest.zuora.com/v1"}"#,
        r#"{"a":"nextPage","b":"https://rest.zuora.com/v1"}"#,
        r#"{"next":["https://rest.zuora.com/v1"]}"#,
        r#"{"next":"see https://rest.zuora.com/v1"}"#,
        r#"{"next":" https://rest.zuora.com/v1"}"#,
        r#"{"next":null,"x":"https://rest.zuora.com"}"#,
        r#"{"next":"ftp://rest.zuora.com/v1"}"#,
        r#"{"next":"/notification-definitions?start=1"}"#,
        r#"{"nextPage":"W3sidmFsdWUi"}"#,
        r#"{"note":"a location=\"https://rest.zuora.com/x\" b","x":"<ServerUrl>https://rest.zuora.com/x"}"#,
    ] {
        untouched(Text::Json, text);
    }
}

#[test]
fn a_text_that_ends_within_a_link_ends_as_it_did() {
    let whole = r##"{"next":"https:\/\/rest.zuora.com:443\"##;
    for end in 0..=whole.len() {
        untouched(Text::Json, &whole[..end]);
    }
    untouched(Text::Json, "");
    check(
        Text::Json,
        r#"{"next":"https://rest.zuora.com/v1","nextPage":"https://rest.zu"#,
        r#"{"next":"http://gateway:8080/sandbox/v1","nextPage":"https://rest.zu"#,
    );
}

#[test]
fn blanks_around_a_colon_are_read_up_to_a_bound() {
    let blanks = " ".repeat(50);
    check(
        Text::Json,
        &format!(r#"{{"next"{blanks}:{blanks}"https://rest.zuora.com/v1"}}"#),
        &format!(r#"{{"next"{blanks}:{blanks}"http://gateway:8080/sandbox/v1"}}"#),
    );
    let blanks = " ".repeat(70);
    untouched(Text::Json, &format!(r#"{{"next"{blanks}:{blanks}"https://rest.zuora.com/v1"}}"#));
}

#[test]
fn nothing_is_held_back_but_what_may_be_a_link() {
    let mut rewriter = Rewriter::new(&own(), Text::Json, BASE);
    let opened = "{\"a\":\"h\",\"b\":\"https\",\"next\"";
    assert_eq!(show(&rewriter.push(opened.as_bytes())), opened);
    assert_eq!(show(&rewriter.push(b":\"")), ":\"");
    assert_eq!(show(&rewriter.push(b"https://rest.")), "");
    assert_eq!(show(&rewriter.push(b"zuora.com")), "");
    assert_eq!(show(&rewriter.push(b"/v1")), "http://gateway:8080/sandbox/v1");
    assert_eq!(show(&rewriter.push(br#"","next":"http"#)), r#"","next":""#);
    assert_eq!(show(&rewriter.push(b"er")), "httper");
    assert_eq!(show(&rewriter.push(b"\",\"x\":\"https://rest")), "\",\"x\":\"https://rest");
}

#[test]
fn a_piece_without_links_is_not_copied() {
    let mut rewriter = Rewriter::new(&own(), Text::Json, BASE);
    let piece = br#"{"a":"https://rest.zuora.com/","next":null"#;
    assert!(matches!(rewriter.push(piece), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn the_address_in_a_wsdl_leads_to_the_gateway() {
    check(
        Text::Wsdl,
        r#"<soap:address location="https://www.zuora.com/apps/services/a/91.0" /><a location = 'https://rest.zuora.com'/>"#,
        r#"<soap:address location="http://gateway:8080/sandbox/apps/services/a/91.0" /><a location = 'http://gateway:8080/sandbox'/>"#,
    );
    untouched(Text::Wsdl, r#"<a mylocation="https://www.zuora.com/"/>"#);
    untouched(Text::Wsdl, r#"<import schemaLocation="https://www.zuora.com/x.xsd"/>"#);
    untouched(
        Text::Wsdl,
        r#"<a xmlns="https://www.zuora.com/" location="https://other.example/"/>"#,
    );
    untouched(Text::Wsdl, "<ServerUrl>https://www.zuora.com/</ServerUrl>");
}

#[test]
fn the_server_of_a_login_leads_to_the_gateway() {
    for prefix in ["", "ns1:", "a-b.c_1:"] {
        check(
            Text::Soap,
            &format!(
                "<{prefix}ServerUrl>https://www.zuora.com/apps/services/a/91.0</{prefix}ServerUrl>"
            ),
            &format!(
                "<{prefix}ServerUrl>http://gateway:8080/sandbox/apps/services/a/91.0</{prefix}ServerUrl>"
            ),
        );
    }
    untouched(Text::Soap, "<a>x:ServerUrl>https://www.zuora.com/</a>");
    untouched(Text::Soap, "<OtherServerUrl>https://www.zuora.com/</OtherServerUrl>");
    untouched(Text::Soap, r#"<Note>a location="https://www.zuora.com/"</Note>"#);
}

#[test]
fn a_location_leads_to_the_gateway() {
    let own = own();
    let location = |given: &str| own.location(given.as_bytes(), BASE).map(|bytes| show(&bytes));

    assert_eq!(
        location("https://rest.zuora.com/v1/async-jobs/1").unwrap(),
        format!("{BASE}/v1/async-jobs/1")
    );
    assert_eq!(location("https://rest.zuora.com").unwrap(), BASE);
    assert_eq!(location("https://rest.zuora.com:443").unwrap(), BASE);
    assert_eq!(location("https://rest.zuora.com?a=b").unwrap(), format!("{BASE}?a=b"));
    // A path lacks no more than what the app wrote before it.
    assert_eq!(location("/v1/async-jobs/1").unwrap(), "/sandbox/v1/async-jobs/1");
    assert_eq!(own.location(b"/v1/async-jobs/1", "http://gateway:8080"), None);
    for other in [
        "//rest.zuora.com/",
        "1",
        "",
        "https://rest.zuora.co",
        "https:",
        "https://rest.zuora.com.example/",
        "https://s3.example/?u=https://rest.zuora.com/",
        r"https:\/\/rest.zuora.com/",
    ] {
        assert_eq!(location(other), None, "{other}");
    }
}

#[test]
fn a_base_that_could_break_out_of_a_text_is_not_used() {
    for base in ["", r#"http://a","x":"b"#, "http://a&b", r"http://a\", "http://<a>", "http://a b"]
    {
        let rewriter = Rewriter::new(&own(), Text::Json, base);
        assert_eq!(rewriter.whole(br#"{"next":"https://rest.zuora.com/v1"}"#), None, "{base}");
    }
}

#[test]
fn a_tenant_without_hosts_has_no_links() {
    let own = Arc::default();
    let text = r#"{"next":"https://rest.zuora.com/v1"}"#;
    assert_eq!(rewritten_by(&own, Text::Json, text), text);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::default());
    packing.write_all(text.as_bytes()).unwrap();
    packing.finish().unwrap()
}

fn gunzip(packed: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
    text
}

/// What comes out of a repacker that is fed pieces of this length.
fn repack(packed: &[u8], length: usize) -> Result<Vec<u8>, BadGzip> {
    let mut repacker = Repacker::new(Rewriter::new(&own(), Text::Json, BASE));
    let mut out = Vec::new();
    for mut piece in packed.chunks(length) {
        while !piece.is_empty() {
            piece = &piece[repacker.push(piece)?..];
            out.extend(repacker.take());
        }
    }
    out.extend(repacker.finish()?);
    Ok(out)
}

#[test]
fn what_is_packed_stays_packed() {
    let unfinished = r#"{"next":"https://rest"#;
    let given = r#"{"next":"https://rest.zuora.com/v1"}"#.repeat(500) + unfinished;
    let expected = r#"{"next":"http://gateway:8080/sandbox/v1"}"#.repeat(500) + unfinished;
    let packed = gzip(&given);

    for length in [1, 7, 64, packed.len()] {
        assert_eq!(gunzip(&repack(&packed, length).unwrap()), expected, "in pieces of {length}");
    }
    let rewriter = || Rewriter::new(&own(), Text::Json, BASE);
    let Whole::Rewritten(out) = rewriter().whole_packed(&packed, given.len()) else {
        panic!("it has links");
    };
    assert_eq!(gunzip(&out), expected);
    assert_eq!(rewriter().whole_packed(&packed, given.len() - 1), Whole::Long);
    let plain = gzip(r#"{"next":null}"#);
    assert_eq!(rewriter().whole_packed(&plain, 100), Whole::AsItCame);
}

#[test]
fn members_of_gzip_are_one_text() {
    let packed = [gzip(r#"{"next":"https://rest.zu"#), gzip(r#"ora.com/v1"}"#)].concat();

    for length in [1, packed.len()] {
        let out = repack(&packed, length).unwrap();
        assert_eq!(gunzip(&out), r#"{"next":"http://gateway:8080/sandbox/v1"}"#);
    }
}

#[test]
fn heads_of_gzip_may_say_more_and_members_follow_each_other() {
    let text = r#"{"next":"https://rest.zuora.com/v1"}"#;
    let mut full = flate2::GzBuilder::new()
        .extra(b"extra\0".to_vec())
        .filename("a name")
        .comment("a comment")
        .write(Vec::new(), Compression::default());
    full.write_all(text.as_bytes()).unwrap();
    let full = full.finish().unwrap();
    let rewriter = || Rewriter::new(&own(), Text::Json, BASE);

    for (packed, whole) in
        [(full.clone(), text.len()), ([full, gzip(text)].concat(), 2 * text.len())]
    {
        let Whole::Rewritten(out) = rewriter().whole_packed(&packed, whole) else {
            panic!("it has links");
        };
        assert_eq!(
            gunzip(&out),
            r#"{"next":"http://gateway:8080/sandbox/v1"}"#.repeat(whole / text.len())
        );
    }
    let parts = [gzip(r#"{"next":"https://rest.zu"#), gzip(r#"ora.com/v1"}"#)].concat();
    assert!(matches!(rewriter().whole_packed(&parts, 100), Whole::Rewritten(_)));
    // A head with a checksum of its own (RFC 1952), which nobody is known to write.
    let mut with_checksum = gzip(text);
    with_checksum[3] = 2;
    let crc = {
        let mut crc = flate2::Crc::new();
        crc.update(&with_checksum[..10]);
        (crc.sum() as u16).to_le_bytes()
    };
    with_checksum.splice(10..10, crc);
    assert!(matches!(rewriter().whole_packed(&with_checksum, 100), Whole::Rewritten(_)));
}

#[test]
fn any_cut_of_gzip_passes_as_it_came() {
    let packed = gzip(&r#"{"next":"https://rest.zuora.com/v1"}"#.repeat(10));
    for end in 0..packed.len() {
        let rewriter = Rewriter::new(&own(), Text::Json, BASE);
        assert_eq!(rewriter.whole_packed(&packed[..end], 1000), Whole::AsItCame, "cut at {end}");
    }
}

#[test]
fn what_is_no_gzip_or_not_whole_does_not_pass_for_it() {
    let packed = gzip(&r#"{"next":"https://rest.zuora.com/v1"}"#.repeat(100));
    let mut spoilt = packed.clone();
    let last = spoilt.len() - 6;
    spoilt[last] ^= 1;
    for bad in [&packed[..packed.len() - 1], &packed[..20], &packed[..5], b"{\"plain\":1}", &spoilt]
    {
        assert!(repack(bad, 11).is_err());
        let rewriter = Rewriter::new(&own(), Text::Json, BASE);
        assert_eq!(rewriter.whole_packed(bad, 1 << 20), Whole::AsItCame);
    }
}

#[test]
fn a_step_of_unpacking_is_bounded() {
    let packed = gzip(&" ".repeat(8 << 20));
    let mut repacker = Repacker::new(Rewriter::new(&own(), Text::Json, BASE));

    let mut rest = &*packed;
    let mut steps = 0;
    while !rest.is_empty() {
        rest = &rest[repacker.push(rest).unwrap()..];
        steps += 1;
    }

    assert!(steps >= 128, "8 MiB in {steps} steps");
}

#[test]
fn a_reader_need_not_wait_for_what_is_known() {
    let mut repacker = Repacker::new(Rewriter::new(&own(), Text::Json, BASE));
    let mut packing = GzEncoder::new(Vec::new(), Compression::default());
    packing.write_all(b"{\"rows\":[1,2").unwrap();
    packing.flush().unwrap();

    let mut rest = &**packing.get_ref();
    while !rest.is_empty() {
        rest = &rest[repacker.push(rest).unwrap()..];
    }
    let out = repacker.flush().unwrap();

    let mut text = [0; 12];
    flate2::read::GzDecoder::new(&*out).read_exact(&mut text).unwrap();
    assert_eq!(&text, b"{\"rows\":[1,2");
    assert!(repacker.flush().unwrap().is_empty(), "there is nothing new");
}

#[track_caller]
fn kind(path: &str, fields: &[(&str, &str)], expected: Option<(Text, Packing)>) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    assert_eq!(text_of(path, &headers), expected, "{path} {fields:?}");
}

#[test]
fn answers_are_read_by_what_they_are() {
    let json = ("content-type", "application/json; charset=utf-8");
    let xml = ("content-type", "text/xml");
    let gzip = ("content-encoding", "gzip");

    kind("/v1/accounts", &[json], Some((Text::Json, Packing::Plain)));
    kind("/v1/accounts", &[json, gzip], Some((Text::Json, Packing::Gzip)));
    kind(
        "/v1/accounts",
        &[json, ("content-encoding", "identity")],
        Some((Text::Json, Packing::Plain)),
    );
    kind("/v1/accounts", &[json, ("content-encoding", "br")], None);
    kind("/v1/accounts", &[json, gzip, gzip], None);
    kind("/v1/accounts", &[("content-type", "text/csv")], None);
    kind("/v1/accounts", &[], None);
    kind("/v1/describe/Account", &[xml], None);
    kind("/v1/files/2c92", &[json], None);
    kind("/rest/v1/files/2c92", &[json], None);
    kind("/apps/v1/file/2c92", &[json], None);
    kind("/v1/filesystems", &[json], Some((Text::Json, Packing::Plain)));
    kind("/v1/accounts", &[json, ("content-disposition", "attachment")], None);
    kind("/apps/servlet/GenerateWsdl", &[xml], Some((Text::Wsdl, Packing::Plain)));
    kind("/apps/services/a/91.0", &[xml, gzip], Some((Text::Soap, Packing::Gzip)));
    kind("/apps/services/a/91.0", &[("content-type", "text/html")], None);
}
