//! Sessions, keys, previous credentials and entities that nobody asks for, on a stopped clock.

use super::*;

/// Gives what the script says to whoever asks, and notes who asked when.
#[derive(Clone)]
struct Giver {
    renewal: Renewal,
    has_previous: bool,
    at_hand: Option<&'static str>,
    latency: Duration,
    script: Arc<dyn Fn(Which, usize) -> Result<Grant, FetchError> + Send + Sync>,
    asked: Arc<Mutex<Vec<(Instant, Which)>>>,
    in_flight: Arc<AtomicU32>,
}

impl Giver {
    /// `script` is told how often somebody asked, this time included.
    fn new(
        renewal: Renewal,
        script: impl Fn(Which, usize) -> Result<Grant, FetchError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            renewal,
            has_previous: false,
            at_hand: None,
            latency: 200 * MS,
            script: Arc::new(script),
            asked: Arc::default(),
            in_flight: Arc::default(),
        }
    }

    /// Sessions without an end, as many as one asks for.
    fn sessions(renewal: Renewal) -> Self {
        Self::new(renewal, |_, number| Ok(session(&format!("session-{number}"))))
    }

    fn with_previous(self) -> Self {
        Self { has_previous: true, ..self }
    }

    fn holding(self, key: &'static str) -> Self {
        Self { at_hand: Some(key), ..self }
    }

    fn start(&self) -> Arc<Tokens> {
        Tokens::start("t", self.clone(), &metrics())
    }

    /// Starts it for an entity that is not the default one.
    fn start_lazily(&self) -> Arc<Tokens> {
        let scope = Scope {
            tenant: "t".into(),
            entity: Some("e".into()),
            is_lazy: true,
            logins: Arc::default(),
        };
        Tokens::start_for(scope, self.clone(), &metrics())
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn whom(&self) -> Vec<Which> {
        self.asked.lock().unwrap().iter().map(|(_, which)| *which).collect()
    }

    /// The times between those who asked.
    fn pauses(&self) -> Vec<Duration> {
        self.asked.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

impl TokenEndpoint for Giver {
    fn fetch(
        &self,
        which: Which,
    ) -> Pin<Box<dyn Future<Output = Result<Grant, FetchError>> + Send + '_>> {
        Box::pin(async move {
            let others = self.in_flight.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "one refresh at a time");
            let number = {
                let mut asked = self.asked.lock().unwrap();
                asked.push((Instant::now(), which));
                asked.len()
            };
            sleep(self.latency).await;
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            (self.script)(which, number)
        })
    }

    fn has_previous(&self) -> bool {
        self.has_previous
    }

    fn at_hand(&self) -> Option<Grant> {
        self.at_hand.map(key)
    }

    fn renewal(&self) -> Renewal {
        self.renewal
    }
}

fn session(text: &str) -> Grant {
    Grant::lasting(Proof::session(text).unwrap())
}

fn key(secret: &str) -> Grant {
    Grant::lasting(Proof::api_key("me", secret).unwrap())
}

/// What an attempt would carry now; nobody waits for it.
#[track_caller]
fn now(tokens: &Tokens) -> Proof {
    tokens.shared.state.borrow().usable(Instant::now(), Since::ANY).expect("there is one").proof
}

async fn soon(tokens: &Tokens) -> Token {
    tokens.current(within(30 * S)).await.unwrap()
}

const CURRENT: Which = Which::Current;
const PREVIOUS: Which = Which::Previous;

