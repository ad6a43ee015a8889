//! The promises of [`Tokens`], on a stopped clock, with an endpoint that counts what it sees.

use std::{
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use http::{HeaderMap, StatusCode};
use telemetry::{Inventory, Readings};
use tokio::time::{advance, sleep};

use super::*;

mod kinds;

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A token endpoint that takes a while, does what the script says, and keeps count.
#[derive(Clone)]
struct Endpoint(Arc<Inner>);

struct Inner {
    latency: Duration,
    script: Box<dyn Fn(u32) -> Result<Grant, FetchError> + Send + Sync>,
    calls: Mutex<Vec<Instant>>,
    in_flight: AtomicU32,
    most_in_flight: AtomicU32,
}

impl Endpoint {
    /// `script` is told the number of the call, from one.
    fn new(
        latency: Duration,
        script: impl Fn(u32) -> Result<Grant, FetchError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            latency,
            script: Box::new(script),
            calls: Mutex::default(),
            in_flight: AtomicU32::new(0),
            most_in_flight: AtomicU32::new(0),
        }))
    }

    fn calls(&self) -> Vec<Instant> {
        self.0.calls.lock().unwrap().clone()
    }

    fn most_in_flight(&self) -> u32 {
        self.0.most_in_flight.load(Ordering::SeqCst)
    }
}

