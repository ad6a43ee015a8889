//! Which cases there are: every place where a wire can be cut, and everything else that can go wrong, for every family.

use std::sync::Arc;
use std::time::Duration;

use emulator::{Category, FaultKind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use testkit::{How, Snip, Step};

use crate::family::Family;
use crate::stage::{Before, Case, Outcome, Received, report};

/// A family, with the length of its request and of the answer when nothing goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) family: Arc<Family>,
    pub(crate) request: usize,
    pub(crate) head: usize,
    pub(crate) answer: usize,
}

const HTML: &str = "<html><head><title>503 Service Unavailable</title></head></html>";
const HTML_FIELD: &str = "content-type: text/html\r\n";

fn wire(snip: Snip) -> Step {
    Step { zuora: None, wire: Some(snip) }
}

fn zuora(kind: FaultKind) -> Step {
    Step { zuora: Some(kind), wire: None }
}

fn failure(category: Category) -> FaultKind {
    FaultKind::Fail { category, shape: None, message_bytes: 0 }
}

fn both(kind: FaultKind, snip: Snip) -> Step {
    Step { zuora: Some(kind), wire: Some(snip) }
}

impl Measured {
    /// Measures a case in which nothing went wrong.
    pub(crate) fn of(case: &Case, outcome: &Outcome) -> Self {
        let [exchange] = &outcome.exchanges[..] else { panic!("{case}\n{}", report(outcome)) };
        let is_good =
            matches!(&outcome.received, Received::Whole { status, .. } if status.is_success());
        assert!(is_good && exchange.answered.is_some(), "{case}\n{}", report(outcome));
        let head = exchange.request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        Self {
            family: Arc::clone(&case.family),
            request: exchange.request.len(),
            head,
            answer: exchange.answer.len(),
        }
    }

    /// A call of the family that meets these.
    pub(crate) fn case(&self, steps: Vec<Step>) -> Case {
        Case { steps, ..Case::plain(&self.family) }
    }

    /// Cuts at every byte of the request, in every way, and at every byte of the answer.
    pub(crate) fn cuts(&self) -> Vec<Case> {
        let requests = (0..=self.request)
            .flat_map(|after| How::ALL.map(|how| wire(Snip::Request { after, how })));
        let answers = self.answer_places().into_iter().flat_map(|after| {
            [How::Closed, How::Reset].map(|how| wire(Snip::Answer { after, how }))
        });
        let cuts = requests.chain(answers).map(|step| self.case(vec![step]));
        // In turns on a connection that was there before, on a new one, and in small pieces.
        let varied = cuts.enumerate().map(|(at, case)| match at % 5 {
            3 => Case { before: Before::Fresh, ..case },
            4 => Case { piece: Some(1 + at % 97), ..case },
            _ => case,
        });
        varied.collect()
    }

    /// Every byte; of a long answer, every byte of its beginning and its end, and places between.
    fn answer_places(&self) -> Vec<usize> {
        let all = 0..self.answer;
        if self.answer < 20_000 {
            return all.collect();
        }
        all.filter(|at| *at < 1500 || at + 100 > self.answer || at % 997 == 0).collect()
    }

    /// What can go wrong with one request, besides cuts at every byte.
    pub(crate) fn mishaps(&self) -> Vec<Step> {
        let mut mishaps = self.refusals();
        mishaps.extend(self.open_ends());
        mishaps
    }

    /// Ends after which Zuora is known to have done nothing, if they are heard of.
    fn refusals(&self) -> Vec<Step> {
        vec![
            zuora(FaultKind::RefuseConcurrency),
            zuora(FaultKind::RefuseRate { reset: 7 }),
            zuora(FaultKind::LimitInBody),
            zuora(FaultKind::Unauthenticated),
            zuora(FaultKind::Contended),
            zuora(failure(Category::Rule)),
            zuora(failure(Category::Internal)),
            zuora(failure(Category::Temporary)),
        ]
    }

    /// Ends after which nobody can know.
    fn open_ends(&self) -> Vec<Step> {
        let mut ends = Vec::new();
        for status in [502, 503, 504] {
            for delivered in [false, true] {
                for seconds in [0, 120] {
                    let after = Duration::from_secs(seconds);
                    let (fields, body) = (HTML_FIELD, HTML);
                    ends.push(wire(Snip::Instead { status, fields, body, after, delivered }));
                }
            }
        }
        // The same with a body that says something else than the status.
        let (fields, after) =
            ("content-type: application/json\r\nretry-after: 3\r\n", Duration::ZERO);
        let contended = r#"{"success":false,"reasons":[{"code":53100050,"message":"Operation failed due to a lock competition, please retry later."}]}"#;
        let refused = r#"{"success":false,"reasons":[{"code":50000070,"message":"The total number of concurrent requests has exceeded the limit."}]}"#;
        for body in [contended, refused] {
            ends.push(wire(Snip::Instead { status: 503, fields, body, after, delivered: true }));
        }
        ends.push(zuora(FaultKind::HtmlUnavailable));
        ends.push(zuora(FaultKind::Cut { executed: false }));
        ends.push(zuora(FaultKind::Cut { executed: true }));
        ends.push(zuora(FaultKind::CutBody { after: 0 }));
        ends.push(zuora(FaultKind::CutBody { after: 9 }));
        for delivered in [false, true] {
            ends.push(wire(Snip::Silence { delivered }));
        }
        // An answer that says no, of which only the beginning arrives.
        for refusal in self.refusals() {
            for after in [15, 380, 460] {
                let snip = Snip::Answer { after, how: How::Closed };
                ends.push(Step { wire: Some(snip), ..refusal.clone() });
            }
        }
        // Zuora works for longer than anybody waits, or goes on after the cut.
        for milliseconds in [1_000, 119_000, 126_000, 200_000] {
            ends.push(zuora(FaultKind::Delay { milliseconds }));
            for how in [How::Closed, How::Reset] {
                let snip = Snip::Request { after: self.request, how };
                ends.push(both(FaultKind::Delay { milliseconds }, snip));
            }
            let (fields, body, delivered) = (HTML_FIELD, HTML, true);
            let after = Duration::from_secs(if milliseconds > 120_000 { 120 } else { 0 });
            let snip = Snip::Instead { status: 504, fields, body, after, delivered };
            ends.push(both(FaultKind::Delay { milliseconds }, snip));
        }
        ends
    }

