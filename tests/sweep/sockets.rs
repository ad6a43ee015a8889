//! The same over real sockets, before the real program: cuts arrive there as FIN and RST.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use emulator::{Options, ServiceTime, Tenant};
use futures_util::future::join_all;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use testkit::{How, Program, Relay, Scissors, Snip, Step, gateway_program};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::cases::Measured;
use crate::family::{self, Family};
use crate::judge::judge;
use crate::stage::{Before, Case, Outcome, Received, call, report};

/// How long the tenant works.
const SERVICE: Duration = Duration::from_millis(5);

/// How long until the tenant has worked on everything that it was given, and the program has seen what became of its
/// connections.
const A_WHILE: Duration = Duration::from_millis(25);

/// The program, and behind a relay the tenant.
struct Stage {
    family: Arc<Family>,
    tenant: Arc<Tenant>,
    born: Instant,
    scissors: Arc<Scissors>,
    address: SocketAddr,
    _relay: Relay,
    _program: Program,
    _directory: TempDir,
}

impl Stage {
    async fn start(family: Family) -> Self {
        let options = Options {
            service_time: ServiceTime::Constant(SERVICE),
            ledger_capacity: 20,
            ..Options::default()
        };
        let tenant = Arc::new(Tenant::start(options).await.unwrap());
        let born = Instant::now();
        let scissors = Scissors::before(Arc::clone(&tenant));
        let relay = Relay::start(&scissors).await;

        let directory = TempDir::new().unwrap();
        let (file, state) = (directory.path().join("gw.yaml"), directory.path().join("state"));
        std::fs::write(&file, family.yaml().text(&relay.base_url(), &state)).unwrap();
        let mut command = Command::new(gateway_program());
        command.args(["run", "--config"]).arg(&file);
        command.stderr(File::create(directory.path().join("stderr")).unwrap());
        let mut program = Program::start(command);
        let line = program.line_with(r#""message":"serving""#).await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap().parse().unwrap();
        let family = Arc::new(family);
        Self {
            family,
            tenant,
            born,
            scissors,
            address,
            _relay: relay,
            _program: program,
            _directory: directory,
        }
    }

    async fn ask(&self, method: &str, path: &str, family: Option<&Family>) -> Received {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (fields, body) =
            family.map_or((&[][..], &[][..]), |family| (&family.fields[..], &family.body[..]));
        call(TokioIo::new(stream), method, path, fields, body).await
    }

    async fn play(&self, case: &Case) -> Outcome {
        // One that succeeds, so that the tenant is known to be there, and a connection to it is.
        let greeting = self.ask("GET", "/v1/accounts/A00000001", None).await;
        assert!(matches!(greeting, Received::Whole { status: StatusCode::OK, .. }), "{greeting:?}");
        sleep(A_WHILE).await;
        let before = self.tenant.ledger();
        let begun = before.executed.last().map_or(0, |executed| executed.sequence);
        self.scissors.arm(case.steps.iter().cloned());
        match case.before {
            Before::Pooled | Before::Unreachable(_) => {}
            Before::Fresh => {
                self.scissors.cut_idle(How::Reset);
                sleep(A_WHILE).await;
            }
            Before::Ending(how) => {
                self.scissors.cut_idle(how);
            }
        }

        let asking = self.ask(self.family.method, self.family.path, Some(&self.family));
        let received = timeout(Duration::from_secs(60), asking).await.unwrap_or(Received::Never);
        sleep(A_WHILE).await;
        let mut ledger = self.tenant.ledger();
        ledger.executed.retain(|executed| executed.sequence > begun);
        ledger.idempotent_replays -= before.idempotent_replays;
        let exchanges = self.scissors.seen();
        let (born, left_over) = (self.born, (0, 0));
        Outcome { received, exchanges, ledger, born, left_over, is_over_sockets: true }
    }

    async fn measure(&self) -> Measured {
        let case = Case::plain(&self.family);
        let outcome = self.play(&case).await;
        Measured::of(&case, &outcome)
    }
}

/// What a wire can do to one call, at places that tell.
fn cases(measured: &Measured) -> Vec<Case> {
    let wire = |snip| vec![Step { zuora: None, wire: Some(snip) }];
    let mut steps = Vec::new();
    let all = measured.request;
    for after in [0, 1, 17, all / 2, measured.head, all - 1, all] {
        for how in [How::Closed, How::Reset] {
            steps.push(wire(Snip::Request { after, how }));
        }
    }
    for after in [0, 1, 40, measured.answer / 2, measured.answer - 1] {
        for how in [How::Closed, How::Reset] {
            steps.push(wire(Snip::Answer { after, how }));
        }
    }
    // Twice in a row.
    let cut = Snip::Request { after: all, how: How::Reset };
    steps.push([wire(cut.clone()), wire(Snip::Answer { after: 30, how: How::Closed })].concat());
    steps.push([wire(cut.clone()), wire(cut)].concat());
    let cuts = steps.into_iter().enumerate().map(|(at, steps)| Case {
        before: if at % 3 == 2 { Before::Fresh } else { Before::Pooled },
        ..measured.case(steps)
    });
    let endings = [How::Closed, How::Reset].into_iter().cycle().take(6);
    let endings = endings.map(|how| Case { before: Before::Ending(how), ..measured.case(vec![]) });
    cuts.chain(endings).collect()
}

/// Families that can be called as often as one likes.
fn families() -> Vec<Family> {
    let some = [
        "account",
        "account, modern",
        "subscription",
        "usage upload",
        "streamed body",
        "object",
        "action create",
        "custom object",
        "put",
        "renew",
        "delete anything",
        "get",
        "list in chunks",
        "long file",
    ];
    family::all().into_iter().filter(|family| some.contains(&family.name)).collect()
}

/// Plays the cases of a family. Returns how many they were, and those that went wrong.
async fn play_all(family: Family) -> (usize, Vec<String>) {
    let stage = Stage::start(family).await;
    let cases = cases(&stage.measure().await);
    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = stage.play(case).await;
        // What is made has another number each time, so there is no answer to compare with.
        let found = judge(case, None, &outcome);
        if !found.is_empty() {
            wrong.push(format!("{case}\n  {}\n{}", found.join("\n  "), report(&outcome)));
        }
    }
    (cases.len(), wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_socket_never_makes_a_write_happen_twice() {
    let played = join_all(families().into_iter().map(play_all)).await;

    let cases: usize = played.iter().map(|(cases, _)| cases).sum();
    let wrong: Vec<String> = played.into_iter().flat_map(|(_, wrong)| wrong).collect();
    eprintln!("sockets: {cases} cases, {} went wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
