//! The table, line by line, against one written down by hand.

use super::*;

const KINDS: [Kind; 4] = [Kind::Read, Kind::OurKey, Kind::AppKey, Kind::NoKey];

const ENDS: [End; 7] = [
    End::Refused,
    End::Unauthenticated,
    End::NotSent,
    End::Contended,
    End::InProgress,
    End::Ambiguous,
    End::Temporary,
];

fn policy(attempts: u32, repeats_contended: bool) -> RetryPolicy {
    RetryPolicy {
        attempts: NonZeroU32::new(attempts).unwrap(),
        mint_idempotency_keys: true,
        repeats_contended,
        budgets: Arc::new(Budgets::new(0.2)),
    }
}

fn first(kind: Kind) -> Tried {
    Tried { kind, in_doubt: false, is_replayable: true, attempts: 1 }
}

/// What is decided after the first attempt of each kind of call, in the order of [`KINDS`]: `=` as it was, `+` with a
/// new key, else why not.
#[track_caller]
fn check(end: End, expected: [&str; 4]) {
    let decided = KINDS.map(|kind| word(decide(end, &first(kind), &policy(5, true))));
    assert_eq!(decided, expected);
}

fn word(decision: Result<Again, Why>) -> &'static str {
    match decision {
        Ok(Again::AsItWas) => "=",
        Ok(Again::WithNewKey) => "+",
        Err(why) => why.as_str(),
    }
}

#[test]
fn what_was_not_begun_is_always_repeated() {
    check(End::Refused, ["=", "+", "=", "="]);
    check(End::Unauthenticated, ["=", "+", "=", "="]);
    check(End::NotSent, ["=", "=", "=", "="]);
}

#[test]
fn a_credential_that_is_taken_once_is_sent_once() {
    for end in ENDS {
        let decided = word(decide(end, &first(Kind::SingleUse), &policy(5, true)));
        assert_eq!(decided, if end == End::NotSent { "=" } else { "single-use" }, "{end:?}");
    }
}

#[test]
fn what_was_rolled_back_is_repeated_unless_the_app_has_a_key_of_its_own() {
    check(End::Contended, ["=", "+", "own-key", "="]);
}

#[test]
fn what_may_have_been_done_is_repeated_only_where_zuora_can_tell() {
    check(End::Ambiguous, ["=", "=", "=", "ambiguous"]);
}

#[test]
fn what_is_in_progress_is_asked_for_again_under_its_key() {
    check(End::InProgress, ["failed", "failed", "=", "failed"]);
    let doubtful = Tried { in_doubt: true, ..first(Kind::OurKey) };
    assert_eq!(decide(End::InProgress, &doubtful, &policy(5, true)), Ok(Again::AsItWas));
}

#[test]
fn what_failed_is_repeated_if_it_was_a_read() {
    check(End::Temporary, ["=", "failed", "failed", "failed"]);
}

#[test]
fn a_key_in_doubt_is_not_exchanged_before_its_outcome_is_known() {
    let doubtful = Tried { in_doubt: true, ..first(Kind::OurKey) };
    for end in [End::Refused, End::Unauthenticated, End::NotSent, End::InProgress, End::Ambiguous] {
        assert_eq!(decide(end, &doubtful, &policy(5, true)), Ok(Again::AsItWas), "{end:?}");
        assert!(!end.ends_doubt());
    }
    // Zuora says of this very key that it was rolled back.
    assert_eq!(decide(End::Contended, &doubtful, &policy(5, true)), Ok(Again::WithNewKey));
    assert!(End::Contended.ends_doubt());
}

#[test]
fn policy_may_keep_contended_writes_from_being_repeated() {
    let decided = KINDS.map(|kind| word(decide(End::Contended, &first(kind), &policy(5, false))));
    assert_eq!(decided, ["=", "policy", "own-key", "policy"]);
}

#[test]
fn a_body_that_was_not_kept_is_never_sent_again() {
    for kind in KINDS {
        for end in [End::Refused, End::NotSent, End::Unauthenticated] {
            let streamed = Tried { is_replayable: false, ..first(kind) };
            assert_eq!(decide(end, &streamed, &policy(5, true)), Err(Why::NotReplayable));
        }
    }
}

#[test]
fn what_zuora_may_have_done_is_bounded_in_number_and_the_rest_in_time() {
    let last = |kind| Tried { attempts: 3, ..first(kind) };
    for end in [End::Unauthenticated, End::Ambiguous] {
        assert_eq!(decide(end, &last(Kind::OurKey), &policy(3, true)), Err(Why::Attempts));
    }
    for end in [End::InProgress, End::NotSent, End::Refused] {
        assert_eq!(decide(end, &last(Kind::AppKey), &policy(3, true)), Ok(Again::AsItWas));
    }
    let contended = decide(End::Contended, &last(Kind::OurKey), &policy(3, true));
    assert_eq!(contended, Ok(Again::WithNewKey));
}

#[test]
fn one_attempt_is_one() {
    for end in [End::NotSent, End::InProgress, End::Refused, End::Unauthenticated] {
        assert_eq!(decide(end, &first(Kind::AppKey), &policy(1, true)), Err(Why::Attempts));
    }
}

#[test]
fn a_read_that_keeps_failing_is_given_up_before_the_others() {
    let nth = |attempts| Tried { attempts, ..first(Kind::Read) };
    assert!(decide(End::Temporary, &nth(2), &policy(5, true)).is_ok());
    assert_eq!(decide(End::Temporary, &nth(3), &policy(5, true)), Err(Why::Attempts));
}

#[tokio::test(start_paused = true)]
async fn repetitions_are_a_share_of_the_calls_above_a_floor() {
    let admission = admission_of_one_pool();
    let pool = admission.pool(None, "Default").unwrap();
    let budgets = Budgets::new(0.2);
    for _ in 0..1000 {
        budgets.deposit(pool);
    }

    let granted = (0..1000).filter(|_| budgets.withdraw(pool)).count();

    assert_eq!(granted, 1000 / 5 + 10 * 10, "a fifth, and the floor of ten seconds");
    tokio::time::sleep(tokio::time::Duration::from_secs(20)).await;
    assert!(budgets.withdraw(pool), "what is past does not count");
}

fn admission_of_one_pool() -> std::sync::Arc<admission::Admission> {
    let pool = admission::PoolSettings {
        name: "Default".into(),
        entity: None,
        ceiling: NonZeroU32::new(40).unwrap(),
        headroom: 0,
        enforce: true,
        on_refusal: admission::OnRefusal::Shrink,
        retry_after_cap: None,
    };
    let settings = admission::Settings {
        pools: vec![pool],
        apps: Vec::new(),
        queue: admission::QueueBounds { max_requests: 1, max_bytes: 1 },
        rate: admission::RateLimits::NONE,
    };
    admission::Admission::new(settings, admission::Start::Full)
}
