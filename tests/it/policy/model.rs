//! What the documents say of rules and paths, written a second time, slowly: every way to read a path is written out,
//! and every way to match it is tried.
//!
//! - A path is refused whoever asks if it holds a space, `#`, a control character, a backslash, or what is not US-ASCII
//!   or not UTF-8, in any coding; a broken or a doubled encoding; or a dot segment, in any coding, with parameters or
//!   without.
//! - A rule is `METHOD /path`. The method may be `*`, and what holds of GET holds of HEAD. A `*` is any text within a
//!   segment, at least one character where it is the whole of it, and a last `**` any rest, none included.
//! - The path is judged under every reading: an encoded slash separates or does not, an empty segment counts or does
//!   not, parameters count, or are dropped before or after decoding; `/rest/v1` is `/v1`, in a rule as well, and
//!   `/v1/async/x` is `/v1/x` besides. A slash at the end changes nothing.
//! - Without `allow` everything is allowed; otherwise each reading must be. `deny` wins, in any letter case.

/// What one app may call.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Passes,
    Forbidden,
    Deceives,
}

/// A segment: characters, of which a slash is one that was encoded.
type Segment = Vec<char>;

pub(super) fn expected(rules: &Rules, method: &str, target: &str) -> Expected {
    let path = target.split('?').next().unwrap_or_default();
    if deceives(path) {
        return Expected::Deceives;
    }
    let methods = if method == "HEAD" { vec!["HEAD", "GET"] } else { vec![method] };
    let matches = |rule: &String, reading: &[Segment], folds: bool| {
        methods.iter().any(|method| {
            let (of, pattern) = rule.split_once(' ').unwrap();
            (of == "*" || of == *method) && matches(pattern, reading, folds)
        })
    };
    let permitted = readings(path).iter().all(|reading| {
        let is_allowed =
            rules.allow.is_empty() || rules.allow.iter().any(|rule| matches(rule, reading, false));
        is_allowed && !rules.deny.iter().any(|rule| matches(rule, reading, true))
    });
    if permitted { Expected::Passes } else { Expected::Forbidden }
}

fn deceives(path: &str) -> bool {
    let Some(decoded) = decode(path) else { return true };
    let is_encoded_again = |text: &str| {
        text.match_indices('%').any(|(at, _)| {
            let rest = text.as_bytes().get(at + 1..at + 3).unwrap_or_default();
            rest.len() == 2 && rest.iter().all(u8::is_ascii_hexdigit)
        })
    };
    let has_dots = decoded.split('/').any(|segment| {
        let name = segment.split(';').next().unwrap_or_default().trim();
        let whole = segment.trim();
        [name, whole].iter().any(|it| *it == "." || *it == "..")
    });
    !path.starts_with('/')
        || path.chars().any(|it| it == ' ' || it == '#' || it.is_control() || !it.is_ascii())
        || decoded.chars().any(|it| it == '\\' || it.is_ascii_control())
        || is_encoded_again(&decoded)
        || has_dots
}

/// `None` if an escape is broken, or what it stands for is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(more.get(..2)?).ok()?;
            let digits = digits.chars().all(|it| it.is_ascii_hexdigit()).then_some(digits)?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).ok()
}

fn readings(path: &str) -> Vec<Vec<Segment>> {
    let mut readings = Vec::new();
    for slashes_separate in [false, true] {
        for empties_count in [false, true] {
            for parameters in ["count", "go first", "go last"] {
                let segments = segments(path, slashes_separate, parameters);
                let segments = segments.into_iter().filter(|it| empties_count || !it.is_empty());
                let mut segments: Vec<_> = segments.collect();
                if segments.last().is_some_and(Vec::is_empty) {
                    segments.pop();
                }
                readings.extend(names_of_old(segments));
            }
        }
    }
    readings
}

fn segments(path: &str, slashes_separate: bool, parameters: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    for raw in path[1..].split('/') {
        let before = |text: &str| text.split(';').next().unwrap_or_default().to_owned();
        let raw = if parameters == "go first" { before(raw) } else { raw.to_owned() };
        let decoded = decode(&raw).unwrap();
        let pieces: Vec<_> = match slashes_separate {
            true => decoded.split('/').collect(),
            false => vec![decoded.as_str()],
        };
        for piece in pieces {
            let piece = if parameters == "go last" { before(piece) } else { piece.to_owned() };
            segments.push(piece.chars().collect());
        }
    }
    segments
}

/// `/rest/v1/…` is `/v1/…`; in another letter case it may be. `/v1/async/…` is `/v1/…`, too.
fn names_of_old(segments: Vec<Segment>) -> Vec<Vec<Segment>> {
    let is = |at: usize, name: &str, segments: &[Segment]| {
        segments.get(at).is_some_and(|it| it.iter().collect::<String>().eq_ignore_ascii_case(name))
    };
    let mut all = vec![segments];
    if is(0, "rest", &all[0]) && is(1, "v1", &all[0]) {
        let without = all[0][1..].to_vec();
        let is_exact = all[0][0].iter().collect::<String>() == "rest"
            && all[0][1].iter().collect::<String>() == "v1";
        if is_exact {
            all.clear();
        }
        all.push(without);
    }
    for at in 0..all.len() {
        if is(0, "v1", &all[at]) && is(1, "async", &all[at]) {
            let mut without = all[at].clone();
            without.remove(1);
            all.push(without);
        }
    }
    all
}

fn matches(pattern: &str, reading: &[Segment], folds: bool) -> bool {
    let fold = |it: char| if folds { it.to_lowercase().next().unwrap_or(it) } else { it };
    let mut wanted: Vec<Segment> =
        pattern[1..].split('/').map(|it| it.chars().map(fold).collect()).collect();
    if wanted.len() > 1
        && wanted[0].iter().eq(&['r', 'e', 's', 't'])
        && wanted[1].iter().eq(&['v', '1'])
    {
        wanted.remove(0);
    }
    let is_open = wanted.last().is_some_and(|it| it == &['*', '*']);
    if is_open {
        wanted.pop();
    }
    let long_enough = reading.len() == wanted.len() || is_open && reading.len() > wanted.len();
    long_enough
        && wanted.iter().zip(reading).all(|(wanted, segment)| {
            let segment: Segment = segment.iter().copied().map(fold).collect();
            let is_a_star = wanted == &['*'];
            if is_a_star { !segment.is_empty() } else { fits(wanted, &segment) }
        })
}

fn fits(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        Some((first, rest)) => text.first() == Some(first) && fits(rest, &text[1..]),
    }
}
