//! The hosts that are the tenant's.

use http::Uri;
use memchr::memmem::Finder;

/// The hosts that a tenant is reached at.
#[derive(Clone, Debug, Default)]
pub struct OwnHosts {
    hosts: Vec<Host>,
    /// The longest `"https:\/\/host:65535\`.
    longest: usize,
}

#[derive(Clone, Debug)]
struct Host {
    name: Finder<'static>,
    /// `None` if it is the scheme's.
    port: Option<u16>,
}

/// What the beginning of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// No address of ours.
    Else,
    /// It may become one.
    Partial,
    /// Scheme and authority of an own host, so many bytes.
    Own { end: usize, has_escaped_slashes: bool },
}

/// The longest way to open a text, to write a scheme, and to write a port with what ends it.
const AROUND_A_HOST: usize = r#""https:\/\/"#.len() + r":65535\".len();

impl OwnHosts {
    /// The hosts of these addresses: that of the REST API, and that of the SOAP API if there is one. Beside a host
    /// `rest.X` there is an `api.X`, which is the same: event triggers name it in their links.
    pub fn of<'u>(addresses: impl IntoIterator<Item = &'u Uri>) -> Self {
        let mut own = Self::default();
        for address in addresses {
            let Some(name) = address.host() else { continue };
            let name = name.to_ascii_lowercase();
            let port = address.port_u16().filter(|port| Some(*port) != port_of(address));
            if let Some(domain) = name.strip_prefix("rest.") {
                own.add(&format!("api.{domain}"), port);
            }
            own.add(&name, port);
        }
        own
    }

    fn add(&mut self, name: &str, port: Option<u16>) {
        let is_known = |host: &Host| host.name.needle() == name.as_bytes() && host.port == port;
        if !self.hosts.iter().any(is_known) {
            self.longest = self.longest.max(AROUND_A_HOST + name.len());
            self.hosts.push(Host { name: Finder::new(name).into_owned(), port });
        }
    }

    /// Whether any of them stands in `text`, wherever.
    #[must_use]
    pub fn are_in(&self, text: &[u8]) -> bool {
        self.hosts.iter().any(|host| host.name.find(text).is_some())
    }

    /// Where one of them stands, in no order, and once for each name that stands there.
    pub(super) fn all_in<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = usize> + 't {
        self.hosts.iter().flat_map(|host| host.name.find_iter(text))
    }

    /// No address of an own host is longer than this before it is certain that it is one.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// `location` with `base` in the place of an own host, or with the path of `base` before a path: that is what it
    /// means to whoever is asked for it. `None` if it stays as it is.
    #[must_use]
    pub fn location(&self, location: &[u8], base: &str) -> Option<Vec<u8>> {
        let rest = match self.read(location) {
            Read::Own { end, has_escaped_slashes: false } => &location[end..],
            // The address ends with its host.
            Read::Partial => match self.read(&[location, b"/"].concat()) {
                Read::Own { end, has_escaped_slashes: false } => &location[end..],
                _ => return None,
            },
            _ if location.starts_with(b"/") && !location.starts_with(b"//") => {
                let path = path_of(base);
                return (!path.is_empty()).then(|| [path.as_bytes(), location].concat());
            }
            _ => return None,
        };
        Some([base.as_bytes(), rest].concat())
    }

    /// Reads what begins here.
    pub(super) fn read(&self, text: &[u8]) -> Read {
        let Some((is_https, slashes)) = scheme(text) else {
            return if is_partial_scheme(text) { Read::Partial } else { Read::Else };
        };
        let mut read = Read::Else;
        for host in &self.hosts {
            match host.read(&text[slashes..], is_https) {
                Read::Own { end, .. } => {
                    let has_escaped_slashes = text[slashes - 2] == b'\\';
                    return Read::Own { end: slashes + end, has_escaped_slashes };
                }
                Read::Partial => read = Read::Partial,
                Read::Else => {}
            }
        }
        read
    }
}

impl Host {
    /// Reads an authority.
    fn read(&self, text: &[u8], is_https: bool) -> Read {
        let name = self.name.needle();
        let Some(rest) = text.strip_prefix(name) else {
            return if name.starts_with(text) { Read::Partial } else { Read::Else };
        };
        let digits = match rest.first() {
            None => return Read::Partial,
            Some(b':') => rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Some(_) => return self.ends(rest, None, name.len()),
        };
        let port = rest[1..=digits].iter().try_fold(0_u16, |port, digit| {
            port.checked_mul(10)?.checked_add(u16::from(digit - b'0'))
        });
        let Some(port) = port.filter(|_| digits <= 5) else { return Read::Else };
        if rest.len() == 1 + digits {
            return Read::Partial;
        }
        let scheme_port = if is_https { 443 } else { 80 };
        let port = Some(port).filter(|port| digits > 0 && *port != scheme_port);
        self.ends(&rest[1 + digits..], port, name.len() + 1 + digits)
    }

    /// Whether an authority of this port ends where `rest` begins.
    fn ends(&self, rest: &[u8], port: Option<u16>, end: usize) -> Read {
        let own = Read::Own { end, has_escaped_slashes: false };
        match rest {
            _ if port != self.port => Read::Else,
            [b'\\'] => Read::Partial,
            [b'/' | b'?' | b'#' | b'"' | b'\'' | b'<', ..] | [b'\\', b'/', ..] => own,
            _ => Read::Else,
        }
    }
}

const SCHEMES: [(&[u8], bool); 4] =
    [(b"https://", true), (b"http://", false), (br"https:\/\/", true), (br"http:\/\/", false)];

/// Whether the scheme is `https`, and where the authority begins.
fn scheme(text: &[u8]) -> Option<(bool, usize)> {
    let (scheme, is_https) = SCHEMES.iter().find(|(scheme, _)| text.starts_with(scheme))?;
    Some((*is_https, scheme.len()))
}

/// What follows the host of an address.
fn path_of(base: &str) -> &str {
    let authority = base.find("://").map_or(0, |at| at + "://".len());
    base[authority..].find('/').map_or("", |at| &base[authority + at..])
}

/// How long the scheme is that `text` ends with.
pub(super) fn scheme_before(text: &[u8]) -> Option<usize> {
    // Of two that fit, as none of these is the end of another, there is only one.
    SCHEMES.iter().find(|(scheme, _)| text.ends_with(scheme)).map(|(scheme, _)| scheme.len())
}

fn is_partial_scheme(text: &[u8]) -> bool {
    !text.is_empty() && SCHEMES.iter().any(|(scheme, _)| scheme.starts_with(text))
}

fn port_of(address: &Uri) -> Option<u16> {
    match address.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}
