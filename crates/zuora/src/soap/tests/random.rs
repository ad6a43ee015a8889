//! Envelopes that are broken at random: however they arrive they mean the same, and whatever is taken can be given
//! another session.

use super::*;

/// What breaks envelopes, besides single bytes.
const PIECES: [&str; 14] = [
    "<",
    ">",
    "/>",
    "</",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "<?x?>",
    "<ns1:session>",
    "</ns1:session>",
    "<soapenv:Body>",
    "</ns1:SessionHeader>",
];

/// A generator of numbers that look random (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// The envelope with a few faults.
    fn broken(&mut self, envelope: &str) -> Vec<u8> {
        let mut bytes = envelope.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                2 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..at, piece.bytes());
                }
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
            }
        }
        bytes
    }
}

#[test]
fn broken_envelopes_mean_the_same_in_whatever_pieces_they_come() {
    let header = with_session("zgw_abc").replace("<soapenv:Header>", "<soapenv:Header><x>é</x>");
    let fine =
        [envelope(&with_session("zgw_abc"), QUERY), envelope("", QUERY), envelope(&header, QUERY)];
    let mut numbers = Numbers(7);
    let mut taken = 0;
    for round in 0..15_000 {
        let bytes = numbers.broken(&fine[round % fine.len()]);

        let whole = read_in(&bytes, bytes.len().max(1));
        let pieces = 1 + numbers.below(20);
        let in_pieces = read_in(&bytes, pieces);

        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(in_pieces.as_ref().ok(), whole.as_ref().ok(), "in pieces of {pieces}: {text}");
        let Ok(head) = whole else { continue };
        taken += 1;
        let spliced = head.splice.put(&bytes, "another");
        let again = read_in(&spliced, spliced.len()).unwrap_or_else(|bad| panic!("{bad}: {text}"));
        assert_eq!(again.session.as_deref(), Some("another"), "{text}");
        assert_eq!((again.call, again.login), (head.call, head.login), "{text}");
    }
    assert!((500..14_000).contains(&taken), "{taken} are taken, so both kinds are tried");
}