#[tokio::test(start_paused = true)]
async fn where_zuora_refuses_a_credential_the_one_before_it_serves_until_a_renewal_finds_it_taken()
{
    let giver = Giver::new(Renewal::Ahead, |which, number| match (which, number) {
        (CURRENT, ..5) => Err(FetchError::Refused),
        _ => grant(u32::try_from(number).unwrap(), 3598),
    });
    let giver = giver.with_previous();
    let metrics = metrics();
    let tokens = Tokens::start("t", giver.clone(), &metrics);

    assert_eq!(soon(&tokens).await.proof, Proof::bearer("token-2").unwrap());
    assert!(tokens.is_of_previous() && tokens.is_ready());
    assert_eq!(tokens.trouble(), None);
    for _ in 0..3500 {
        tokens.current(Instant::now()).await.unwrap();
        sleep(S).await;
    }
    assert_eq!(giver.whom(), [CURRENT, PREVIOUS, CURRENT, PREVIOUS]);
    assert!(tokens.is_of_previous());
    sleep(3200 * S).await;
    assert_eq!(giver.whom(), [CURRENT, PREVIOUS, CURRENT, PREVIOUS, CURRENT]);
    assert_eq!(now(&tokens), Proof::bearer("token-5").unwrap());
    assert!(!tokens.is_of_previous());

    let text = metrics.render(&Readings::default());
    for (result, times) in [("ok", 1), ("previous", 2), ("error", 2)] {
        let line = format!(r#"token_refreshes_total{{result="{result}",tenant="t"}} {times}"#);
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disturbance_is_no_reason_for_the_previous_credential() {
    let giver = Giver::new(Renewal::Ahead, |_, number| match number {
        1..=3 => Err(FetchError::Status { code: 500 }),
        _ => grant(7, 3598),
    });
    let giver = giver.with_previous();
    let tokens = giver.start();

    soon(&tokens).await;

    assert_eq!(giver.whom(), [CURRENT; 4]);
    assert!(!tokens.is_of_previous());
}

#[tokio::test(start_paused = true)]
async fn two_refused_credentials_are_tried_again_with_the_usual_pauses() {
    let giver = Giver::new(Renewal::Ahead, |_, _| Err(FetchError::Refused)).with_previous();
    let tokens = giver.start();

    sleep(600 * S).await;

    assert_eq!(tokens.trouble(), Some(FetchError::Refused));
    assert!(!tokens.is_ready());
    let whom = giver.whom();
    assert!(whom.chunks(2).all(|pair| pair[0] == CURRENT && pair.get(1) != Some(&CURRENT)));
    assert!((30..=50).contains(&whom.len()), "{}", whom.len());
}

#[tokio::test(start_paused = true)]
async fn a_session_is_followed_by_another_every_ten_minutes_and_nobody_waits() {
    let giver = Giver::sessions(Renewal::Ahead);
    let tokens = giver.start();
    soon(&tokens).await;

    for _ in 0..2700 {
        tokens.current(Instant::now()).await.expect("nobody waits");
        sleep(S).await;
    }

    assert_eq!(giver.pauses(), [600 * S; 4], "four times in three quarters of an hour");
    assert_eq!(tokens.life(), Some(Life::Open));
}

#[tokio::test(start_paused = true)]
async fn a_session_serves_while_logins_fail_and_until_zuora_refuses_it() {
    let giver = Giver::new(Renewal::Ahead, |_, number| match number {
        1 => Ok(session("first")),
        2..50 => Err(FetchError::Unreachable),
        _ => Ok(session("second")),
    });
    let tokens = giver.start();
    let first = soon(&tokens).await;

    sleep(1500 * S).await;
    assert_eq!(tokens.trouble(), Some(FetchError::Unreachable));
    assert_eq!(tokens.current(Instant::now()).await.unwrap().generation, first.generation);
    assert!(tokens.is_ready());
    sleep(900 * S).await;

    assert_eq!(now(&tokens), Proof::session("second").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_renewed_on_error_lasts_until_zuora_refuses_it() {
    let giver = Giver::sessions(Renewal::OnError);
    let tokens = giver.start();
    let first = soon(&tokens).await;
    sleep(24 * 3600 * S).await;
    assert_eq!(giver.count(), 1);

    tokens.rejected(first.generation);
    assert!(tokens.has_other(first.generation, within(S)).await);

    assert_eq!(soon(&tokens).await.proof, Proof::session("session-2").unwrap());
    assert_eq!(giver.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_of_the_previous_credential_is_not_kept_until_it_is_refused() {
    let giver = Giver::new(Renewal::OnError, |which, number| match (which, number) {
        (CURRENT, 1) => Err(FetchError::Refused),
        _ => Ok(session("s")),
    });
    let giver = giver.with_previous();
    let tokens = giver.start();
    soon(&tokens).await;

    sleep(700 * S).await;

    assert_eq!(giver.whom(), [CURRENT, PREVIOUS, CURRENT]);
    assert!(!tokens.is_of_previous());
}

#[tokio::test(start_paused = true)]
async fn where_every_call_has_its_own_each_gets_one_from_after_it_asked() {
    let giver = Giver::sessions(Renewal::EveryCall);
    let tokens = giver.start();
    sleep(10 * S).await;
    assert!(tokens.is_ready(), "the first login tells that it works");

    for number in 2..12 {
        let asked_at = Instant::now();
        let token = soon(&tokens).await;
        assert_eq!(token.proof, Proof::session(&format!("session-{number}")).unwrap());
        let login = giver.asked.lock().unwrap().last().unwrap().0;
        assert!(login >= asked_at, "it was made for this one");
        assert!(Instant::now() - asked_at <= S + 200 * MS);
        // What Zuora says of it changes nothing: the next has its own anyway.
        tokens.rejected(token.generation);
        assert!(tokens.has_other(token.generation, Instant::now()).await);
    }
    sleep(3600 * S).await;

    assert_eq!(giver.count(), 11, "no login for nobody");
    assert!(giver.pauses().iter().all(|pause| *pause >= S), "{:?}", giver.pauses());
}

#[tokio::test(start_paused = true)]
async fn calls_that_ask_within_a_second_share_one_login() {
    let giver = Giver::sessions(Renewal::EveryCall);
    let tokens = giver.start();
    sleep(10 * S).await;

    let mut calls = JoinSet::new();
    for wave in 0..5_u32 {
        for _ in 0..1000 {
            let tokens = Arc::clone(&tokens);
            calls.spawn(async move {
                sleep(wave * 100 * MS).await;
                let asked_at = Instant::now();
                (wave, soon(&tokens).await.generation, Instant::now() - asked_at)
            });
        }
    }
    let calls = calls.join_all().await;

    // The first wave begins a login; the others ask while it is under way or has just been made.
    assert!(
        calls.iter().all(|(wave, generation, _)| *generation == if *wave == 0 { 2 } else { 3 })
    );
    assert!(calls.iter().all(|(_, _, waited)| *waited <= S + 200 * MS));
    assert_eq!(giver.count(), 3);
    assert_eq!(giver.pauses()[1], S);
}

#[tokio::test(start_paused = true)]
async fn without_a_login_a_call_ends_at_its_deadline_although_there_was_one_before() {
    let giver = Giver::new(Renewal::EveryCall, |_, number| match number {
        2..=4 => Err(FetchError::Refused),
        _ => Ok(session("s")),
    });
    let tokens = giver.start();
    sleep(10 * S).await;

    let began = Instant::now();
    let error = tokens.current(within(2 * S)).await.unwrap_err();
    assert_eq!(error.cause, Some(FetchError::Refused));
    assert!(Instant::now() - began <= 2 * S);
    assert!(!tokens.is_ready());
    sleep(60 * S).await;

    assert!(tokens.is_ready(), "it is tried again though nobody asks");
    assert!(tokens.current(within(2 * S)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_at_hand_at_once_and_there_is_no_other() {
    let giver = Giver::new(Renewal::Never, |_, _| unreachable!()).holding("hidden");
    let tokens = giver.start();

    assert!(tokens.is_ready());
    let token = tokens.current(Instant::now()).await.unwrap();
    tokens.rejected(token.generation);
    assert!(!tokens.has_other(token.generation, within(S)).await);
    sleep(3600 * S).await;

    assert_eq!(tokens.current(Instant::now()).await.unwrap().generation, token.generation);
    assert_eq!((giver.count(), tokens.life()), (0, Some(Life::Open)));
}

/// A key with one before it, at a Zuora that takes either.
fn two_keys(
    takes: impl Fn(Which, usize) -> Result<(), FetchError> + Send + Sync + 'static,
) -> Giver {
    let giver = Giver::new(Renewal::OnError, move |which, number| {
        takes(which, number).map(|()| key(if which == CURRENT { "new" } else { "old" }))
    });
    giver.holding("new").with_previous()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_zuora_refuses_is_followed_by_the_previous_one_and_looked_at_again() {
    let giver = two_keys(|which, number| match (which, number) {
        (CURRENT, ..=3) => Err(FetchError::Refused),
        _ => Ok(()),
    });
    let tokens = giver.start();
    let first = tokens.current(Instant::now()).await.unwrap();
    assert_eq!(first.proof, key("new").proof);
    assert_eq!(giver.count(), 0, "nobody doubts it before Zuora does");

    tokens.rejected(first.generation);
    assert!(tokens.has_other(first.generation, within(S)).await);
    assert_eq!(soon(&tokens).await.proof, key("old").proof);
    sleep(599 * S).await;
    assert_eq!(now(&tokens), key("old").proof);
    sleep(602 * S).await;

    assert_eq!(giver.whom(), [CURRENT, PREVIOUS, CURRENT, PREVIOUS, CURRENT]);
    assert_eq!(now(&tokens), key("new").proof);
    assert!(!tokens.is_of_previous());
}

#[tokio::test(start_paused = true)]
async fn what_the_previous_credential_got_is_replaced_soon_after_zuora_takes_it_back() {
    let giver = two_keys(|which, number| match (which, number) {
        (CURRENT, 1) => Err(FetchError::Refused),
        _ => Ok(()),
    });
    let tokens = giver.start();
    let first = tokens.current(Instant::now()).await.unwrap();
    tokens.rejected(first.generation);
    let second = soon(&tokens).await;
    assert_eq!(second.proof, key("old").proof);

    tokens.rejected(second.generation);
    sleep(900 * MS).await;
    assert_eq!(
        now(&tokens),
        key("old").proof,
        "a tenant that takes nothing must not be asked all the time"
    );
    sleep(200 * MS).await;
    tokens.rejected(second.generation);
    assert!(tokens.has_other(second.generation, within(S)).await);

    assert_eq!(soon(&tokens).await.proof, key("new").proof);
}

#[tokio::test(start_paused = true)]
async fn a_key_goes_on_to_serve_while_nobody_can_say_whether_zuora_takes_it() {
    let giver = two_keys(|_, _| Err(FetchError::Unreachable));
    let tokens = giver.start();
    let first = tokens.current(Instant::now()).await.unwrap();

    tokens.rejected(first.generation);
    sleep(60 * S).await;

    assert!(!tokens.has_other(first.generation, within(S)).await);
    assert!(tokens.is_ready());
    assert_eq!(now(&tokens), key("new").proof);
}

#[tokio::test(start_paused = true)]
async fn another_entity_logs_in_when_somebody_asks_and_is_let_go_when_nobody_does() {
    let giver = Giver::new(Renewal::Ahead, |_, number| grant(u32::try_from(number).unwrap(), 1000));
    let tokens = giver.start_lazily();
    sleep(3600 * S).await;
    assert_eq!((giver.count(), tokens.is_idle(), tokens.is_ready()), (0, true, false));

    let began = Instant::now();
    soon(&tokens).await;
    assert_eq!(Instant::now() - began, 200 * MS);
    // Used in its first life and in its second, and never again.
    sleep(500 * S).await;
    tokens.current(Instant::now()).await.unwrap();
    sleep(600 * S).await;
    assert_eq!(giver.count(), 2);
    tokens.current(Instant::now()).await.unwrap();
    sleep(900 * S).await;
    assert_eq!(giver.count(), 3);
    sleep(9000 * S).await;

    assert_eq!((giver.count(), tokens.is_idle(), tokens.life()), (3, true, None));
    assert_eq!(soon(&tokens).await.proof, Proof::bearer("token-4").unwrap());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_go_of_who_waits() {
    let giver = Giver::new(Renewal::Ahead, |_, number| match number {
        ..6 => Err(FetchError::Unreachable),
        _ => grant(1, 1000),
    });
    let tokens = giver.start_lazily();

    assert!(tokens.current(within(120 * S)).await.is_ok());
    assert_eq!(giver.count(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_log_in_is_let_go_of_too() {
    let giver = Giver::new(Renewal::Ahead, |_, _| Err(FetchError::Refused));
    let tokens = giver.start_lazily();

    tokens.current(within(3 * S)).await.unwrap_err();
    sleep(3600 * S).await;

    assert!(giver.count() <= 4, "{}", giver.count());
    assert!(tokens.is_idle() && tokens.trouble().is_none());
}

#[tokio::test(start_paused = true)]
async fn fifty_entities_that_cannot_log_in_stay_below_the_limit_of_logins() {
    let logins = Arc::<Logins>::default();
    let giver = Giver::new(Renewal::Ahead, |_, _| Err(FetchError::Refused));
    let start = |_| {
        let scope =
            Scope { tenant: "t".into(), entity: None, is_lazy: false, logins: Arc::clone(&logins) };
        let of_its_own = Giver { in_flight: Arc::default(), ..giver.clone() };
        Tokens::start_for(scope, of_its_own, &metrics())
    };
    let _tokens: Vec<_> = (0..50).map(start).collect();

    sleep(600 * S).await;

    let asked = giver.asked.lock().unwrap().clone();
    assert!(asked.len() > 500, "{}", asked.len());
    for (index, (at, _)) in asked.iter().enumerate() {
        let in_a_minute = asked[index..].iter().take_while(|it| it.0 - *at < 60 * S).count();
        assert!(in_a_minute <= 80, "{in_a_minute} logins in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn other_kinds_of_credentials_take_over_as_they_come() {
    let tokens = Giver::sessions(Renewal::Ahead).start();
    soon(&tokens).await;

    tokens.exchange(Giver::new(Renewal::Never, |_, _| unreachable!()).holding("hidden"), true);
    assert_eq!(now(&tokens), key("hidden").proof, "what needs no login serves at once");
    let earlier = tokens.current(Instant::now()).await.unwrap();

    let every = Giver::sessions(Renewal::EveryCall);
    tokens.exchange(every.clone(), true);
    let later = soon(&tokens).await;
    assert!(later.generation > earlier.generation);
    assert!(every.count() > 0);

    tokens.exchange(Giver::new(Renewal::Ahead, |_, _| grant(7, 3598)), true);
    sleep(S).await;
    assert_eq!(now(&tokens), Proof::bearer("token-7").unwrap());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_session_of_its_own_gets_it_whatever_is_configured_meanwhile() {
    let every = Giver::sessions(Renewal::EveryCall);
    let ahead = Giver::sessions(Renewal::Ahead);
    for (before, after, renew) in [
        (&every, &every, false),
        (&every, &every, true),
        (&every, &ahead, true),
        (&ahead, &every, true),
    ] {
        let before = Giver { in_flight: Arc::default(), ..before.clone() };
        let after = Giver { in_flight: Arc::default(), ..after.clone() };
        let tokens = before.start();
        if before.renewal == Renewal::EveryCall {
            sleep(10 * S).await;
        }

        let waits = tokio::spawn({
            let tokens = Arc::clone(&tokens);
            async move { tokens.current(within(30 * S)).await.map(|_| Instant::now()) }
        });
        sleep(100 * MS).await;
        let exchanged_at = Instant::now();
        tokens.exchange(after.clone(), renew);

        let got_at = waits.await.unwrap().expect("a login brings it");
        assert!(got_at - exchanged_at <= 2 * S, "{:?} {renew}", after.renewal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_reaches_several_entities_says_so() {
    let scoped = |scope: &str| {
        let body = format!(r#"{{"access_token":"t","expires_in":3598,"scope":"{scope}"}}"#);
        Grant::read(StatusCode::OK, &HeaderMap::new(), body.as_bytes())
    };
    for (scope, several) in [("entity.a tenant.1", false), ("", false), ("entity.a entity.b", true)]
    {
        let tokens = Giver::new(Renewal::Ahead, move |_, _| scoped(scope)).start();
        soon(&tokens).await;
        assert_eq!(tokens.reaches_several(), several, "{scope}");
    }
}

/// Random waits, failures and rejections where every call has its own: whoever gets one gets one that was made after
/// asking, in time, and logins stay a second apart.
#[test]
fn in_three_hundred_random_lives_every_call_gets_one_of_its_own() {
    for seed in 0..300 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(random_calls(seed));
    }
}

async fn random_calls(seed: u64) {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    let mut rng = StdRng::seed_from_u64(seed);
    let dice = Mutex::new(StdRng::seed_from_u64(!seed));
    let mut giver = Giver::new(Renewal::EveryCall, move |_, number| {
        let fails = dice.lock().unwrap().random_bool(0.2);
        if fails { Err(FetchError::Unreachable) } else { Ok(session(&format!("s{number}"))) }
    });
    giver.latency = rng.random_range(1..1500) * MS;
    let tokens = giver.start();

    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let (tokens, giver) = (Arc::clone(&tokens), giver.clone());
        let (begins, patience) = (rng.random_range(0..60_000), rng.random_range(0..10_000));
        calls.spawn(async move {
            sleep(begins * MS).await;
            let asked_at = Instant::now();
            let got = tokens.current(within(patience * MS)).await;
            assert!(Instant::now() <= asked_at + patience * MS + MS, "seed {seed}: too late");
            let Ok(token) = got else { return };
            let text = token.proof.soap_session().unwrap().to_owned();
            let number: usize = text[1..].parse().unwrap();
            let login = giver.asked.lock().unwrap()[number - 1].0;
            assert!(login >= asked_at, "seed {seed}: it was made before");
            tokens.rejected(token.generation);
        });
    }
    calls.join_all().await;

    assert!(giver.pauses().iter().all(|pause| *pause >= S), "seed {seed}: {:?}", giver.pauses());
}
