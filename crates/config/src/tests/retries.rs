//! How often a call is tried, and which calls go one after another.

use super::{check, good, with_tenant};
use crate::{ContendedWrites, Lanes, Retry};

#[test]
fn what_is_said_of_retries_holds() {
    let config = good(&with_tenant(
        "retry:
  attempts: 3
  budget: 1.5
  mint_idempotency_keys: false
  contended_writes: return
  replay_buffer: 2MiB",
    ));

    let Retry { attempts, budget, mint_idempotency_keys, contended_writes, replay_buffer } =
        config.tenants[0].retry;
    assert_eq!((attempts.get(), replay_buffer), (3, 2 << 20));
    assert_eq!(budget.to_string(), "1.5");
    assert!(!mint_idempotency_keys);
    assert_eq!(contended_writes, ContendedWrites::Return);
}

#[test]
fn what_is_left_unsaid_of_retries_is_as_by_default() {
    let config = good(&with_tenant("retry: {attempts: 3}"));

    let retry = &config.tenants[0].retry;
    assert_eq!(retry.attempts.get(), 3);
    assert_eq!(retry.budget.to_string(), "0.2");
    assert!(retry.mint_idempotency_keys);
    assert_eq!(retry.contended_writes, ContendedWrites::Repeat);
}

#[test]
fn attempts() {
    for written in ["0", "101", "-1", "1.5", "many"] {
        check(
            &with_tenant(&format!("retry: {{attempts: {written}}}")),
            &[&format!(
                "5:23: tenants.production.retry.attempts: expected a whole number from 1 to 100, found `{written}`"
            )],
        );
    }
}

#[test]
fn budgets() {
    let budget = |written: &str| with_tenant(&format!("retry: {{budget: {written}}}"));
    for (written, meant) in [
        ("0", "0"),
        ("0.0", "0"),
        ("0.2", "0.2"),
        ("\"0.25\"", "0.25"),
        ("1", "1"),
        ("10", "10"),
        ("10.0", "10"),
        ("0.000001", "0.000001"),
    ] {
        assert_eq!(good(&budget(written)).tenants[0].retry.budget.to_string(), meant);
    }
    for (written, why) in [
        ("-0.2", ""),
        ("-0", ""),
        ("+1", ""),
        (".2", ""),
        ("1.", ""),
        ("1e-1", ""),
        ("0x1", ""),
        ("1_0", ""),
        ("0.2.1", ""),
        ("inf", ""),
        ("NaN", ""),
        (".inf", ""),
        ("10.1", ""),
        ("11", ""),
        ("99999999999999999999999999999999999999999999999999", ""),
        ("a fifth", ""),
        ("0.2s", ""),
        ("20%", ": write 20% as `0.2`"),
        ("20 %", ": write 20% as `0.2`"),
    ] {
        check(&budget(written), &[&told(written, why)]);
    }
    check(&budget("\"${N}\""), &[&told("${N}", "")]);
    check(&budget("\"\""), &[&told("", "").replace("found ``", "found empty text")]);
    check(
        &with_tenant("retry:\n  attempts: 3\n  budget: 0,2"),
        &[&told("0,2", "").replace("5:21", "7:15")],
    );
    check(
        &budget("[0.2]"),
        &[
            "5:21: tenants.production.retry.budget: expected a number from 0 to 10 such as `0.2`, found a list",
        ],
    );
}

#[test]
fn keys_and_contended_writes() {
    check(
        &with_tenant("retry: {mint_idempotency_keys: yes, contended_writes: true}"),
        &[
            "5:36: tenants.production.retry.mint_idempotency_keys: expected `true` or `false`, found `yes`",
            "5:59: tenants.production.retry.contended_writes: expected one of `repeat`, `return`, found `true`",
        ],
    );
    check(
        &with_tenant(
            "retry: {budgets: 1, mint_idempotency_key: true, contented_writes: repeat, ratio: 1}",
        ),
        &[
            "5:13: tenants.production.retry: unknown key `budgets`, did you mean `budget`?",
            "5:25: tenants.production.retry: unknown key `mint_idempotency_key`, did you mean `mint_idempotency_keys`?",
            "5:53: tenants.production.retry: unknown key `contented_writes`, did you mean `contended_writes`?",
            "5:79: tenants.production.retry: unknown key `ratio`, known here: `attempts`, `budget`, `mint_idempotency_keys`, `contended_writes`, `replay_buffer`",
        ],
    );
}

#[test]
fn lanes() {
    for (written, meant) in [
        ("", Lanes::Off),
        ("lanes:", Lanes::Off),
        // A truth value to other readers of YAML.
        ("lanes: off", Lanes::Off),
        ("lanes: \"off\"", Lanes::Off),
        ("lanes: account", Lanes::Account),
    ] {
        assert_eq!(good(&with_tenant(written)).tenants[0].lanes, meant, "{written}");
    }
    for written in ["false", "Off", "on", "accounts", "account, subscription"] {
        check(
            &with_tenant(&format!("lanes: {written}")),
            &[&format!(
                "5:12: tenants.production.lanes: expected one of `off`, `account`, found `{written}`"
            )],
        );
    }
    check(
        &with_tenant("lanes: {by: account}"),
        &["5:12: tenants.production.lanes: expected one of `off`, `account`, found a mapping"],
    );
    check(
        &with_tenant("lane: account"),
        &["5:5: tenants.production: unknown key `lane`, did you mean `lanes`?"],
    );
}

/// What is told about this budget.
fn told(written: &str, why: &str) -> String {
    format!(
        "5:21: tenants.production.retry.budget: expected a number from 0 to 10 such as `0.2`, found `{written}`{why}"
    )
}