/// Counts a fetch out however it ends.
struct InFlight(Arc<Inner>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TokenEndpoint for Endpoint {
    fn fetch(
        &self,
        _: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        Box::pin(async {
            let number = {
                let mut calls = self.0.calls.lock().unwrap();
                calls.push(Instant::now());
                u32::try_from(calls.len()).unwrap()
            };
            let now = self.0.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most_in_flight.fetch_max(now, Ordering::SeqCst);
            let _in_flight = InFlight(Arc::clone(&self.0));
            sleep(self.0.latency).await;
            (self.0.script)(number)
        })
    }
}

fn grant(number: u32, life: u64) -> Result<Grant, FetchError> {
    let body = format!(r#"{{"access_token":"token-{number}","expires_in":{life}}}"#);
    Grant::read(StatusCode::OK, &HeaderMap::new(), body.as_bytes())
}

fn metrics() -> Arc<Metrics> {
    Metrics::new(&Inventory { tenants: vec!["t".to_owned()], apps: vec![] })
}

fn start(endpoint: &Endpoint) -> Arc<Tokens> {
    Tokens::start("t", endpoint.clone(), &metrics())
}

fn within(duration: Duration) -> Instant {
    Instant::now() + duration
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_cause_one_fetch() {
    let endpoint = Endpoint::new(200 * MS, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let began = Instant::now();

    let mut waiters = JoinSet::new();
    for _ in 0..10_000 {
        let tokens = Arc::clone(&tokens);
        waiters.spawn(async move { (tokens.current(within(30 * S)).await, Instant::now()) });
    }

    for (token, at) in waiters.join_all().await {
        let token = token.unwrap();
        assert_eq!(token.proof, Proof::bearer("token-1").unwrap());
        assert_eq!(token.generation, 1);
        assert!(at - began <= 201 * MS, "waiters are woken at once");
    }
    assert_eq!(endpoint.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_at_the_expiry_cause_one_fetch() {
    // The refresh ahead of the expiry fails, so that the token does expire.
    let endpoint = Endpoint::new(200 * MS, |number| match number {
        1 => grant(1, 100),
        2..=5 => Err(FetchError::Status { code: 500 }),
        _ => grant(number, 3598),
    });
    let tokens = start(&endpoint);
    sleep(96 * S).await;
    assert!(!tokens.is_ready());
    let before = endpoint.calls().len();

    let mut waiters = JoinSet::new();
    for _ in 0..10_000 {
        let tokens = Arc::clone(&tokens);
        waiters.spawn(async move { tokens.current(within(60 * S)).await });
    }

    let granted = waiters.join_all().await;
    assert!(granted.iter().all(|token| token.as_ref().unwrap().generation == 2));
    // What was due anyway was tried, and nothing else.
    assert!(endpoint.calls().len() <= before + 2);
    assert_eq!(endpoint.most_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_expiry_and_nobody_waits() {
    let endpoint = Endpoint::new(5 * S, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let first = tokens.current(within(30 * S)).await.unwrap();
    let asked = endpoint.calls()[0];

    for _ in 0..3600 {
        let before = Instant::now();
        tokens.current(before).await.unwrap();
        assert_eq!(Instant::now(), before);
        sleep(S).await;
    }

    let calls = endpoint.calls();
    assert_eq!(calls.len(), 2);
    let share = (calls[1] - asked).as_secs_f64() / 3598.0;
    assert!((0.8..=0.9).contains(&share), "{share}");
    assert_eq!(tokens.current(Instant::now()).await.unwrap().generation, first.generation + 1);
}

#[tokio::test(start_paused = true)]
async fn the_old_token_serves_while_the_endpoint_fails_and_until_it_expires() {
    let endpoint = Endpoint::new(100 * MS, |number| match number {
        1 => grant(1, 600),
        _ => Err(FetchError::Status { code: 503 }),
    });
    let tokens = start(&endpoint);
    let began = Instant::now();
    tokens.current(within(S)).await.unwrap();

    sleep(595 * S - MS - (Instant::now() - began)).await;
    let last = tokens.current(Instant::now()).await;
    sleep(2 * MS).await;
    let none = tokens.current(Instant::now()).await;

    assert_eq!(last.unwrap().generation, 1);
    assert_eq!(none.unwrap_err().cause, Some(FetchError::Status { code: 503 }));
    assert!(!tokens.is_ready());
    assert_eq!(tokens.life(), None);
    assert!(endpoint.calls().len() > 3, "it was tried several times ahead of the expiry");
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_call_ends_at_its_deadline() {
    let endpoint = Endpoint::new(3600 * S, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let began = Instant::now();

    let unavailable = tokens.current(within(7 * S)).await.unwrap_err();

    assert_eq!(Instant::now() - began, 7 * S);
    assert_eq!(unavailable.cause, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_told_at_once_when_nothing_will_be_tried_before_its_deadline() {
    let asked = FetchError::RateLimited { retry_after: Some(50 * S) };
    let endpoint = Endpoint::new(10 * MS, move |number| match number {
        1 => Err(asked),
        _ => grant(number, 3598),
    });
    let tokens = start(&endpoint);
    let began = Instant::now();

    let unavailable = tokens.current(within(30 * S)).await.unwrap_err();
    let at = Instant::now() - began;
    let token = tokens.current(within(70 * S)).await.unwrap();

    assert!(at < 20 * MS, "{at:?}");
    assert!(unavailable.retry_after >= 50 * S && unavailable.retry_after <= 63 * S);
    assert_eq!(unavailable.cause, Some(asked));
    assert_eq!(token.generation, 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_between_failures_grow_and_stay_far_below_the_limit_of_logins() {
    let endpoint = Endpoint::new(10 * MS, |_| Err(FetchError::Refused));
    let _tokens = start(&endpoint);

    sleep(600 * S).await;

    let calls = endpoint.calls();
    let pauses: Vec<_> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
        let least = least * S;
        let most = least.mul_f64(1.25) + 20 * MS;
        assert!(*pause >= least && *pause <= most, "{pause:?}, expected {least:?} or a bit more");
    }
    assert!(calls.len() <= 25, "{}", calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_and_calls_wait_for_the_new_one() {
    let endpoint = Endpoint::new(300 * MS, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let first = tokens.current(within(S)).await.unwrap();
    sleep(10 * S).await;

    for _ in 0..100 {
        tokens.rejected(first.generation);
    }
    assert!(tokens.is_ready(), "one 401 does not make the gateway unready");
    let before = Instant::now();
    let second = tokens.current(within(S)).await.unwrap();

    assert_eq!(second.proof, Proof::bearer("token-2").unwrap());
    assert_eq!(second.generation, first.generation + 1);
    assert_eq!(Instant::now() - before, 300 * MS);
    assert_eq!(endpoint.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_successor_of_a_rejected_token_ends_at_the_deadline() {
    let endpoint =
        Endpoint::new(10 * S, |number| if number == 1 { grant(1, 3598) } else { grant(2, 60) });
    let tokens = start(&endpoint);
    let first = tokens.current(within(20 * S)).await.unwrap();
    sleep(10 * S).await;

    tokens.rejected(first.generation);
    let before = Instant::now();
    let unavailable = tokens.current(within(4 * S)).await;

    assert!(unavailable.is_err());
    assert_eq!(Instant::now() - before, 4 * S);
}

#[tokio::test(start_paused = true)]
async fn a_late_rejection_of_an_older_token_does_nothing() {
    let endpoint = Endpoint::new(10 * MS, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let first = tokens.current(within(S)).await.unwrap();
    sleep(10 * S).await;
    tokens.rejected(first.generation);
    let second = tokens.current(within(S)).await.unwrap();
    sleep(10 * S).await;

    tokens.rejected(first.generation);
    tokens.rejected(second.generation + 1);

    let same = tokens.current(Instant::now()).await.unwrap();
    sleep(60 * S).await;
    assert_eq!(same.generation, second.generation);
    assert_eq!(endpoint.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_while_a_refresh_is_under_way_adds_no_second_one() {
    let endpoint = Endpoint::new(20 * S, |number| grant(number, 100));
    let tokens = start(&endpoint);
    let first = tokens.current(within(30 * S)).await.unwrap();
    while endpoint.calls().len() < 2 {
        sleep(S).await;
    }

    tokens.rejected(first.generation);
    let second = tokens.current(within(30 * S)).await.unwrap();
    sleep(30 * S).await;

    assert_eq!(second.generation, 2);
    assert_eq!(endpoint.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_rejects_every_token_causes_no_storm() {
    let endpoint = Endpoint::new(50 * MS, |number| grant(number, 3598));
    let tokens = start(&endpoint);

    let began = Instant::now();
    while Instant::now() - began < 60 * S {
        let token = tokens.current(within(S)).await.expect("calls go on and get Zuora's 401");
        tokens.rejected(token.generation);
        sleep(10 * MS).await;
    }

    let calls = endpoint.calls();
    assert!(calls.len() <= 13, "{}", calls.len());
    assert!(calls.windows(2).all(|pair| pair[1] - pair[0] >= 5 * S));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_without_a_successor_is_used_again() {
    let endpoint = Endpoint::new(50 * MS, |number| match number {
        1 => grant(1, 3598),
        _ => Err(FetchError::Unreachable),
    });
    let tokens = start(&endpoint);
    let first = tokens.current(within(S)).await.unwrap();
    sleep(10 * S).await;

    tokens.rejected(first.generation);
    let again = tokens.current(within(S)).await.unwrap();
    tokens.rejected(again.generation);
    let before = Instant::now();
    let and_again = tokens.current(within(S)).await.unwrap();

    assert_eq!(again.generation, first.generation);
    assert_eq!(and_again.generation, first.generation);
    assert_eq!(Instant::now(), before, "no call waits while fetches fail");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_cancels_nothing() {
    let endpoint = Endpoint::new(2 * S, |number| grant(number, 3598));
    let tokens = start(&endpoint);

    for _ in 0..100 {
        let gone = time::timeout(MS, tokens.current(within(60 * S))).await;
        assert!(gone.is_err());
    }
    tokens.current(within(60 * S)).await.unwrap();

    assert_eq!(endpoint.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_endpoint_is_given_up_on_and_asked_again() {
    let endpoint = Endpoint::new(60 * S, |number| grant(number, 3598));
    let _tokens = start(&endpoint);

    sleep(120 * S).await;

    let calls = endpoint.calls();
    assert!(calls[1] - calls[0] >= 31 * S && calls[1] - calls[0] <= 32 * S);
    assert_eq!(endpoint.most_in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_endpoint_is_a_failure_like_any_other() {
    let endpoint = Endpoint::new(MS, |number| match number {
        1 => panic!("on purpose"),
        _ => grant(number, 3598),
    });
    let tokens = start(&endpoint);

    assert!(tokens.current(within(10 * S)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn short_lives_never_come_near_the_limit_of_logins() {
    let endpoint = Endpoint::new(10 * MS, |number| match number % 2 {
        0 => Err(FetchError::Status { code: 500 }),
        _ => grant(number, 1),
    });
    let tokens = start(&endpoint);

    let began = Instant::now();
    while Instant::now() - began < 60 * S {
        if let Ok(token) = tokens.current(within(5 * S)).await {
            tokens.rejected(token.generation);
        }
        sleep(MS).await;
    }

    assert!(endpoint.calls().len() <= 45, "{}", endpoint.calls().len());
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_the_task_and_the_fetch() {
    let endpoint = Endpoint::new(10 * S, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    sleep(S).await;
    assert_eq!(endpoint.0.in_flight.load(Ordering::SeqCst), 1);

    drop(tokens);
    sleep(3600 * S).await;

    assert_eq!(endpoint.calls().len(), 1);
    assert_eq!(endpoint.0.in_flight.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn refreshes_are_counted_by_their_result() {
    let endpoint = Endpoint::new(10 * MS, |number| match number {
        1 => Err(FetchError::Unreachable),
        _ => grant(number, 3598),
    });
    let metrics = metrics();
    let tokens = Tokens::start("t", endpoint, &metrics);

    tokens.current(within(10 * S)).await.unwrap();

    let text = metrics.render(&Readings::default());
    for result in ["ok", "error"] {
        let line =
            format!(r#"zuora_gateway_token_refreshes_total{{result="{result}",tenant="t"}} 1"#);
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_life_is_told() {
    let endpoint = Endpoint::new(S, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    assert!(!tokens.is_ready());

    tokens.current(within(10 * S)).await.unwrap();

    // It is counted from when the token was asked for.
    let Some(Life::Ends(rest)) = tokens.life() else { panic!("it tells its end") };
    assert!(rest <= 3597 * S && rest > 3596 * S, "{rest:?}");
    assert!(tokens.is_ready());
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_shows_a_token() {
    let endpoint = Endpoint::new(MS, |number| grant(number, 3598));
    let tokens = start(&endpoint);
    let token = tokens.current(within(S)).await.unwrap();

    let printed = format!("{tokens:?} {token:?} {:?}", grant(1, 60));

    assert!(!printed.contains("token-1"), "{printed}");
}

/// Random lives, answers, rejections and waits: whatever happens, there is at most one fetch
/// in flight, the limit of logins is far away, and nobody ever gets an expired token.
#[test]
fn in_a_thousand_random_lives_there_is_never_more_than_one_fetch() {
    for seed in 0..1000 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(random_life(seed));
    }
}

async fn random_life(seed: u64) {
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

    let mut rng = StdRng::seed_from_u64(seed);
    let dice = Mutex::new(StdRng::seed_from_u64(rng.next_u64()));
    let granted = Arc::new(Mutex::new(Vec::<Instant>::new()));
    let ends = Arc::clone(&granted);
    let endpoint = Endpoint::new(rng.random_range(1..3000) * MS, move |number| {
        let mut dice = dice.lock().unwrap();
        if dice.random_bool(0.4) {
            return Err(FetchError::Status { code: 500 });
        }
        let life = dice.random_range(1..120_u32);
        ends.lock().unwrap().push(Instant::now() + life * S);
        grant(number, u64::from(life))
    });
    let tokens = start(&endpoint);

    let mut held: Option<Token> = None;
    for _ in 0..200 {
        match rng.random_range(0..4) {
            0 => advance(rng.random_range(1..20_000) * MS).await,
            1 => held.iter().for_each(|token| tokens.rejected(token.generation)),
            _ => sleep(rng.random_range(1..500) * MS).await,
        }
        let deadline = within(rng.random_range(0..3000) * MS);
        let got = tokens.current(deadline).await;
        assert!(Instant::now() <= deadline + MS, "seed {seed}: too late");
        let Ok(token) = got else { continue };
        let index = usize::try_from(token.generation - 1).unwrap();
        let expires_at = granted.lock().unwrap()[index];
        assert!(Instant::now() < expires_at, "seed {seed}: an expired token");
        held = Some(token);
    }

    assert!(endpoint.most_in_flight() <= 1, "seed {seed}: more than one in flight");
    let calls = endpoint.calls();
    for (index, call) in calls.iter().enumerate() {
        let in_a_minute = calls[index..].iter().take_while(|it| **it - *call < 60 * S).count();
        assert!(in_a_minute <= 45, "seed {seed}: {in_a_minute} logins in a minute");
    }
}

/// Issues `token-1`, `token-2` and so on, each for an hour.
fn issuing(latency: Duration) -> Endpoint {
    Endpoint::new(latency, |number| grant(number, 3598))
}

#[tokio::test(start_paused = true)]
async fn new_credentials_are_used_at_once_and_nobody_waits_for_it() {
    let (old, new) = (issuing(10 * MS), Endpoint::new(500 * MS, |_| grant(7, 3598)));
    let tokens = start(&old);
    assert_eq!(tokens.current(within(S)).await.unwrap().proof, Proof::bearer("token-1").unwrap());

    tokens.exchange(new.clone(), true);
    let meanwhile = tokens.current(within(Duration::ZERO)).await.unwrap();
    sleep(501 * MS).await;
    let then = tokens.current(within(Duration::ZERO)).await.unwrap();

    assert_eq!((meanwhile.proof, meanwhile.generation), (Proof::bearer("token-1").unwrap(), 1));
    assert_eq!((then.proof, then.generation), (Proof::bearer("token-7").unwrap(), 2));
    sleep(600 * S).await;
    assert_eq!((old.calls().len(), new.calls().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn wrong_new_credentials_do_no_harm_while_the_token_at_hand_lives() {
    let tokens = start(&issuing(10 * MS));
    let first = tokens.current(within(S)).await.unwrap();

    tokens.exchange(Endpoint::new(10 * MS, |_| Err(FetchError::Refused)), true);
    sleep(1800 * S).await;

    assert!(tokens.is_ready());
    assert!(matches!(tokens.trouble(), Some(FetchError::Refused)));
    assert_eq!(tokens.current(within(S)).await.unwrap().generation, first.generation);
    sleep(1800 * S).await;
    assert!(tokens.current(within(S)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn another_way_with_the_same_credentials_keeps_the_token() {
    let (old, new) = (issuing(10 * MS), issuing(10 * MS));
    let tokens = start(&old);
    let first = tokens.current(within(S)).await.unwrap();

    tokens.exchange(new.clone(), false);
    sleep(60 * S).await;
    assert_eq!(tokens.current(within(S)).await.unwrap().generation, first.generation);
    assert_eq!(new.calls().len(), 0);
    sleep(3600 * S).await;

    assert_eq!((old.calls().len(), new.calls().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn corrected_credentials_end_the_trouble_at_once() {
    let tokens = start(&Endpoint::new(10 * MS, |_| Err(FetchError::Refused)));
    sleep(600 * S).await;
    assert!(tokens.trouble().is_some());

    tokens.exchange(issuing(10 * MS), true);
    let token = tokens.current(within(S)).await.unwrap();

    assert_eq!(token.proof, Proof::bearer("token-1").unwrap());
    assert!(tokens.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_with_old_credentials_is_given_up() {
    let tokens = start(&Endpoint::new(20 * S, |_| grant(1, 3598)));
    sleep(S).await;

    tokens.exchange(Endpoint::new(10 * MS, |_| grant(7, 3598)), true);
    let token = tokens.current(within(S)).await.unwrap();
    sleep(60 * S).await;

    assert_eq!(token.proof, Proof::bearer("token-7").unwrap());
    assert_eq!(tokens.current(within(S)).await.unwrap().proof, Proof::bearer("token-7").unwrap());
}