    /// Cuts at the places that matter most.
    fn telling_cuts(&self) -> Vec<Step> {
        let mut cuts = Vec::new();
        for after in [0, 1, self.head - 1, self.head, self.request - 1, self.request] {
            for how in How::ALL {
                cuts.push(wire(Snip::Request { after, how }));
            }
        }
        for after in [0, 1, 12, self.answer / 2, self.answer - 1] {
            for how in [How::Closed, How::Reset] {
                cuts.push(wire(Snip::Answer { after, how }));
            }
        }
        cuts
    }

    /// Cuts at those places, on a connection that was there before and on a new one.
    pub(crate) fn telling(&self) -> Vec<Case> {
        let both = |step: Step| {
            [Before::Pooled, Before::Fresh]
                .map(|before| Case { before, ..self.case(vec![step.clone()]) })
        };
        self.telling_cuts().into_iter().flat_map(both).collect()
    }

    /// One thing goes wrong, whatever the call finds.
    pub(crate) fn singles(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        let endings = How::ALL.map(Before::Ending);
        let unreachable = [1, 2, 5].map(Before::Unreachable);
        for before in endings.into_iter().chain(unreachable) {
            cases.push(Case { before, ..self.case(Vec::new()) });
        }
        for step in self.mishaps() {
            for before in [Before::Pooled, Before::Fresh] {
                cases.push(Case { before, ..self.case(vec![step.clone()]) });
            }
        }
        cases
    }

    /// One thing goes wrong, and then another.
    pub(crate) fn pairs(&self) -> Vec<Case> {
        let mut all = self.telling_cuts();
        all.extend(self.mishaps());
        let mut cases = Vec::new();
        for first in &all {
            for second in &all {
                cases.push(self.case(vec![first.clone(), second.clone()]));
            }
            for how in How::ALL {
                let before = Before::Ending(how);
                cases.push(Case { before, ..self.case(vec![first.clone()]) });
            }
        }
        cases
    }

    /// It is executed and nobody hears of it; and then Zuora says no to the question how it went.
    pub(crate) fn doubts(&self) -> Vec<Case> {
        let (fields, body, after, delivered) = (HTML_FIELD, HTML, Duration::ZERO, true);
        let firsts = [
            Snip::Request { after: self.request, how: How::Reset },
            Snip::Answer { after: 0, how: How::Closed },
            Snip::Instead { status: 504, fields, body, after, delivered },
        ];
        let refusals = self.refusals();
        let pairs = firsts.iter().flat_map(|first| {
            refusals.iter().map(|refusal| vec![wire(first.clone()), refusal.clone()])
        });
        // No token is taken any more.
        let strange = zuora(FaultKind::Unauthenticated);
        let triples =
            firsts.iter().map(|first| vec![wire(first.clone()), strange.clone(), strange.clone()]);
        pairs.chain(triples).map(|steps| self.case(steps)).collect()
    }

    /// Many things go wrong, by chance.
    pub(crate) fn storms(&self, how_many: usize) -> Vec<Case> {
        let mut random = StdRng::seed_from_u64(self.family.name.bytes().map(u64::from).sum());
        let mut all = self.mishaps();
        all.push(Step::default());
        let mut cases = Vec::new();
        for _ in 0..how_many {
            let steps = (0..random.random_range(2..7)).map(|_| match random.random_range(0..3) {
                0 => {
                    let how = How::ALL[random.random_range(0..How::ALL.len())];
                    wire(Snip::Request { after: random.random_range(0..=self.request), how })
                }
                1 => {
                    let how = How::ALL[random.random_range(0..How::ALL.len())];
                    wire(Snip::Answer { after: random.random_range(0..self.answer), how })
                }
                _ => all[random.random_range(0..all.len())].clone(),
            });
            let steps = steps.collect();
            let before = match random.random_range(0..4) {
                0 => Before::Fresh,
                1 => Before::Ending(How::ALL[random.random_range(0..How::ALL.len())]),
                2 => Before::Unreachable(random.random_range(1..3)),
                _ => Before::Pooled,
            };
            let piece = Some(random.random_range(1..2000)).filter(|piece| piece % 3 == 0);
            let moments = [0, 20, 70, 400, 1_500, 121_000, 140_000, 500_000];
            let leaves = match random.random_range(0..4) {
                0 => Some(Duration::from_millis(moments[random.random_range(0..moments.len())])),
                _ => None,
            };
            cases.push(Case { before, piece, leaves, ..self.case(steps) });
        }
        cases
    }
}
